package restore

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/source/media"
	"permafrost/source/way"
)

const nobody = 65534

// A mastodonHost is a host on which Mastodon's user is nobody, and on which steps run as they are.
type mastodonHost struct {
	dir, live, restored string // dir and restored are root's, live is nobody's
	plan                *Plan
}

func newHost(t *testing.T) *mastodonHost {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "guide")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &mastodonHost{dir: dir, live: filepath.Join(dir, "live"), restored: filepath.Join(dir, "restored")}
	for path, own := range map[string]int{h.live: nobody, h.restored: 0, filepath.Join(h.restored, "public-system/a"): 0, filepath.Join(dir, "roots"): 0} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, own, own); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := sample()
	m.User, m.Live, m.Media.Root = "nobody", snapshot.Text(h.live), snapshot.Text(filepath.Join(h.live, "public/system"))
	m.Secrets.Files[0].Path, m.Secrets.Files[0].Mode = snapshot.Text(filepath.Join(h.live, ".env.production")), 0o640
	m.Secrets.Files = m.Secrets.Files[:1]
	h.write(t, "env.production", "LOCAL_DOMAIN=a\nSECRET=1\n")
	h.plan = plan(t, m, h.restored)
	for _, f := range h.plan.Files() {
		h.write(t, f.Name, string(f.Data))
	}
	return h
}

