package escape

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile are names that would do something, were they written as they are.
var hostile = []string{
	"", " ", "plain-name_1.txt", "größe", "two words", "it's", `back\slash`, `"quoted"`, "`id`", "$(id)", "$HOME", "a;id", "a&b|c>d<e", "~root", "#x", "!x", "-s", "--help",
	"a\nb", "a\r\nb", "a\tb", "\x03", "\x1b[2J\x1b]0;title\x07", "\x7f", "a\u009b2Jb", "\x9b2J", "a\u202eb", "\u2066x\u2069", "\u200b", "\ufeff", "\u00ad",
	"\xff\xfe", "\xed\xa0\x80", "\ufffd", "\u3164", "\u2800", "\ufe0f", "\u00a0", "\U000e0041", "\U0001f600", "```\nx", "postgresql://evil/?x", "'; rm -rf / #", "\\'", "'\x1b'!", "\u2028",
}

func TestName(t *testing.T) {
	for name, want := range map[string]string{
		"a b/ü.png": "a b/ü.png", "": `""`, "a\nb": `"a\nb"`, "\x1b[2J": `"\x1b[2J"`, "\xff": `"\xff"`, " a": `" a"`,
		"a\u202eb": `"a\u202eb"`, `"a"`: `"\"a\""`, "a\u009b": `"a\u009b"`, "a\u3164": `"a\u3164"`, "\ufffd": "\ufffd", `a\b`: `a\b`, "\\\n": `"\\\n"`,
	} {
		if got := Name(name); got != want {
			t.Errorf("%q is shown as %s, want %s", name, got, want)
		}
	}
}

// checkSeen fails where a character of s can't be seen.
func checkSeen(t *testing.T, of, s string) {
	t.Helper()
	if !Visible(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) || !utf8.ValidString(s) {
		t.Errorf("%q is written as %q", of, s)
	}
}

func checkAll(t *testing.T, s string) {
	t.Helper()
	for _, f := range []func(string) string{Name, Terminal, Line, Markdown} {
		checkSeen(t, s, f(s))
	}
	if got := Name(s); got[0] == '"' {
		if back, err := strconv.Unquote(got); back != s || err != nil {
			t.Errorf("%q is quoted as %s, which is %q, %v", s, got, back, err)
		}
	} else if got != s {
		t.Errorf("%q is %q without quotes", s, got)
	}
	span := Markdown(s)
	if inner := span[1 : len(span)-1]; strings.Contains(inner, "`") || inner == "" || strings.Trim(inner, " ") != inner {
		t.Errorf("%q is no code span: %s", s, span)
	}
	if len(Terminal(s)) > 6*MaxMessage {
		t.Errorf("%d bytes become %d", len(s), len(Terminal(s)))
	}
	line, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var a, b string
	seen := JSON(line)
	checkSeen(t, string(line), string(seen))
	if err := json.Unmarshal(seen, &b); err != nil {
		t.Fatal(err)
	}
	if json.Unmarshal(line, &a); a != b {
		t.Errorf("%s and %s are not the same", line, seen)
	}
	checkSeen(t, s, Shell(s))
}

func TestEscapes(t *testing.T) {
	for _, s := range append(hostile, strings.Join(hostile, ""), strings.Repeat("\x1b", 100_000)) {
		checkAll(t, s)
	}
}

func TestCut(t *testing.T) {
	s := strings.Repeat("ü", 5000)
	if got := Cut(s, 101); len(got) > 160 || !utf8.ValidString(got) || !strings.Contains(got, " bytes left out) … ü") {
		t.Errorf("%q", got)
	}
	if Cut("short", 5) != "short" {
		t.Error("cut without need")
	}
}

// words returns what a shell makes of a line.
func words(t *testing.T, shell, line string) []string {
	t.Helper()
	out, err := exec.Command(shell, "-c", `printf '%s\0' x `+line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s on %q: %v\n%s", shell, line, err, out)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")[1:]
}

// Each word is one word to a shell, and the same.
func TestShell(t *testing.T) {
	var line []string
	all := append(slices.Clone(hostile), strings.Join(hostile, ""))
	var bytes []byte
	for b := 1; b < 256; b++ {
		all = append(all, string([]byte{byte(b)}), "'"+string([]byte{byte(b)})+"0!")
		bytes = append(bytes, byte(b))
	}
	all = append(all, string(bytes))
	for _, s := range all {
		line = append(line, Shell(s))
	}
	if got := words(t, "bash", strings.Join(line, " ")); !slices.Equal(got, all) {
		t.Errorf("bash reads %q, want %q", got, all)
	}
	seen := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !Visible(s) })
	line = nil
	for _, s := range seen {
		line = append(line, Shell(s))
	}
	if got := words(t, "dash", strings.Join(line, " ")); !slices.Equal(got, seen) {
		t.Errorf("dash reads %q, want %q", got, seen)
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range hostile {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkAll(t, string(b)) })
}

// FuzzShell asks bash, which is slow: many words at once, with zero bytes between them.
func FuzzShell(f *testing.F) {
	f.Add([]byte(strings.Join(hostile, "\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		var line []string
		all := bytes.Split(b[:min(len(b), 20_000)], []byte{0})
		for _, s := range all {
			line = append(line, Shell(string(s)))
		}
		got := words(t, "bash", strings.Join(line, " "))
		if len(got) != len(all) {
			t.Fatalf("%d words of %d", len(got), len(all))
		}
		for i := range all {
			if got[i] != string(all[i]) {
				t.Errorf("%q is read as %q", all[i], got[i])
			}
		}
	})
}
