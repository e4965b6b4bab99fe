package media

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/source"
)

// Open gives the file that was walked or none: whatever took its place, or its directory's, is refused.
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
			}, ErrChanged},
			"symlink to a secret": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), os.Symlink("/etc/passwd", at("d/f")))
			}, ErrChanged},
			"fifo": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), unix.Mkfifo(at("d/f"), 0o644))
			}, ErrChanged},
			"socket": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), unix.Mknod(at("d/f"), unix.S_IFSOCK|0o644, 0))
			}, ErrChanged},
			"directory": {func(at func(string) string) error {
				return errors.Join(os.Remove(at("d/f")), os.Mkdir(at("d/f"), 0o755))
			}, ErrChanged},
			"another file": {func(at func(string) string) error {
				return errors.Join(os.WriteFile(at("new"), []byte("d/f"), 0o644), os.Rename(at("new"), at("d/f")))
			}, ErrChanged},
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
				f, err := tree.Open(e)
				if !errors.Is(err, c.want) {
					t.Errorf("got %v, %v; want %v", f, err, c.want)
				}
				if err == nil {
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
		e := find(t, walk(t, tree), "d/e/f")
		must(t, os.Rename(filepath.Join(root, "d"), filepath.Join(root, "moved")))
		must(t, os.Symlink("moved", filepath.Join(root, "d")))
		if f, err := tree.Open(e); err == nil {
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
		if _, err := tree.Open(&source.Entry{Path: path, Type: source.File}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if _, err := tree.Open(&source.Entry{Path: "f", Type: source.FIFO}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a FIFO: %v", err)
	}
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
