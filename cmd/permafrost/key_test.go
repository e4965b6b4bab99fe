package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
)

// A desk is a machine with a repository in a local directory.
type desk struct {
	t    *testing.T
	home string
}

func newDesk(t *testing.T) *desk {
	d := &desk{t, t.TempDir()}
	d.run(exitDone, "init", "--recovery-key", "recovery.key")
	return d
}

func (d *desk) command(args ...string) *command {
	c := newCommand(d.t, append(args, "-r", "./repo")...)
	c.Dir = d.home
	c.Env = append(c.Env, "PERMAFROST_STATE_DIR=state", "PERMAFROST_CACHE_DIR=cache", "PERMAFROST_WRITER_KEY=writer.key")
	return c
}

func (d *desk) run(code int, args ...string) result {
	d.t.Helper()
	r := d.command(args...).run(d.t)
	if r.code != code {
		d.t.Fatalf("permafrost %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// newIdentity writes an age identity of the old kind into a file and returns its recipient.
func (d *desk) newIdentity(file string) string {
	d.t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.home, file), []byte(id.String()+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return id.Recipient().String()
}

var fingerprintPattern = regexp.MustCompile(`[a-z2-7]{4}(-[a-z2-7]{4}){7}`)

func TestInit(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"recovery.key", "writer.key"} {
		if info, err := os.Stat(filepath.Join(d.home, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	// A second one changes nothing.
	before, err := os.ReadFile(filepath.Join(d.home, "writer.key"))
	if err != nil {
		t.Fatal(err)
	}
	r := d.run(exitFailed, "init", "--recovery-key", "other.key", "--writer-key", "other-writer.key")
	if !strings.Contains(r.stderr, "stands there already") {
		t.Error(r.stderr)
	}
	after, err := os.ReadFile(filepath.Join(d.home, "writer.key"))
	if err != nil || string(before) != string(after) {
		t.Errorf("the writer file changed: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(d.home, "other*")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

// Key files are not overwritten, and a failed init leaves none.
func TestInitLeavesNothing(t *testing.T) {
	d := &desk{t, t.TempDir()}
	if err := os.WriteFile(filepath.Join(d.home, "writer.key"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.run(exitFailed, "init", "--recovery-key", "recovery.key")
	if data, err := os.ReadFile(filepath.Join(d.home, "writer.key")); err != nil || string(data) != "precious" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(d.home, "recovery.key")); err == nil {
		t.Error("a recovery file is left")
	}
	if _, err := os.Stat(filepath.Join(d.home, "repo", "config")); err == nil {
		t.Error("a repository was made")
	}
}

// What init says is read later, somewhere else: files are named in full. Who has lost the writer file is told how to make
// another, and not only how to make another repository.
func TestInitNamesFilesInFull(t *testing.T) {
	d := &desk{t, t.TempDir()}
	r := d.run(exitDone, "init", "--recovery-key", "recovery.key")
	for _, file := range []string{"recovery.key", "writer.key"} {
		if path := filepath.Join(d.home, file); !strings.Contains(r.stdout, " "+path+"\n") {
			t.Errorf("%s is not named: %s", path, r.stdout)
		}
	}
	r = d.run(exitWrongKey, "snapshots", "--writer-key", "lost.key")
	if !strings.Contains(r.stderr, "permafrost key add writer --name NAME --key-file FILE -i RECOVERY-FILE") {
		t.Error(r.stderr)
	}
	r = d.run(exitDone, "key", "rotate", "-i", "recovery.key")
	if !strings.Contains(r.stderr, "stores everything anew") {
		t.Error(r.stderr)
	}
}

// Whoever has a key of their own needs the fingerprint once: the storage could have put other keys in place.
func TestFingerprint(t *testing.T) {
	d := newDesk(t)
	recipient := d.newIdentity("admin.age")
	r := d.run(exitDone, "key", "add", "owner", recipient, "--name", "admin", "-i", "recovery.key")
	if !strings.Contains(r.stderr, "not post-quantum") {
		t.Errorf("no warning of a classic key: %s", r.stderr)
	}
	fingerprint := fingerprintPattern.FindString(r.stderr)
	d.run(exitDone, "snapshots", "-i", "recovery.key") // a key file holds it
	if r := d.run(exitWrongKey, "snapshots", "-i", "admin.age"); !strings.Contains(r.stderr, "--fingerprint") {
		t.Error(r.stderr)
	}
	wrong := strings.Map(func(c rune) rune {
		if c == 'a' {
			return 'b'
		}
		return 'a'
	}, strings.ReplaceAll(fingerprint, "-", ""))
	d.run(exitWrongKey, "snapshots", "-i", "admin.age", "--fingerprint", wrong)
	d.run(exitUsage, "snapshots", "-i", "admin.age", "--fingerprint", "short")
	d.run(exitWrongKey, "snapshots", "-i", "admin.age") // a wrong one is not remembered
	d.run(exitDone, "snapshots", "-i", "admin.age", "--fingerprint", strings.ToUpper(fingerprint))
	d.run(exitDone, "snapshots", "-i", "admin.age") // and the right one is
	d.newIdentity("stranger.age")
	d.run(exitWrongKey, "snapshots", "-i", "stranger.age")
}

func TestKeys(t *testing.T) {
	d := newDesk(t)
	d.run(exitDone, "key", "add", "writer", "--name", "web2", "--instance", "b.example", "--no-forget", "--key-file", "web2.key", "-i", "recovery.key")
	type entry struct {
		Name, Role, Instance string
		MayForget            bool `json:"may_forget"`
	}
	var web2 entry
	for _, e := range decode[entry](t, d.run(exitDone, "key", "list", "--json").stdout, "key") {
		if e.Name == "web2" {
			web2 = e
		}
	}
	if (web2 != entry{"web2", "writer", "b.example", false}) {
		t.Errorf("the roster says %+v", web2)
	}
	d.run(exitDone, "snapshots", "--writer-key", "web2.key")
	if r := d.run(exitFailed, "key", "add", "writer", "--name", "web2", "--key-file", "again.key", "-i", "recovery.key"); !strings.Contains(r.stderr, "already") {
		t.Error(r.stderr)
	}
	if _, err := os.Stat(filepath.Join(d.home, "again.key")); err == nil {
		t.Error("a key file is left that no roster knows")
	}
	old, err := os.ReadFile(filepath.Join(d.home, "recovery.key"))
	if err != nil {
		t.Fatal(err)
	}
	d.run(exitDone, "key", "rotate", "-i", "recovery.key")
	grown, err := os.ReadFile(filepath.Join(d.home, "recovery.key"))
	if err != nil || len(grown) <= len(old) {
		t.Errorf("the recovery file did not grow: %v", err)
	}
	for _, args := range [][]string{{"-i", "recovery.key"}, {"--writer-key", "writer.key"}, {"--writer-key", "web2.key"}} {
		d.run(exitDone, append([]string{"snapshots"}, args...)...)
	}
	d.run(exitDone, "key", "remove", "web2", "-i", "recovery.key")
	d.run(exitFailed, "key", "remove", "web2", "-i", "recovery.key")
	d.run(exitWrongKey, "key", "remove", "recovery")
	if out := d.run(exitDone, "key", "list").stdout; strings.Contains(out, "web2") {
		t.Errorf("the roster still has\n%s", out)
	}
}

// Private keys are never shown, whatever is done with them.
func TestKeysAreNotShown(t *testing.T) {
	d := newDesk(t)
	secret, err := os.ReadFile(filepath.Join(d.home, "writer.key"))
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(secret), "AGE-SECRET-KEY-", "AGE-SECRET-KEX-", 1)
	if err := os.WriteFile(filepath.Join(d.home, "bad.key"), []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"snapshots", "--writer-key", "bad.key"},
		{"key", "add", "owner", string(secret), "--name", "x", "-i", "recovery.key"},
		{"snapshots", "-i", string(secret)},
	} {
		r := d.command(args...).run(t)
		if r.code == exitDone || strings.Contains(strings.ToUpper(r.stdout+r.stderr), "SECRET-KEY-PQ-1") {
			t.Errorf("%.20q: code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}

// A key file that holds no key, or the key of another repository, is named, with what to do.
func TestUnfitKeyFiles(t *testing.T) {
	t.Parallel()
	run := func(args ...string) result {
		c := newCommand(t, args...)
		c.Dir = t.TempDir()
		return c.run(t)
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b"} {
		r := run("init", "-r", in(name), "--recovery-key", in(name+".key"), "--writer-key", in(name+".writer"), "--instance", "x.example")
		if r.code != exitDone {
			t.Fatal(r.stderr)
		}
	}
	if err := os.WriteFile(in("hostname"), []byte("web1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flag, file string
		code       int
		says, hint string
	}{
		{"-i", "b.key", exitWrongKey, "the key is of repository ", "-i or --writer-key"},
		{"--writer-key", "b.writer", exitWrongKey, "the key is of repository ", "-i or --writer-key"},
		{"-i", "hostname", exitUsage, "line 1 is no key", "`permafrost init`"},
		{"--writer-key", "hostname", exitUsage, "line 1 is no key", "`permafrost init`"},
		{"-i", "none", exitUsage, "no such file", "`permafrost init`"},
		{"-i", "a", exitUsage, "is a directory", "the key file in it"},
	} {
		r := run("snapshots", "-r", in("a"), c.flag, in(c.file))
		if told(t, r, "error: key file "+in(c.file)+": "+c.says, "hint: ", c.hint); r.code != c.code {
			t.Errorf("%s %s: exit code %d, want %d", c.flag, c.file, r.code, c.code)
		}
	}
}

// A place where no repository can be is named with its cause, once.
func TestInitNowhere(t *testing.T) {
	t.Parallel()
	r := newCommand(t, "init", "-r", "/proc/nowhere/repo", "--instance", "x.example").run(t)
	if n := strings.Count(r.stderr, "/proc/nowhere"); r.code != exitFailed || n != 1 {
		t.Errorf("exit code %d, and the cause %d times: %s", r.code, n, r.stderr)
	}
}
