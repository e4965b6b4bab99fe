package way

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const sample = `# Make a thing
#
# Changes the thing.
# Takes seconds.
#
# The thing is ` + "`needed`" + `.
#
# Twice.

# --- check
[ -n "$name" ] || fail "no name"
# --- run
printf '%s\n' "$name" "${more[@]}"
# --- verify
true
# --- undo
# Take it away.
`

func TestRead(t *testing.T) {
	steps := Read(fstest.MapFS{"steps/20-make-it.sh": {Data: []byte(sample)}, "steps/functions.sh": {Data: []byte("x")}}, "steps")
	want := Step{Name: "make-it", Title: "Make a thing", Effect: "Changes the thing. Takes seconds.", Why: "The thing is `needed`.\n\nTwice.", Check: `[ -n "$name" ] || fail "no name"`,
		Run: `printf '%s\n' "$name" "${more[@]}"`, Verify: "true", Undo: "Take it away."}
	if len(steps) != 1 || steps[0] != want {
		t.Fatalf("read %q, want %q", steps, want)
	}
	for _, bad := range []string{"# A\n", "# --- run\ntrue\n", "# A\n# --- no\n", "# A\n# --- check\ntrue\n"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken for a step", bad)
		}
	}
}

// What a step tells of others' texts does not write to the terminal.
func TestSay(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host.sh")
	if err := os.WriteFile(host, []byte(Host("/here", "", nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command("bash", "-c", ". "+host+`; text=$'a\e[2J\nb'; say "$text"; fail "$text" 2>&1`).Output()
	if string(out) != "a^[[2J\nb\na^[[2J\nb\n" {
		t.Errorf("it says %q", out)
	}
}

// A block runs whatever the variables hold, and stops where its check fails.
func TestBlock(t *testing.T) {
	step := Read(fstest.MapFS{"20-make-it.sh": {Data: []byte(sample)}}, ".")[0]
	for name, want := range map[string]string{"a b'c\"$(id)\n`x`": "a b'c\"$(id)\n`x`\n*\n; rm\nStep 3 done: Make a thing.\nand on\n", "": "no name\nand on\n"} {
		here := t.TempDir()
		host := filepath.Join(here, "a host's.sh")
		part := Part{Name: "Things", Vars: []Var{{Name: "name", About: "its\nname", Values: []string{name}}, {Name: "more", About: "more", Values: []string{"*", "; rm"}, Array: true}}}
		if err := os.WriteFile(host, []byte(Host(here, "", []Part{part})), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bash")
		cmd.Stdin = strings.NewReader(Block(host, "3", &step) + "echo and on\n")
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%q: %v, %q, want %q", name, err, out, want)
		}
		if _, err := os.Stat(filepath.Join(here, "plan/done", "make-it")); (err == nil) != (name != "") {
			t.Errorf("%q: the mark: %v", name, err)
		}
	}
}
