package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo/store"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "new", "repository")) })
}

func TestOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Join(path, "below"), ""} {
		if _, err := Open(dir); err == nil {
			t.Errorf("%q passes for a directory", dir)
		}
	}
}

// What is no object is neither listed nor read.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Put(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "lost+found"), 0o700),
		os.WriteFile(filepath.Join(dir, "lost+found", "x"), nil, 0o600),
		os.WriteFile(filepath.Join(dir, ".nfs0001"), nil, 0o600),
		os.Symlink("a", filepath.Join(dir, "link")),
		os.WriteFile(filepath.Join(dir, "tmp", "upload"), nil, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	count := func(prefix string) (n int) {
		for _, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if got := count(""); got != 1 {
		t.Errorf("%d objects are listed, want 1", got)
	}
	if got := count("tmp/"); got != 1 {
		t.Errorf("%d uploads are listed, want 1", got)
	}
	if err := s.Remove(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removing a directory: %v", err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	if err := open(t, dir).Put(t.Context(), "a/b", nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{"": 0o700 | fs.ModeDir, "a": 0o700 | fs.ModeDir, "a/b": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode() != want {
			t.Errorf("%q: %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
}

func TestFree(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "not", "there", "yet")} {
		if n, ok, err := open(t, dir).Free(t.Context()); n <= 0 || !ok || err != nil {
			t.Errorf("%s: %d, %v, %v", dir, n, ok, err)
		}
	}
}

func TestNoSpace(t *testing.T) {
	dir := storetest.SmallDir(t, 1<<20)
	if dir == "" {
		return
	}
	s := open(t, dir)
	data := make([]byte, 300<<10)
	var err error
	puts := 0
	for ; err == nil; puts++ {
		err = s.Put(t.Context(), fmt.Sprint("a/", puts), data)
	}
	if puts > 4 || !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("put number %d: %v", puts, err)
	}
	for o, err := range s.List(t.Context(), "tmp/") {
		t.Errorf("left: %v, %v", o, err)
	}
	if err := s.Remove(t.Context(), "a/0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a/b", data); err != nil {
		t.Errorf("after making room: %v", err)
	}
}
