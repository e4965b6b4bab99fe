package media

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// his is a user whom nobody has heard of.
const his = 54321

var him = &hostfs.User{UID: his, GID: his, Groups: []uint32{his}}

// hisTree makes a tree of his, which root's own files have found their way into, and returns its root.
func hisTree(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root reads: run it as root")
	}
	top := t.TempDir()
	must(t, os.Chmod(filepath.Dir(top), 0o755))
	write(t, top, "secret", "secrets/secret", "system/a", "system/b/c", "system/d/e", "system/private/f")
	must(t, os.Chmod(filepath.Join(top, "secret"), 0o600))
	must(t, os.Chmod(filepath.Join(top, "secrets"), 0o700))
	root := filepath.Join(top, "system")
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(path, his, his)) }))
	must(t, os.Chmod(filepath.Join(root, "private"), 0o700))
	must(t, os.Chmod(filepath.Join(root, "private/f"), 0o600))
	must(t, unix.Setxattr(filepath.Join(root, "private/f"), "user.x", []byte("y"), 0))
	must(t, os.Link(filepath.Join(top, "secret"), filepath.Join(root, "hard link")))
	must(t, os.Rename(filepath.Join(top, "secrets"), filepath.Join(root, "d/secrets")))
	must(t, unix.Mkfifo(filepath.Join(root, "fifo"), 0o666))
	must(t, os.Symlink("/root", filepath.Join(root, "link")))
	return root
}

// A tree of somebody's is read with his rights, whether they are given or found out: what he can't read is named, and the
// rest is there.
func TestTreeOfUser(t *testing.T) {
	withoutOpenat2(t, func(t *testing.T) {
		root := hisTree(t)
		for _, u := range []*hostfs.User{him, nil} {
			tree := openTree(t, root, Options{User: u})
			if got := tree.User(); got == nil || got.UID != his {
				t.Fatalf("read with the rights of %v", got)
			}
			var denied, read []string
			for e, err := range tree.Walk(context.Background()) {
				if err == nil && e.Type == source.File {
					var f *File
					if f, err = tree.Open(e.Path); err == nil {
						read = append(read, e.Path)
						f.Close()
					}
				}
				if errors.Is(err, fs.ErrPermission) {
					denied = append(denied, e.Path)
				} else if out := (*LeadsOutError)(nil); errors.As(err, &out) != (e.Path == "link") {
					must(t, err)
				}
				if e.Path == "private/f" && (len(e.Xattrs) != 1 || e.UID != his || e.Mode != 0o600) {
					t.Errorf("%+v", e)
				}
			}
			if want := []string{"d/secrets", "hard link"}; !slices.Equal(denied, want) {
				t.Errorf("denied: %q, want %q", denied, want)
			}
			if want := []string{"a", "b/c", "d/e", "private/f"}; !slices.Equal(read, want) {
				t.Errorf("read: %q, want %q", read, want)
			}
			if f, err := tree.Open("fifo"); !errors.Is(err, hostfs.ErrNotRegular) {
				t.Errorf("a FIFO is opened: %v, %v", f, err)
			}
			if _, err := os.ReadFile(filepath.Join(root, "hard link")); err != nil {
				t.Errorf("root's rights did not come back: %v", err)
			}
		}
	})
}

// A root that somebody chooses is one that he can read.
func TestRootOfUser(t *testing.T) {
	root := hisTree(t)
	top := filepath.Dir(root)
	write(t, top, "roots/x", "all/x")
	must(t, os.Chmod(filepath.Join(top, "roots"), 0o700))
	must(t, os.Chmod(filepath.Join(top, "all"), 0o777))
	must(t, os.Symlink(filepath.Join(top, "roots"), filepath.Join(root, "to roots")))
	must(t, os.Lchown(filepath.Join(root, "to roots"), his, his))
	for name, c := range map[string]struct {
		path string
		user *hostfs.User
		ok   bool
	}{
		"named by him, root's":                    {"roots", him, false},
		"by his link":                             {"system/to roots", him, false},
		"by his link, of which root has the path": {"system/to roots", nil, false},
		"below his":                               {"system/d/secrets", nil, false},
		"his":                                     {"system/b", him, true},
		"his, named by root":                      {"system/b", nil, true},
		"root's":                                  {"roots", nil, true},
		"everybody's":                             {"all", nil, false},
		"everybody's, read as him":                {"all", him, true},
	} {
		tree, err := Open(filepath.Join(top, c.path), Options{User: c.user})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			must(t, tree.Close())
		}
	}
}
