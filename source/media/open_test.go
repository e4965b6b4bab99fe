package media

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
)

// Open gives the regular file that is there, and refuses whatever else took its place, or its directory's.
func TestOpenSwapped(t *testing.T) {
	asNobody(t)
	withoutOpenat2(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			swap func(at func(string) string) error
			want error
		}{
			"removed":           {func(at func(string) string) error { return os.Remove(at("d/f")) }, fs.ErrNotExist},
			"directory removed": {func(at func(string) string) error { return os.RemoveAll(at("d")) }, fs.ErrNotExist},
			"symlink": {func(at func(string) string) error {
				return errors.Join(os.Rename(at("d/f"), at("d/g")), os.Symlink("g", at("d/f")))
			}, hostfs.ErrNotRegular},
			"symlink to a secret": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), os.Symlink("/etc/passwd", at("d/f")))
			}, hostfs.ErrNotRegular},
			"fifo": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), unix.Mkfifo(at("d/f"), 0o644))
			}, hostfs.ErrNotRegular},
			"socket": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), unix.Mknod(at("d/f"), unix.S_IFSOCK|0o644, 0))
			}, hostfs.ErrNotRegular},
			"directory": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), os.Mkdir(at("d/f"), 0o755))
			}, hostfs.ErrNotRegular},
			"another file": {func(at func(string) string) error {
				return errors.Join(os.WriteFile(at("new"), []byte("d/f"), 0o644), os.Rename(at("new"), at("d/f")))
			}, nil},
			"directory is a file": {func(at func(string) string) error {
				return errors.Join(os.RemoveAll(at("d")), os.WriteFile(at("d"), nil, 0o644))
			}, fs.ErrNotExist},
		} {
			t.Run(name, func(t *testing.T) {
				root := t.TempDir()
				write(t, root, "d/f")
				tree := openTree(t, root, Options{})
				e := find(t, walk(t, tree), "d/f")
				if string(content(t, tree, e)) != "d/f" {
					t.Fatal("not its content")
				}
				must(t, c.swap(func(name string) string { return filepath.Join(root, name) }))
				f, err := tree.Open("d/f")
				if !errors.Is(err, c.want) {
					t.Errorf("got %v, %v; want %v", f, err, c.want)
				}
				if err == nil {
					if f.Is(e) {
						t.Error("another file is taken for the one that was walked")
					}
					f.Close()
				}
			})
		}
	})
}

// A directory above the file that becomes a symbolic link is never followed, not even back to the same file.
func TestOpenNoSymlinkAbove(t *testing.T) {
	withoutOpenat2(t, func(t *testing.T) {
		root := t.TempDir()
		write(t, root, "d/e/f")
		tree := openTree(t, root, Options{})
		must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, "moved")))
		must(t, os.Symlink("moved", filepath.Join(root, "d")))
		if f, err := tree.Open("d/e/f"); err == nil {
			f.Close()
			t.Error("a symbolic link was followed")
		}
	})
}

func TestOpenInvalid(t *testing.T) {
	root := t.TempDir()
	write(t, root, "f")
	tree := openTree(t, root, Options{})
	for _, path := range []string{"", ".", "..", "../x", "/etc/passwd", "a/../f", "f/", "f\x00"} {
		if _, err := tree.Open(path); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// An open file is one version: it says so when it was written to, and not when its name was taken away.
func TestFileUnchanged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(name string) error
		want   error
	}{
		"nothing":      {func(string) error { return nil }, nil},
		"removed":      {os.Remove, nil},
		"a name fewer": {func(name string) error { return os.Remove(name + ".link") }, nil},
		"replaced": {func(name string) error {
			return errors.Join(os.WriteFile(name+".new", nil, 0o644), os.Rename(name+".new", name))
		}, nil},
		"written to":    {func(name string) error { return os.WriteFile(name, []byte("F"), 0o644) }, ErrChanged},
		"longer":        {func(name string) error { return os.Truncate(name, 2) }, ErrChanged},
		"another mode":  {func(name string) error { return os.Chmod(name, 0o600) }, ErrChanged},
		"removed, too":  {func(name string) error { return errors.Join(os.WriteFile(name, []byte("F"), 0o644), os.Remove(name)) }, ErrChanged},
		"an attribute":  {func(name string) error { return unix.Setxattr(name, "user.a", []byte("b"), 0) }, ErrChanged},
		"another name":  {func(name string) error { return os.Link(name, name+".2") }, ErrChanged},
		"its time back": {func(name string) error { return os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)) }, ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "f")
			path := filepath.Join(root, "f")
			must(t, os.Link(path, path+".link"))
			f, err := openTree(t, root, Options{}).Open("f")
			must(t, err)
			defer f.Close()
			must(t, c.change(path))
			if err := f.Unchanged(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// What was written a moment ago is not opened before another change would show by its time; what is written to all the time
// is not opened at all.
func TestOpenSettles(t *testing.T) {
	root := t.TempDir()
	tree := openTree(t, root, Options{})
	path := filepath.Join(root, "f")
	for range 20 {
		must(t, os.WriteFile(path, []byte("one"), 0o644))
		f, err := tree.Open("f")
		must(t, err)
		must(t, os.WriteFile(path, []byte("two"), 0o644))
		if err := f.Unchanged(); !errors.Is(err, ErrChanged) {
			t.Errorf("a change right behind another one: %v", err)
		}
		f.Close()
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				os.WriteFile(path, []byte("on"), 0o644)
			}
		}
	}()
	if f, err := tree.Open("f"); !errors.Is(err, ErrChanged) {
		t.Errorf("while it is written to: %v, %v", f, err)
	}
	close(stop)
	<-stopped
}

func TestSegments(t *testing.T) {
	const block = 64 << 10
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	for _, i := range []int64{0, 4, 5, 9} {
		_, err := f.WriteAt(make([]byte, block), i*block)
		must(t, err)
	}
	must(t, f.Truncate(20*block))
	for size, want := range map[int64][]Segment{
		0:           nil,
		10:          {{0, 10}},
		20 * block:  {{0, block}, {4 * block, 2 * block}, {9 * block, block}},
		9*block + 1: {{0, block}, {4 * block, 2 * block}, {9 * block, 1}},
		3 * block:   {{0, block}},
		1 << 40:     {{0, block}, {4 * block, 2 * block}, {9 * block, block}}, // it has shrunk meanwhile
	} {
		got, err := Segments(f, size)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d bytes: got %v, %v; want %v", size, got, err, want)
		}
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Errorf("left at %d, %v", at, err)
	}
}

// A file of a great many extents has its rest as one segment.
func TestSegmentsBounded(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	const step = 8 << 10
	for i := range int64(maxSegments + 10) {
		_, err := f.WriteAt([]byte{1}, i*step)
		must(t, err)
	}
	size := int64(maxSegments+10) * step
	got, err := Segments(f, size)
	must(t, err)
	if last := got[len(got)-1]; len(got) != maxSegments || last.Off+last.Len != size {
		t.Errorf("%d segments, the last %v", len(got), last)
	}
}

func TestSegmentsPipe(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	if s, err := Segments(r, 10); err == nil {
		t.Errorf("a pipe has segments %v", s)
	}
}
