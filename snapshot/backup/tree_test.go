package backup

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/snapshot"
)

// A snapshot is a file system as the standard library wants one, and has what the host had.
func TestTree(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	root := snaptest.OpenDir(t)
	inst.Media.Root = root
	large := storetest.Random(3, 20<<20)
	snaptest.WriteFiles(t, root, snaptest.File{Path: "accounts/avatars/a.png", Data: []byte("avatar")}, snaptest.File{Path: "accounts/empty"}, snaptest.File{Path: "b.c/d", Data: []byte("d")},
		snaptest.File{Path: "b/c", Data: storetest.Random(4, 20<<10)}, snaptest.File{Path: "name", Link: "b/c"})
	if err := os.Symlink("b/c", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	res := w.create(inst, Options{})
	tree, err := snapshot.OpenTree(t.Context(), w.Open(w.Owner), res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	secret := "secrets" + string(res.Manifest.Secrets.Files[0].Path)
	if err := fstest.TestFS(tree, secret, "media/accounts/avatars/a.png", "media/accounts/empty", "media/b.c/d", "media/b/c", "media/name", "media/link"); err != nil {
		t.Fatal(err)
	}
	snaptest.WriteFiles(t, root, snaptest.File{Path: "large", Data: large}) // each byte by itself would take long
	res = w.create(inst, Options{})
	if tree, err = snapshot.OpenTree(t.Context(), w.Open(w.Owner), res.Manifest); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"large", "name", "b/c", "accounts/empty"} {
		want, err := os.ReadFile(filepath.Join(root, name))
		got, treeErr := fs.ReadFile(tree, "media/"+name)
		if err != nil || treeErr != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d: %v, %v", name, len(got), len(want), err, treeErr)
		}
	}
	if to, err := tree.ReadLink("media/link"); err != nil || to != "b/c" {
		t.Errorf("the link leads to %q: %v", to, err)
	}
	for _, name := range []string{"media/none", "media/large/x", "postgres/x", "none", "secrets/none"} {
		if _, err := tree.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var walked []string
	for n, err := range tree.Walk("media/b") {
		if err != nil {
			t.Fatal(err)
		}
		walked = append(walked, n.Path)
	}
	if !slices.Equal(walked, []string{"media/b", "media/b/c"}) {
		t.Errorf("below media/b there are %q", walked)
	}
	sealed, err := snapshot.OpenTree(t.Context(), w.Open(w.Writer), res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := sealed.Stat("media/large"); err != nil || info.Size() != int64(len(large)) {
		t.Errorf("without the owner's key: %v, %v", info, err)
	}
	if _, err := fs.ReadFile(sealed, "media/large"); err == nil {
		t.Error("the content was read without the owner's key")
	}
	other := *res.Manifest
	other.Postgres.SHA256[0]++
	if err := snapshot.Dump(t.Context(), w.Open(w.Owner), &other, "postgres", io.Discard); !isLost(err) {
		t.Errorf("a dump that is not what it was: %v", err)
	}
}
