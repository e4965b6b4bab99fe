package localdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// other is a user without a name.
const other = 54321

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// tempDir returns a directory below which everybody may go.
func tempDir(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root may do: run it as root")
	}
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

// give makes a directory another user's.
func give(t testing.TB, dir string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o755), os.Lchown(dir, other, other))
}

// left returns what is in a directory, with owners.
func left(t testing.TB, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err == nil {
			name, _ := filepath.Rel(dir, path)
			all = append(all, fmt.Sprintf("%s of %d", name, info.Sys().(*syscall.Stat_t).Uid))
		}
		return err
	}))
	return all
}

func TestFiles(t *testing.T) {
	path := filepath.Join(tempDir(t), "a", "b")
	d, err := Open(path)
	must(t, err)
	must(t, d.WriteFile("x/y", []byte("old")), d.WriteFile("x/y", []byte("new")), d.WriteCopy("copy", []byte("c")))
	for name, want := range map[string]string{"x/y": "new", "copy": "c"} {
		if data, err := d.ReadFile(name, 3); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	if _, err := d.ReadFile("x/y", 2); err == nil || !strings.Contains(err.Error(), filepath.Join(path, "x/y")) {
		t.Errorf("a file that is too large: %v", err)
	}
	f, err := d.OpenFile("lock", os.O_RDWR|os.O_CREATE)
	must(t, err)
	must(t, f.Close())
	must(t, d.Remove("lock"), d.Remove("lock"), d.Remove("nowhere/lock"))
	if _, err := d.ReadFile("lock", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	tmp, err := d.Temp()
	must(t, err)
	_, err = tmp.WriteString("temporary")
	must(t, err, tmp.Replace("named"))
	tmp.Discard()
	discarded, err := d.Temp()
	must(t, err)
	discarded.Discard()
	scratch, err := d.Scratch()
	must(t, err)
	_, err = scratch.WriteString("scratch")
	must(t, err, scratch.Close())
	if got := strings.Join(left(t, path), ", "); got != "copy of 0, named of 0, x of 0, x/y of 0" {
		t.Errorf("there is %s", got)
	}
	if names := d.Names(); len(names) != 3 || names[0].MTime.IsZero() {
		t.Errorf("names: %v", names)
	}
	must(t, os.RemoveAll(path), d.WriteCopy("copy", []byte("again")))
	if data, err := d.ReadFile("copy", 10); err != nil || string(data) != "again" {
		t.Errorf("after the directory was removed: %q, %v", data, err)
	}
}

// Many write one file at once: it is always one of what they wrote.
func TestManyWrite(t *testing.T) {
	d, err := Open(filepath.Join(tempDir(t), "d"))
	must(t, err)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				if err := d.WriteCopy("sub/f", []byte(strings.Repeat(string(rune('a'+i)), 5000))); err != nil {
					t.Error(err)
				}
				data, err := d.ReadFile("sub/f", 5000)
				if err != nil || len(data) != 5000 || strings.Trim(string(data), string(data[:1])) != "" {
					t.Errorf("%d bytes, %v", len(data), err)
				}
			}
		})
	}
	all.Wait()
}

// attacks are links that another user plants in the place of a directory or file of his. Each leads, for a process that works in
// closed, to what he can't reach.
func attacks(closed string) map[string]string {
	return map[string]string{
		"cwd": "/proc/self/cwd", "cwd of a thread": "/proc/thread-self/cwd", "cwd by number": fmt.Sprintf("/proc/%d/cwd", os.Getpid()),
		"root": "/proc/self/root" + closed, "root by number": fmt.Sprintf("/proc/%d/root%s", os.Getpid(), closed), "path": closed,
	}
}

// What a user could not reach he makes root reach by no link: neither by one that is there from the beginning, nor by one that
// takes a directory's place later.
func TestLinksOfAnother(t *testing.T) {
	top := tempDir(t)
	his, closed := filepath.Join(top, "his"), filepath.Join(top, "closed", "inner")
	must(t, os.MkdirAll(closed, 0o755), os.Chmod(filepath.Dir(closed), 0o700))
	give(t, his)
	give(t, closed) // even what is his there he could not reach
	must(t, os.WriteFile(filepath.Join(closed, "file"), []byte("closed"), 0o644))
	t.Chdir(closed)
	tried := 0
	for name, to := range attacks(closed) {
		link := filepath.Join(his, name)
		plant := func() { must(t, os.Symlink(to, link), os.Lchown(link, other, other)) }
		plant()
		for _, path := range []string{link, filepath.Join(link, "new")} {
			if _, err := Open(path); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: opening %s: %v", name, path, err)
			}
		}
		must(t, os.Remove(link))
		d, err := Open(link)
		must(t, err)
		must(t, d.WriteFile("file", []byte("his")))
		sub, err := d.Sub("sub")
		must(t, err)
		must(t, os.RemoveAll(link))
		plant()
		for what, err := range tries(d) {
			tried++
			if what == "remove" && err == nil {
				t.Errorf("%s: %s succeeds", name, what)
			} else if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		if err := sub.WriteCopy("x", nil); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: in a directory below: %v", name, err)
		}
		if names := d.Names(); names != nil {
			t.Errorf("%s: lists %v", name, names)
		}
	}
	if got := strings.Join(left(t, closed), ", "); got != "file of 0" {
		t.Errorf("root was led to make %s", got)
	}
	t.Logf("%d tries", tried)
}

