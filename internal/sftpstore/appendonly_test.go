package sftpstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/internal/storetest"
)

func appendOnly() sandbox.SSHDConfig {
	return sandbox.SSHDConfig{SFTPArgs: []string{"-u", "0222", "-P",
		"remove,rmdir,rename,posix-rename,setstat,fsetstat,lsetstat,symlink"}}
}

// An account that may add and not remove holds a repository; its uploads' names stay.
func TestAppendOnly(t *testing.T) {
	t.Parallel()
	c := config(startSSHD(t, appendOnly()))
	storetest.RunAppendOnly(t, fresh(c))
	s := open(t, c)
	for range 2 {
		if err := s.Put(t.Context(), "a", []byte("a")); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	if err := s.Remove(t.Context(), "a"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Remove: %v", err)
	}
	if temps := count(t, s, "tmp/"); temps != 2 {
		t.Errorf("%d uploads' names stay, want 2", temps)
	}
}

// An ordinary user's account with -u 0222 makes directories that it can't use, so somebody else makes them: then each
// object is read-only from its first moment, and nothing can be done to it.
func TestAppendOnlyUser(t *testing.T) {
	root := t.TempDir()
	command := append([]string{"/usr/lib/openssh/sftp-server"}, appendOnly().SFTPArgs...)
	if os.Geteuid() == 0 {
		command = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, command...)
	}
	c := scriptedConfig(t, root, command...)
	for dir := filepath.Dir(root); dir != filepath.Dir(os.TempDir()) && os.Geteuid() == 0; dir = filepath.Dir(dir) {
		if dir != os.TempDir() {
			os.Chmod(dir, 0o755) // searchable for that account, and still such that root runs what is in it
		}
	}
	if os.Geteuid() == 0 {
		os.Chmod(root, 0o777)
	}
	s := open(t, c)
	err := s.Put(t.Context(), "a/b/c", nil)
	if !errors.Is(err, fs.ErrPermission) || cause(err) != string(CauseDenied) {
		t.Errorf("without directories: %v; cause: %s", err, cause(err))
	}
	for _, name := range []string{"a", "tmp", "packs", "packs/aa"} {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, c)
	put(t, s, "packs/aa/1", []byte("first"))
	if err := s.Put(t.Context(), "packs/aa/1", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Put: %v", err)
	}
	holds(t, s, "packs/aa/1", []byte("first"))
	// What it has made itself it can't open again either, not even to write it side by side.
	c.Channels = 3
	long := storetest.Random(1, 3*stripeSize+1)
	striped := open(t, c)
	put(t, striped, "packs/aa/2", long)
	holds(t, striped, "packs/aa/2", long)
	if os.Geteuid() == 0 && (striped.reopened == nil || *striped.reopened) {
		t.Error("stripes were not refused")
	}
	err = s.do(t.Context(), func(_ context.Context, sess *session) error {
		file := filepath.Join(root, "packs/aa/1")
		for what, err := range map[string]error{
			"remove": sess.Remove(file), "rename": sess.Rename(file, file+"x"), "posix-rename": sess.PosixRename(file, file+"x"),
			"chmod": sess.Chmod(file, 0o666), "truncate": sess.Truncate(file, 0),
			"open": func() error { _, err := sess.OpenFile(file, os.O_WRONLY|os.O_TRUNC); return err }(),
		} {
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	holds(t, s, "packs/aa/1", []byte("first"))
}
