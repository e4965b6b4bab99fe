package snaptest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"permafrost/source"
	"permafrost/source/media"
)

// OpenDir returns a directory that Mastodon's user may read, as what it holds is read with his rights.
func OpenDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A File is one of a tree as tests describe it.
type File struct {
	Path string
	Data []byte
	Link string // path of another name of it
}

// WriteFiles makes files below dir, with the directories that they need.
func WriteFiles(t testing.TB, dir string, files ...File) {
	t.Helper()
	for _, f := range files {
		name := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if f.Link != "" {
			err = os.Link(filepath.Join(dir, f.Link), name)
		} else {
			err = os.WriteFile(name, f.Data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// CompareTrees reports in what the tree got differs from want.
func CompareTrees(t testing.TB, want, got string) {
	t.Helper()
	a, b := readTree(t, want), readTree(t, got)
	for path, x := range a {
		y, ok := b[path]
		if !ok {
			t.Errorf("%s is missing", path)
		} else if x != y {
			t.Errorf("%s:\n was %s\n  is %s", path, x, y)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			t.Errorf("%s should not be there", path)
		}
	}
}

// readTree describes each entry of a tree: all that a restore must bring back.
func readTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree, err := media.Open(dir, media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	all := make(map[string]string)
	names := make(map[uint64]string)
	for e, err := range tree.Walk(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%c %o %d:%d %d size %d rdev %d target %q xattrs %q", e.Type, e.Mode, e.UID, e.GID, e.MTime, e.Size, e.Rdev, e.Target, e.Xattrs)
		if e.Type == source.File {
			data, err := os.ReadFile(filepath.Join(dir, e.Path))
			if err != nil {
				t.Fatal(err)
			}
			first, ok := names[e.Inode]
			if !ok {
				names[e.Inode] = e.Path
			}
			s += fmt.Sprintf(" content %x also %q", sha256.Sum256(data), first)
		}
		all[e.Path] = s
	}
	return all
}