// tries does with a directory what changes or reads something, and returns what becomes of it.
func tries(d *Dir) map[string]error {
	_, read := d.ReadFile("file", 10)
	_, open := d.OpenFile("file", os.O_RDWR)
	_, made := d.OpenFile("made", os.O_RDWR|os.O_CREATE)
	_, temp := d.Temp()
	_, scratch := d.Scratch()
	_, sub := d.Sub("sub")
	return map[string]error{
		"read": read, "open": open, "create": made, "temp": temp, "scratch": scratch, "sub": sub,
		"write": d.WriteFile("file", nil), "copy": d.WriteCopy("deep/file", nil), "remove": d.Remove("file"),
	}
}

// A link in the place of a file leads nowhere, whoever has planted it, and what is written takes the link's place.
func TestLinkForAFile(t *testing.T) {
	top := tempDir(t)
	secret := filepath.Join(top, "secret")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	for _, owner := range []int{0, other} {
		dir := filepath.Join(top, fmt.Sprint(owner))
		must(t, os.Mkdir(dir, 0o755), os.Lchown(dir, owner, owner))
		d, err := Open(dir)
		must(t, err)
		must(t, os.Symlink(secret, filepath.Join(dir, "link")), os.Lchown(filepath.Join(dir, "link"), owner, owner))
		if data, err := d.ReadFile("link", 10); err == nil {
			t.Errorf("read %q", data)
		}
		for _, flag := range []int{os.O_RDONLY, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_APPEND} {
			if _, err := d.OpenFile("link", flag); err == nil {
				t.Errorf("opened with %d", flag)
			}
		}
		must(t, d.WriteFile("link", []byte("own")))
		if got := strings.Join(left(t, dir), ", "); got != fmt.Sprintf("link of %d", owner) {
			t.Errorf("there is %s", got)
		}
	}
	if data, err := os.ReadFile(secret); err != nil || string(data) != "secret" {
		t.Errorf("root's file holds %q, %v", data, err)
	}
}

// Where several could decide, root keeps nothing.
func TestShared(t *testing.T) {
	dir := filepath.Join(tempDir(t), "shared")
	must(t, os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777))
	if _, err := Open(filepath.Join(dir, "x")); !errors.As(err, new(*SharedError)) {
		t.Error(err)
	}
}

// A file without a name is to be written and read, and nobody sees it.
func TestUnnamed(t *testing.T) {
	dir := tempDir(t)
	d, err := Open(dir)
	must(t, err)
	f, err := d.Unnamed()
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 5)
	must(t, err)
	if names := left(t, dir); len(names) != 0 {
		t.Errorf("left %q", names)
	}
	must(t, f.Close())
}

// A link on the way to the directory is the administrator's. One below it is not followed, whatever it leads to: whoever may write
// there would choose where files are written and removed.
func TestNoLinkBelow(t *testing.T) {
	dir := tempDir(t)
	at := func(path string) string { return filepath.Join(dir, path) }
	must(t, os.MkdirAll(at("real/repository"), 0o700), os.Symlink("real", at("cache")), os.MkdirAll(at("victim"), 0o700))
	must(t, os.WriteFile(at("victim/precious"), []byte("precious"), 0o600))
	d, err := OpenBelow(at("cache"), "repository")
	must(t, err)
	must(t, d.WriteFile("head", []byte("head")))
	must(t, os.Symlink("../../victim", at("real/repository/tables")), os.Symlink("../victim", at("real/other")))
	if sub, err := d.Sub("tables"); err == nil {
		t.Errorf("%v is a directory", sub.Path(""))
	}
	if _, err := OpenBelow(at("cache"), "other"); !errors.As(err, new(*LinkError)) || !strings.Contains(err.Error(), at("cache/other")) {
		t.Errorf("a link in the place of a repository's directory: %v", err)
	}
	if _, err := d.ReadFile("tables/precious", 100); err == nil {
		t.Error("a file behind a link is read")
	}
	if d.WriteFile("tables/new", nil) == nil || d.WriteCopy("tables/new", nil) == nil || d.Remove("tables/precious") == nil {
		t.Error("files behind a link are written or removed")
	}
	if _, err := d.OpenFile("tables/new", os.O_RDWR|os.O_CREATE); err == nil {
		t.Error("a file behind a link is made")
	}
	if got := strings.Join(left(t, at("victim")), ", "); got != "precious of 0" {
		t.Errorf("the link's directory holds %s", got)
	}
	must(t, os.RemoveAll(at("real")))
	if _, err := d.ReadFile("head", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	must(t, os.Mkdir(at("real"), 0o700), d.WriteFile("head", []byte("again")))
}
