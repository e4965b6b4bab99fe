package hostfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func owner(t testing.TB, path string) int {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

// A directory is made and worked in as whoever decides where its path leads.
func TestMakeDir(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	at := func(path string) string { return filepath.Join(dir, path) }
	for _, d := range []struct {
		path string
		uid  int
		mode fs.FileMode
	}{
		{"root", 0, 0o755}, {"his", other, 0o755}, {"his/root's", 0, 0o755}, {"his/other's", other + 1, 0o755},
		{"sticky", 0, 0o777 | fs.ModeSticky}, {"open", 0, 0o777}, {"group", 0, 0o775},
	} {
		must(t, os.Mkdir(at(d.path), 0o700))
		must(t, os.Chown(at(d.path), d.uid, d.uid))
		must(t, os.Chmod(at(d.path), d.mode))
	}
	must(t, os.Chown(at("group"), 0, 7))
	must(t, os.Symlink(at("root"), at("his/link")))
	must(t, os.Lchown(at("his/link"), other, other))
	must(t, os.Symlink("root", at("link")))
	must(t, os.WriteFile(at("file"), nil, 0o600))
	must(t, os.Symlink("no/../../such", at("dangling")))
	shared := &SharedError{}
	for _, c := range []struct {
		path string
		uid  int // who works there
		err  error
	}{
		{path: "root/a/b"}, {path: "root/a"}, {path: "link/c"}, {path: "sticky/mine"},
		{path: "his", uid: other}, {path: "his/a/b", uid: other}, {path: "his/a", uid: other},
		{path: "his/root's/new", err: fs.ErrPermission}, {path: "his/link/new", err: fs.ErrPermission},
		{path: "sticky", err: shared}, {path: "open/a", err: shared}, {path: "group/a", err: shared}, {path: "his/other's", err: shared},
		{path: "file", err: unix.ENOTDIR}, {path: "file/a", err: unix.ENOTDIR}, {path: "dangling", err: fs.ErrNotExist},
	} {
		d, err := MakeDir(at(c.path))
		switch {
		case c.err == shared:
			if e := (*SharedError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v", c.path, err)
			}
		case !errors.Is(err, c.err):
			t.Errorf("%s: %v", c.path, err)
		}
		if d == nil {
			continue
		}
		must(t, d.Replace("file", func(f *os.File) error { return nil }))
		if got := owner(t, at(c.path)+"/file"); got != c.uid || owner(t, at(c.path)) != c.uid {
			t.Errorf("%s: belongs to %d, a file in it to %d", c.path, owner(t, at(c.path)), got)
		}
		if u := d.User(); (u != nil) != (c.uid != 0) || u != nil && u.UID != uint32(c.uid) {
			t.Errorf("%s: worked in as %v", c.path, u)
		}
		must(t, d.Close())
	}
	if _, err := os.Lstat(at("root/new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("made through his link: %v", err)
	}
}

// What is there is replaced by its name or stays, and is neither followed nor opened.
func TestReplace(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	at := func(path string) string { return filepath.Join(dir, path) }
	must(t, os.WriteFile(at("victim"), []byte("old"), 0o644))
	must(t, os.Mkdir(at("target"), 0o755))
	d, err := MakeDir(at("target"))
	must(t, err)
	defer d.Close()
	long := strings.Repeat("n", 255)
	must(t, os.Symlink("../victim", at("target/link")))
	must(t, os.Symlink("../victim", at("target/free.partial")))
	must(t, os.Link(at("victim"), at("target/hard")))
	must(t, unix.Mkfifo(at("target/fifo"), 0o666))
	must(t, unix.Mkfifo(at("target/link.partial"), 0o666))
	must(t, os.Mkdir(at("target/dir"), 0o755))
	must(t, os.Mkdir(at("target/other.partial"), 0o755))
	for name, right := range map[string]bool{"link": true, "hard": true, "fifo": true, "free": true, long: true, "dir": false, "other": false,
		"": false, ".": false, "..": false, "a/b": false, "../victim": false} {
		err := d.Replace(name, func(f *os.File) error {
			_, err := f.WriteString("new")
			return err
		})
		if (err == nil) != right {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil {
			if data, err := os.ReadFile(at("target/" + name)); err != nil || string(data) != "new" {
				t.Errorf("%q: %q, %v", name, data, err)
			}
		}
	}
	if data, err := os.ReadFile(at("victim")); err != nil || string(data) != "old" {
		t.Errorf("the victim holds %q: %v", data, err)
	}
	failure := errors.New("no more")
	if err := d.Replace("link", func(*os.File) error { return failure }); err != failure {
		t.Error(err)
	}
	if data, err := os.ReadFile(at("target/link")); err != nil || string(data) != "new" {
		t.Errorf("what could not be replaced holds %q: %v", data, err)
	}
	if found, err := filepath.Glob(at("target/*.partial")); err != nil || len(found) != 1 {
		t.Errorf("left: %q", found)
	}
}

// Below a directory root takes none that is another user's, or a link.
func TestMakeBelow(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	at := func(path string) string { return filepath.Join(dir, path) }
	for _, name := range []string{"his", "open", "mine"} {
		must(t, os.Mkdir(at(name), 0o755))
	}
	must(t, os.Chown(at("his"), other, other))
	must(t, os.Chmod(at("open"), 0o777))
	must(t, os.Symlink("mine", at("link")))
	d, err := MakeDir(dir)
	must(t, err)
	defer d.Close()
	for path, right := range map[string]bool{"mine": true, "mine/a/b": true, "new/a": true, "his": false, "his/a": false, "open": false, "link": false,
		"link/a": false, "..": false, "": false, "/": false} {
		below, err := d.Make(path)
		if (err == nil) != right {
			t.Errorf("%q: %v", path, err)
		}
		if err != nil {
			continue
		}
		names, err := os.ReadDir(at(path))
		must(t, err)
		if empty, err := below.Empty(); err != nil || empty != (len(names) == 0) {
			t.Errorf("%q is empty: %v, %v", path, empty, err)
		}
		below.Close()
	}
	if _, err := d.Open("missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
