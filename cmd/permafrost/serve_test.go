package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"permafrost/internal/sandbox"
)

// A host whose key may only add does its nights through serve-sftp. It can't prune, and nothing is lost by its trying; the
// owner prunes with another key.
func TestServeAppendOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	root := filepath.Join(s.SSHD.Root, "repo")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	serve := s.forceServer(root)
	serve("--append-only")
	s.init()
	s.run(exitDated, "snapshot", "--date", "2026-06-26")
	if second := s.run(exitDone, "snapshot"); strings.Contains(second.stderr, "warning") {
		t.Errorf("the snapshot warns:\n%s", second.stderr)
	}
	s.run(exitDone, "check", "-i", s.recovery, "--read-data")
	s.run(exitDone, "restore", "-i", s.recovery, "--date", "2026-06-26", "--target", "first")
	s.run(exitDone, "forget", s.snapshots(t)[0].ID)
	before := objects(t, root)
	told(t, s.run(exitFailed, "prune", "-i", s.recovery), "deleting", "permission denied", "with another key or account")
	after := objects(t, root)
	for name, was := range before {
		if after[name] != was && !strings.HasPrefix(name, "leases/") {
			t.Errorf("%s was lost or has changed", name)
		}
	}
	s.run(exitDated, "snapshot", "--date", "2026-06-28")
	serve("")
	s.run(exitDone, "prune", "-i", s.recovery)
	if gone := len(before) - len(objects(t, root)); gone == 0 {
		t.Error("the owner's prune removes nothing")
	}
	s.run(exitDone, "check", "-i", s.recovery, "--read-data")
	s.run(exitDone, "restore", "-i", s.recovery, "--date", "2026-06-28", "--target", "third")
	if n := len(s.snapshots(t)); n != 2 {
		t.Errorf("%d snapshots are left", n)
	}
}

// forceServer returns a function that has the site's key run nothing but serve-sftp, with one more flag.
func (s *site) forceServer(root string) func(flag string) {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(s.SSHD.IdentityFile), "authorized_keys")
	key, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return func(flag string) {
		line := fmt.Sprintf("command=\"%s=1 %s %s serve-sftp %s --root %s\",restrict %s", runMain, endAtOnce, self, flag, root, key)
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// objects returns what is stored: a hash of each file, by its name below root.
func objects(t *testing.T, root string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		all[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Where the root is not there the client is told so, in the server's own words, and asks once.
func TestServeMissingRoot(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	root := filepath.Join(s.SSHD.Root, "missing")
	s.forceServer(root)("--append-only")
	if err := os.WriteFile(filepath.Join(s.home, "permafrost.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{nil, {"--ssh-command", "ssh"}} {
		start := time.Now()
		r := s.command(append([]string{"init", "--live", s.Live}, flags...)...).run(t)
		if told(t, r, "serving "+root, "no such file or directory", "forced command"); r.code != exitFailed || time.Since(start) > 5*time.Second {
			t.Errorf("code %d after %v", r.code, time.Since(start))
		}
	}
	for _, name := range []string{"writer.key", "permafrost-recovery.key"} {
		if _, err := os.Lstat(filepath.Join(s.home, name)); err == nil {
			t.Errorf("%s is left", name)
		}
	}
}