// write writes a file below the directory of the restored files.
func (h *mastodonHost) write(t *testing.T, name, data string) string {
	t.Helper()
	path := filepath.Join(h.restored, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs the step of a name, which is an error where it does not hold.
func (h *mastodonHost) run(name string) (string, error) {
	steps := h.plan.Steps()
	i := slices.IndexFunc(steps, func(s NumberedStep) bool { return s.Name == name })
	out, err := exec.Command("bash", "-c", way.Block(h.plan.Host(), steps[i].Number, &steps[i].Step)).CombinedOutput()
	return string(out), err
}

func (h *mastodonHost) mustRun(t *testing.T, names ...string) string {
	t.Helper()
	all := ""
	for _, name := range names {
		out, err := h.run(name)
		if all += out; err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	return all
}

// Files come to their place with their modes, as Mastodon's user's own and with nothing of root's. A second time changes nothing.
func TestStepsWriteAsMastodon(t *testing.T) {
	h := newHost(t)
	at := func(name string) string { return filepath.Join(h.restored, "public-system", name) }
	for name, data := range map[string]string{"a/one": "1", "a/private": "p", "a/program": "#!"} {
		h.write(t, "public-system/"+name, data)
	}
	capability := []byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}
	for _, err := range []error{os.Link(at("a/one"), at("a/two")), os.Chmod(at("a/private"), 0o600), os.Chmod(at("a/program"), 0o4755), os.Symlink("one", at("a/link")),
		unix.Setxattr(at("a/one"), "user.note", []byte("n"), 0), unix.Setxattr(at("a/private"), "security.capability", capability, 0), unix.Setxattr(at("a/one"), "trusted.x", []byte("t"), 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.mustRun(t, "settings", "media")
	if out := h.mustRun(t, "settings", "media"); strings.Contains(out, "kept") {
		t.Errorf("the second time: %s", out)
	}
	for name, mode := range map[string]uint32{".env.production": 0o640, "public/system/a/one": 0o644, "public/system/a/two": 0o644, "public/system/a/private": 0o600} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(h.live, name), &st); err != nil || st.Mode&0o7777 != mode || st.Uid != nobody {
			t.Errorf("%s: mode %o of %d: %v", name, st.Mode, st.Uid, err)
		}
	}
	attrs := make([]byte, 1000)
	n, err := unix.Listxattr(filepath.Join(h.live, "public/system/a/one"), attrs)
	if err != nil || string(attrs[:n]) != "user.note\x00" {
		t.Errorf("attributes %q: %v", attrs[:n], err)
	}
	filepath.WalkDir(h.live, func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || unix.Lstat(path, &st) != nil || st.Uid != nobody {
			t.Errorf("%s is of %d: %v", path, st.Uid, err)
		}
		if _, err := unix.Getxattr(path, "security.capability", nil); err == nil {
			t.Errorf("%s has capabilities", path)
		}
		return nil
	})
	if got, err := os.ReadFile(filepath.Join(h.live, ".env.production")); err != nil || string(got) != "LOCAL_DOMAIN=a\nSECRET=1\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// Files that did not arrive are named, also where they are so many that nobody reads them all.
func TestManyMediaAreMissing(t *testing.T) {
	h := newHost(t)
	for i := range 600 {
		h.write(t, "public-system/"+strconv.Itoa(i)+strings.Repeat("x", 200), "")
	}
	h.write(t, "../bin/tar", "#!/bin/sh\nexit 0\n")
	bin := filepath.Join(h.dir, "bin")
	for _, err := range []error{os.Chmod(bin, 0o755), os.Chmod(filepath.Join(bin, "tar"), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if out, err := h.run("media"); err == nil || !strings.Contains(out, "Not all files have arrived whole.") || strings.Count(out, "xxx\n") != 10 {
		t.Errorf("%v\n%s", err, out)
	}
}

// Mastodon's settings decide whether there is a search index: an administrator may have corrected them.
func TestSearchGoesBySettings(t *testing.T) {
	h := newHost(t)
	h.write(t, "env.production", "ES_ENABLED=true\n")
	if err := os.WriteFile(filepath.Join(h.live, ".env.production"), []byte("ES_ENABLED=false\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := h.run("search"); err != nil || !strings.Contains(out, "Elasticsearch is not used.") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Settings that are there are kept aside, once, and what differs is named without its value.
func TestSettingsAreKeptAside(t *testing.T) {
	h := newHost(t)
	env := filepath.Join(h.live, ".env.production")
	if err := os.WriteFile(env, []byte("LOCAL_DOMAIN=a\nSECRET=other\nexport MORE=x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(env, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	out := h.mustRun(t, "settings")
	if !strings.Contains(out, "These differ in it: MORE SECRET \n") || strings.Contains(out, "other\n") {
		t.Error(out)
	}
	if err := os.WriteFile(env, []byte("x=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := h.mustRun(t, "settings"); !strings.Contains(out, "correct once more") {
		t.Error(out)
	}
	kept, err := filepath.Glob(env + ".before-*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("%q, %v", kept, err)
	}
	if data, err := os.ReadFile(kept[0]); err != nil || !strings.Contains(string(data), "SECRET=other") {
		t.Errorf("%q, %v", data, err)
	}
}

// Links that Mastodon's user plants lead nowhere that is root's, and root's devices don't come to that user.
func TestStepsFollowNoLinks(t *testing.T) {
	h := newHost(t)
	roots := filepath.Join(h.dir, "roots")
	if err := os.WriteFile(filepath.Join(roots, "file"), []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write(t, "public-system/a/1", "1")
	for _, err := range []error{os.Symlink(filepath.Join(roots, "file"), filepath.Join(h.live, ".env.production")), os.Mkdir(filepath.Join(h.live, "public"), 0o777), os.Symlink(roots, filepath.Join(h.live, "public/system"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"settings", "media"} {
		h.run(name) // as it may
	}
	entries, err := os.ReadDir(roots)
	if err != nil || len(entries) != 1 {
		t.Errorf("in root's directory: %v, %v", entries, err)
	}
	if got, err := os.ReadFile(filepath.Join(roots, "file")); string(got) != "root's" {
		t.Errorf("root's file: %q, %v", got, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(roots, &st); err != nil || st.Uid != 0 || st.Mode&0o777 != 0o700 {
		t.Errorf("root's directory is of %d, mode %o: %v", st.Uid, st.Mode, err)
	}

	h = newHost(t)
	if err := unix.Mknod(filepath.Join(h.restored, "public-system/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	h.run("media")
	if _, err := os.Lstat(filepath.Join(h.live, "public/system/null")); err == nil {
		t.Error("a device was made")
	}
}

// Root writes outside of Mastodon's directory only where nobody else could have put something in the way.
func TestOthersAreRoots(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(dir string) error
		holds bool
	}{
		{"a new directory", func(dir string) error { return nil }, true},
		{"a file that is there", func(dir string) error { return os.WriteFile(dir+"/file", []byte("was"), 0o644) }, true},
		{"somebody else's directory", func(dir string) error { return os.Chown(dir, nobody, nobody) }, false},
		{"a directory that all may write", func(dir string) error { return os.Chmod(dir, 0o777) }, false},
		{"a link", func(dir string) error { return os.Symlink("/dev/null", dir+"/file") }, false},
		{"a directory that is a link", func(dir string) error { return os.Symlink("/", dir+"/sub") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, err := os.MkdirTemp("/root", "others")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(base)
			to := base + "/file"
			if strings.Contains(c.name, "a directory that is") {
				to = base + "/sub/" + filepath.Base(base)
			}
			h := newHost(t)
			m := h.plan.restored.Manifest
			m.Secrets.Files = append(m.Secrets.Files, snapshot.SecretFile{Path: snapshot.Text(to), Mode: 0o640, UID: 0, GID: nobody})
			h.plan = plan(t, m, h.restored)
			h.write(t, "secrets"+to, "key")
			h.write(t, hostName, way.Host(h.restored, "", h.plan.parts))
			if err := c.plant(base); err != nil {
				t.Fatal(err)
			}
			out, err := h.run("others")
			if (err == nil) != c.holds {
				t.Fatalf("%v\n%s", err, out)
			}
			if !c.holds {
				return
			}
			var st unix.Stat_t
			if err := unix.Stat(to, &st); err != nil || st.Uid != 0 || st.Gid != nobody || st.Mode&0o7777 != 0o640 {
				t.Errorf("mode %o of %d:%d: %v", st.Mode, st.Uid, st.Gid, err)
			}
		})
	}
}

// A service that does not come up is named, and one of another name is stopped too.
func TestServicesRun(t *testing.T) {
	h := newHost(t)
	m := h.plan.restored.Manifest
	m.Deployment.Units = []string{"mastodon-web.service", "mastodon.service"}
	h.plan = plan(t, m, h.restored)
	h.write(t, hostName, way.Host(h.restored, "", h.plan.parts))
	bin := filepath.Join(h.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	systemctl := `#!/bin/bash
cd ` + bin + `
verb=$1
for unit in "${@:2}"; do
	case $verb:$unit in
	*:-*) ;;
	stop:mastodon-\*) rm -f on-mastodon-* ;;
	stop:*) rm -f "on-$unit" ;;
	start:*) [ -e "broken-$unit" ] || touch "on-$unit" ;;
	is-active:*) test -e "on-$unit" ;;
	esac
done
`
	if err := os.WriteFile(filepath.Join(bin, "systemctl"), []byte(systemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	h.mustRun(t, "start", "stop", "start")
	if err := os.WriteFile(filepath.Join(bin, "broken-mastodon.service"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.mustRun(t, "stop")
	if out, err := h.run("start"); err == nil || !strings.Contains(out, "These do not run: mastodon.service.") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A snapshot restored over another one has no step done, and what was done before is said not to be done again.
func TestMarksAreOfOneSnapshot(t *testing.T) {
	h := newHost(t)
	h.mustRun(t, "settings")
	list := func() string {
		out, err := exec.Command("bash", filepath.Join(h.restored, ScriptName), "--list").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if out := list(); strings.Count(out, "(done)") != 1 {
		t.Error(out)
	}
	h.plan.restored.Ref.ID = store.Name{2}
	other, err := NewPlan(h.plan.restored, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range other.Files() {
		h.write(t, f.Name, string(f.Data))
	}
	if out := list(); strings.Contains(out, "(done)") {
		t.Error(out)
	}
	h.plan = other
	for _, s := range other.Steps() {
		h.write(t, "plan/done/"+other.restored.Ref.ID.Short()+"/"+s.Name, "")
	}
	out, err := exec.Command("bash", filepath.Join(h.restored, ScriptName), "--yes").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "nothing was done now") || strings.Contains(string(out), "All steps are done") {
		t.Errorf("%v\n%s", err, out)
	}
}

// script runs restore.sh by a shell, with commands of its own.
func (h *mastodonHost) script(shell, bin string, args ...string) (string, error) {
	cmd := exec.Command(shell, append([]string{filepath.Join(h.restored, ScriptName)}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Restore.sh does steps again from one on, with Mastodon stopped first, and says what is wrong with host.sh. Any shell may begin it.
func TestScript(t *testing.T) {
	h := newHost(t)
	bin := filepath.Join(h.dir, "bin")
	h.write(t, "../bin/systemctl", "#!/bin/sh\necho systemctl \"$@\"\nexit 1\n")
	if err := os.Chmod(filepath.Join(bin, "systemctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	number := make(map[string]string)
	for _, s := range h.plan.Steps() {
		number[s.Name] = s.Number
		h.write(t, "plan/done/"+h.plan.restored.Ref.ID.Short()+"/"+s.Name, "")
	}
	all := len(number)
	if out, err := h.script("sh", bin, "--yes", "--from", number["search"]); err == nil || strings.Count(out, "(done)") != all-2 ||
		!strings.Contains(out, "Step "+number["search"]+" done") || !strings.Contains(out, "Step "+number["refetch"]+" failed") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := h.script("bash", bin, "--yes", "--from", number["redis-load"]); err == nil || !strings.Contains(out, "systemctl stop mastodon-*\n") ||
		!strings.Contains(out, "Step "+number["stop"]+" failed") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := h.script("bash", bin, "--list"); err != nil || strings.Contains(out, "Give Redis its data (done)") || strings.Contains(out, "Start Mastodon (done)") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, from := range []string{"0", "x", "1x", strconv.Itoa(all + 1), ""} {
		if out, err := h.script("bash", bin, "--from", from); err == nil || !strings.Contains(out, "--from takes the number of a step: 1 to "+strconv.Itoa(all)) {
			t.Errorf("%q: %v\n%s", from, err, out)
		}
	}
	text := way.Host(h.restored, "", h.plan.parts)
	for _, c := range []struct{ text, want string }{
		{strings.Replace(text, "\npg_port=", "\npg_port = ", 1), "has a mistake"},
		{strings.Replace(text, "\npg_port=", "\npg_port='", 1), "has a mistake"},
	} {
		h.write(t, hostName, c.text)
		if out, err := h.script("bash", bin, "--yes"); err == nil || !strings.Contains(out, c.want) || strings.Contains(out, "Step") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if err := os.Remove(h.plan.Host()); err != nil {
		t.Fatal(err)
	}
	if out, err := h.script("bash", bin, "--list"); err == nil || !strings.Contains(out, "was moved or copied") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Whose media could not be given to whom they belong is told, with the command for it.
func TestOwnersNotRestored(t *testing.T) {
	p := plan(t, sample(), "/srv/restore")
	p.restored.Result.Owners = []media.Owner{{UID: 991, GID: 7, User: "a`b", Files: 3}}
	text := string(p.guide())
	for _, want := range []string{"chown --recursive --no-dereference -- mastodon: /srv/restore/public-system\n", "- 3 files and directories of user `\"a\\x60b\"`, group `7`"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A process of Mastodon's user that a step starts can't type into root's terminal.
func TestStepsLeaveTheTerminal(t *testing.T) {
	h := newHost(t)
	script := filepath.Join(h.dir, "script")
	if err := os.WriteFile(script, []byte(". "+h.plan.Host()+"\nas nobody sh -c 'exec 3</dev/tty'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("script", "-qec", "bash "+script, "/dev/null").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/dev/tty") {
		t.Errorf("the terminal can be opened: %v\n%s", err, out)
	}
}

// Restored files are checked with and without permafrost on the host. Where only media were restored there are none to check.
func TestStepFiles(t *testing.T) {
	const sum = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7" // of "a\n"
	h := newHost(t)
	program := filepath.Join(h.dir, "permafrost")
	if out, err := exec.Command("go", "build", "-o", program, "permafrost/cmd/permafrost").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	with := regexp.MustCompile(`(?m)^permafrost=.*$`).ReplaceAllString(string(way.Host(h.restored, "", h.plan.parts)), "permafrost="+program)
	for host, text := range map[string]string{"with permafrost": with, "without it": string(way.Host(h.restored, "", h.plan.parts))} {
		h.write(t, hostName, text)
		for _, c := range []struct {
			list, file string
			holds      bool
		}{{sum + "  one\n", "a\n", true}, {sum + "  one\n", "b\n", false}, {sum + "  two\n", "a\n", false}, {"", "a\n", true}} {
			h.write(t, "SHA256SUMS", c.list)
			h.write(t, "one", c.file)
			if out, err := h.run("files"); (err == nil) != c.holds {
				t.Errorf("%s, %q with %q: %v\n%s", host, c.list, c.file, err, out)
			}
		}
	}
}
