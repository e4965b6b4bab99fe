package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/source"
)

// A snapshot is a file system as the standard library wants one, and has what the host had.
func TestTree(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	root := openDir(t)
	inst.Media.Root = root
	large := storetest.Random(3, 20<<20)
	writeFiles(t, root, file{path: "accounts/avatars/a.png", data: []byte("avatar")}, file{path: "accounts/empty"}, file{path: "b.c/d", data: []byte("d")},
		file{path: "b/c", data: storetest.Random(4, 20<<10)}, file{path: "name", link: "b/c"})
	if err := os.Symlink("b/c", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	res := w.create(inst, CreateOptions{})
	tree, err := OpenTree(t.Context(), w.open(w.owner), res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	secret := "secrets" + string(res.Manifest.Secrets.Files[0].Path)
	if err := fstest.TestFS(tree, secret, "media/accounts/avatars/a.png", "media/accounts/empty", "media/b.c/d", "media/b/c", "media/name", "media/link"); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, root, file{path: "large", data: large}) // each byte by itself would take long
	res = w.create(inst, CreateOptions{})
	if tree, err = OpenTree(t.Context(), w.open(w.owner), res.Manifest); err != nil {
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
	sealed, err := OpenTree(t.Context(), w.open(w.writer), res.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := sealed.Stat("media/large"); err != nil || info.Size() != int64(len(large)) {
		t.Errorf("without the owner's key: %v, %v", info, err)
	}
	if _, err := fs.ReadFile(sealed, "media/large"); err == nil {
		t.Error("the content was read without the owner's key")
	}
}

// A directory is read without what lies below its children.
func TestTreeReadsLittle(t *testing.T) {
	b := &countedBlobs{hostileBlobs: hostileBlobs{make(blobs)}}
	entries := mastodonTree(1, 20_000)
	m := &Manifest{Media: Media{State: Captured, Listing: writeListing(t, b.blobs, entries)}}
	tree := &Tree{t.Context(), b, m}
	all := len(b.blobs)
	names := make(map[string][]string)
	for _, e := range entries {
		if e.Path != "." {
			dir := filepath.Dir(e.Path)
			names[dir] = append(names[dir], filepath.Base(e.Path))
		}
	}
	for _, dir := range []string{".", "cache", "cache/media_attachments/files", filepath.Dir(entries[len(entries)/2].Path)} {
		b.gets = 0
		name := "media/" + dir
		if dir == "." {
			name = "media"
		}
		list, err := tree.ReadDir(name)
		var got []string
		for _, e := range list {
			got = append(got, e.Name())
		}
		if want := names[dir]; err != nil || !slices.Equal(got, want) || b.gets > 30+3*len(want) || b.gets > all/2 {
			t.Errorf("%s: %d of %d names by %d of %d blobs: %v", dir, len(got), len(want), b.gets, all, err)
		}
	}
}

type countedBlobs struct {
	hostileBlobs
	gets int
}

func (b *countedBlobs) Blob(ctx context.Context, id chunk.ID) ([]byte, error) {
	b.gets++
	return b.hostileBlobs.Blob(ctx, id)
}

// What is read from an offset on is what was there, whatever the chunks are; and no more of the recipe is read than leads there.
func TestReadAt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := &countedBlobs{hostileBlobs: hostileBlobs{make(blobs)}}
	pool := storetest.Random(7, 64<<10)
	poolID, _ := b.put(pool)
	for _, chunks := range []int{1, 3, 20, 5000} {
		t.Run(fmt.Sprint(chunks), func(t *testing.T) {
			rec := newRecipeWriter(b.put, rootExtents)
			var want []byte
			for range chunks {
				n := 1 + r.IntN(300)
				data := make([]byte, n)
				c := Chunk{Length: int64(n)}
				switch r.IntN(4) {
				case 0: // a hole
				case 1:
					at := r.IntN(len(pool) - n)
					half := r.IntN(n)
					data = pool[at : at+n]
					c.ID, _ = b.put(data)
					c.Extents = []Extent{{poolID, at + half, n - half}}
					if half > 0 {
						c.Extents = slices.Insert(c.Extents, 0, Extent{poolID, at, half})
					}
				default:
					data = storetest.Random(r.Uint64(), n)
					c.ID, _ = b.put(data)
				}
				want = append(want, data...)
				if err := rec.add(&c); err != nil {
					t.Fatal(err)
				}
			}
			content, err := rec.finish()
			if err != nil {
				t.Fatal(err)
			}
			n := &Node{Path: "media/f", Entry: &Entry{Entry: source.Entry{Path: "f", Type: source.File, Size: content.Size}, Content: content}}
			f, err := (&Tree{ctx: t.Context(), rd: b}).file(n)
			if err != nil {
				t.Fatal(err)
			}
			for range 500 {
				off := r.IntN(len(want) + 10)
				p := make([]byte, r.IntN(1000))
				b.gets = 0
				n, err := f.ReadAt(p, int64(off))
				end := min(off+len(p), len(want))
				switch {
				case n != max(0, end-off) || !bytes.Equal(p[:n], want[min(off, end):end]):
					t.Fatalf("%d bytes at %d: %d other ones", len(p), off, n)
				case n == len(p) && err != nil || n < len(p) && err != io.EOF:
					t.Fatalf("%d bytes of %d at %d: %v", n, len(p), off, err)
				case b.gets > 40+len(p):
					t.Fatalf("%d bytes at %d took %d blobs", len(p), off, b.gets)
				}
			}
			var all bytes.Buffer
			if _, err := f.WriteTo(&all); err != nil || !bytes.Equal(all.Bytes(), want) {
				t.Errorf("all of it: %d bytes of %d: %v", all.Len(), len(want), err)
			}
		})
	}
}
