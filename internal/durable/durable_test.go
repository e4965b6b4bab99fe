package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// only fails the test unless dir holds exactly the named entries: nothing temporary stays.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(names) {
		t.Fatalf("%s holds %v, want %v", dir, entries, names)
	}
	for i, e := range entries {
		if e.Name() != names[i] {
			t.Fatalf("%s holds %v, want %v", dir, entries, names)
		}
	}
}

func content(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Fatalf("%s: %q, %v; want %q", path, got, err, want)
	}
}

// write creates a file at path that holds data.
func write(path string, data []byte) error {
	f, err := Temp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Create(path)
}

// What is created is its owner's alone. Nothing is put in the place of anything, and nothing temporary is left.
func TestCreateRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := write(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := os.Mkdir(filepath.Join(dir, "g"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"f": fs.ErrExist, "g": fs.ErrExist, "absent/f": fs.ErrNotExist} {
		if err := write(filepath.Join(dir, name), []byte("second, longer")); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	content(t, path, "first")
	only(t, dir, "f", "g")
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var wins atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := write(path, bytes.Repeat([]byte{byte(i)}, 100))
			if err == nil {
				wins.Add(1)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d succeeded", wins.Load())
	}
	only(t, dir, "f")
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	f, err := Temp(dir, "x*")
	if err != nil {
		t.Fatal(err)
	}
	f.Discard()
	only(t, dir)
	if f, err = Temp(dir, "x*"); err != nil {
		t.Fatal(err)
	}
	if err := f.Create(filepath.Join(dir, "y")); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	only(t, dir, "y")
}

func TestMkdirAll(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b", "c")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := MkdirAll(dir, 0o700); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Fatal(info, err)
	}
	if err := write(filepath.Join(dir, "f"), nil); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(dir, "f"), 0o700); err == nil {
		t.Error("a file passes for a directory")
	}
	if err := MkdirAll(filepath.Join(dir, "f", "g"), 0o700); err == nil {
		t.Error("a directory was made below a file")
	}
	only(t, dir, "f")
}

// What goes through Early is in the file, from where the file was at, in pieces of any size.
func TestEarly(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("0123456789"), 4<<20)
	if _, err := f.Write(want[:7]); err != nil {
		t.Fatal(err)
	}
	w := Early(f)
	for part := range slices.Chunk(want[7:], 3<<20|1) {
		if n, err := w.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(want), err)
	}
	f.Close()
	if _, err := w.Write(want); err == nil {
		t.Error("a closed file takes more")
	}
}
