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

// write puts data at path as publish does.
func write(path string, data []byte, perm fs.FileMode, publish func(*File, string) error) error {
	f, err := Temp(filepath.Dir(path), ".tmp-*", perm)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return publish(f, path)
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, want := range []string{"first", "", "second, longer"} {
		if err := write(path, []byte(want), 0o640, (*File).Replace); err != nil {
			t.Fatal(err)
		}
		content(t, path, want)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := write(filepath.Join(dir, "absent", "f"), nil, 0o600, (*File).Replace); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in an absent directory: %v", err)
	}
	// A file can't replace a directory: the temporary file goes.
	if err := os.Mkdir(filepath.Join(dir, "g"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := write(filepath.Join(dir, "g"), nil, 0o600, (*File).Replace); err == nil {
		t.Error("a directory was replaced")
	}
	only(t, dir, "f", "g")
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var wins atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := write(path, bytes.Repeat([]byte{byte(i)}, 100), 0o600, (*File).Create)
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
	f, err := Temp(dir, "x*", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Discard()
	only(t, dir)
	if f, err = Temp(dir, "x*", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Replace(filepath.Join(dir, "y")); err != nil {
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
	if err := write(filepath.Join(dir, "f"), nil, 0o600, (*File).Replace); err != nil {
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
