package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A configuration names commands that are run and places where secrets go: nobody obeys one that others may write.
func TestConfigOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about several users: run it as root")
	}
	const user, other = 54321, 54322
	program := filepath.Join(openDir(t, 0), "permafrost")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []uint32{0, user} {
		for name, c := range map[string]struct {
			spoil  func(file string) error
			obeyed bool
		}{
			"his own":             {func(string) error { return nil }, true},
			"root's":              {func(file string) error { return os.Chown(file, 0, 0) }, true},
			"another's":           {func(file string) error { return os.Chown(file, other, other) }, false},
			"everybody's":         {func(file string) error { return os.Chmod(file, 0o666) }, false},
			"a group's":           {func(file string) error { return errors.Join(os.Chown(file, int(uid), other), os.Chmod(file, 0o664)) }, false},
			"another's directory": {func(file string) error { return os.Chown(filepath.Dir(file), other, other) }, false},
			"an open directory":   {func(file string) error { return os.Chmod(filepath.Dir(file), 0o777) }, false},
		} {
			t.Run(name, func(t *testing.T) {
				cmd := newCommand(t, "snapshots", "-r", "/nonexistent/repository")
				cmd.Path, cmd.Dir = program, "/"
				file := filepath.Join(openDir(t, int(uid)), "etc", "permafrost.toml")
				err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("ssh_command = \"/bin/true\"\n"), 0o644))
				for _, path := range []string{filepath.Dir(file), file} {
					err = errors.Join(err, os.Chown(path, int(uid), int(uid)))
				}
				if err := errors.Join(err, c.spoil(file)); err != nil {
					t.Fatal(err)
				}
				cmd.Args = append(cmd.Args, "--config", file)
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
				r := cmd.run(t)
				if obeyed := !strings.Contains(r.stderr, "does not obey "+file); obeyed != c.obeyed || r.code == exitDone {
					t.Errorf("for %d: code %d\n%s", uid, r.code, r.stderr)
				}
			})
		}
	}
}
