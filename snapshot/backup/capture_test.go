package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

// A meddler is a media tree in which things happen between the walk and the reading.
type meddler struct {
	*media.Tree
	before func(path string) error // called before a file is opened; nil: nothing happens
	walked func(e *source.Entry) error
	stores func() error // called before a blob of media is stored

	mu     sync.Mutex
	opened []string
}

func (m *meddler) Open(path string) (*media.File, error) {
	m.mu.Lock()
	m.opened = append(m.opened, path)
	m.mu.Unlock()
	if m.before != nil {
		if err := m.before(path); err != nil {
			return nil, err
		}
	}
	return m.Tree.Open(path)
}

// A meddlingWriter lets a meddler do something while a file is read.
type meddlingWriter struct {
	blobWriter
	m *meddler
}

func (w meddlingWriter) Add(ctx context.Context, c repo.Component, id chunk.ID, data []byte) (bool, error) {
	if c == repo.Media && w.m.stores != nil {
		if err := w.m.stores(); err != nil {
			return false, err
		}
	}
	return w.blobWriter.Add(ctx, c, id, data)
}

func (m *meddler) Walk(ctx context.Context) iter.Seq2[*source.Entry, error] {
	return func(yield func(*source.Entry, error) bool) {
		for e, err := range m.Tree.Walk(ctx) {
			if err == nil && m.walked != nil {
				err = m.walked(e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// A night is what a capture made.
type night struct {
	media    snapshot.Media
	manifest *snapshot.Manifest // as far as the next night needs it
	stats    repo.Stats
	entries  map[string]*snapshot.Entry
	opened   []string
	warned   []string
}

// capture stores the tree below dir and commits it.
func (w *world) capture(dir string, previous *night, meddle func(*meddler)) *night {
	w.t.Helper()
	ctx := w.t.Context()
	r := w.Open(w.Writer)
	wr, err := r.NewWriter(ctx, "mastodon.example")
	if err != nil {
		w.t.Fatal(err)
	}
	defer wr.Abort()
	rd, err := r.NewReader(ctx, "mastodon.example")
	if err != nil {
		w.t.Fatal(err)
	}
	tree, err := media.Open(dir, media.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer tree.Close()
	m := &meddler{Tree: tree}
	if meddle != nil {
		meddle(m)
	}
	n := &night{entries: make(map[string]*snapshot.Entry)}
	c := &capture{in: &ingester{w: meddlingWriter{wr, m}}, tree: m, rd: rd, length: rd.Length, told: func(int64, int64) {},
		warn: func(path string, err error) { n.warned = append(n.warned, path+": "+err.Error()) },
		note: func(err error) { n.warned = append(n.warned, err.Error()) }}
	if previous != nil {
		c.previous = previous.manifest
	}
	// The walk begins so much later that what was just written is not too young to be trusted.
	n.manifest = &snapshot.Manifest{Boundary: snapshot.Boundary{MediaFrom: time.Now().Add(2 * racyWindow)}}
	if n.media, err = c.run(ctx); err != nil {
		w.t.Fatal(err)
	}
	n.manifest.Media = n.media
	if _, err := wr.Commit(ctx, []byte("{}"), ledger.SnapshotInfo{Instance: "mastodon.example"}); err != nil {
		w.t.Fatal(err)
	}
	n.stats = wr.Stats()[repo.Media]
	if rd, err = r.NewReader(ctx, "mastodon.example"); err != nil {
		w.t.Fatal(err)
	}
	for e, err := range snapshot.Entries(ctx, rd, n.manifest, ".") {
		if err != nil {
			w.t.Fatal(err)
		}
		n.entries[e.Path] = e
	}
	n.opened = m.opened
	return n
}

// content reads a captured file back with the owner's key.
func (w *world) content(n *night, path string) []byte {
	w.t.Helper()
	rd, err := snapshot.NewReader(w.t.Context(), w.Open(w.Owner), "mastodon.example")
	if err != nil {
		w.t.Fatal(err)
	}
	e := n.entries[path]
	if e == nil {
		w.t.Fatalf("%s is not in the snapshot", path)
	}
	if e.Link != "" {
		e = n.entries[e.Link]
	}
	var b bytes.Buffer
	if err := stream.Write(w.t.Context(), rd, e.Content.Chunks(w.t.Context(), rd), &b, func(int64) {}); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

// Files of every size: one blob, several, a recipe of their own, holes.
func TestCaptureSizes(t *testing.T) {
	dir := t.TempDir()
	var files []snaptest.File
	for i, size := range []int{0, 1, 70_000, chunk.MaxSize, chunk.MaxSize + 1, 12 << 20, 40 << 20} {
		files = append(files, snaptest.File{Path: fmt.Sprintf("d/%d", size), Data: storetest.Random(uint64(i), size)})
	}
	snaptest.WriteFiles(t, dir, files...)
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{1 << 20, 9 << 20} {
		if _, err := sparse.WriteAt([]byte("island"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(sparse.Truncate(20<<20), sparse.Close()); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	n := w.capture(dir, nil, nil)
	for _, f := range files {
		if got := w.content(n, f.Path); !bytes.Equal(got, f.Data) {
			t.Errorf("%s: %d bytes come back", f.Path, len(got))
		}
	}
	if d := n.entries[files[len(files)-1].Path].Content.Depth; d != 1 {
		t.Errorf("a file of many chunks has depth %d", d)
	}
	want := make([]byte, 20<<20)
	copy(want[1<<20:], "island")
	copy(want[9<<20:], "island")
	if !bytes.Equal(w.content(n, "sparse"), want) {
		t.Error("the sparse file is not what it was")
	}
	data := int64(0)
	for c, err := range n.entries["sparse"].Content.Chunks(t.Context(), snaptest.Blobs{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !c.Hole() {
			data += c.Length
		}
	}
	if data == 0 || data > 1<<20 {
		t.Errorf("%d bytes of the sparse file are data: its holes were read", data)
	}
	if n.media.Files != 8 || n.media.LeftOut+int(n.media.Changed)+int(n.media.Vanished) > 0 {
		t.Errorf("%+v", n.media)
	}
}

// On the next night what is unchanged isn't opened, whatever became of its neighbours; what changed is read.
func TestCaptureUnchanged(t *testing.T) {
	dir := t.TempDir()
	var files []snaptest.File
	for i := range 300 {
		files = append(files, snaptest.File{Path: fmt.Sprintf("%02d/%03d.jpg", i/10, i), Data: storetest.Random(uint64(i), 100+i)})
	}
	files = append(files, snaptest.File{Path: "large", Data: storetest.Random(1000, 30<<20)})
	snaptest.WriteFiles(t, dir, files...)
	w := newWorld(t)
	first := w.capture(dir, nil, nil)
	if len(first.opened) != len(files) {
		t.Fatalf("%d files opened", len(first.opened))
	}
	same := w.capture(dir, first, nil)
	if len(same.opened) > 0 || same.stats.Fresh > 0 {
		t.Errorf("%d unchanged files opened, %+v", len(same.opened), same.stats)
	}
	if !bytes.Equal(same.media.Listing.Root, first.media.Listing.Root) {
		t.Error("the listing of the same tree is another")
	}

	if err := errors.Join(os.Remove(filepath.Join(dir, "00/000.jpg")), os.Chmod(filepath.Join(dir, "01/010.jpg"), 0o600),
		os.WriteFile(filepath.Join(dir, "02/020.jpg"), storetest.Random(7, 120), 0o644), os.Rename(filepath.Join(dir, "03"), filepath.Join(dir, "99"))); err != nil {
		t.Fatal(err)
	}
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "02/new", Data: []byte("new")})
	third := w.capture(dir, same, nil)
	slices.Sort(third.opened)
	want := []string{"01/010.jpg", "02/020.jpg", "02/new"}
	for i := range 10 {
		want = append(want, fmt.Sprintf("99/%03d.jpg", 30+i))
	}
	if !slices.Equal(third.opened, want) {
		t.Errorf("opened %v, want %v", third.opened, want)
	}
	if third.stats.Fresh != 120+3 || third.entries["01/010.jpg"].Mode != 0o600 {
		t.Errorf("%+v, mode %o", third.stats, third.entries["01/010.jpg"].Mode)
	}
	if !bytes.Equal(w.content(third, "large"), files[300].Data) || !bytes.Equal(w.content(third, "99/030.jpg"), files[30].Data) {
		t.Error("content is not what it was")
	}
}

// What was written as late as the previous walk is read again, though it looks the same: it may have been written
// after it was read. So is what lies in a pack that is gone.
func TestCaptureDoesNotTrust(t *testing.T) {
	dir := t.TempDir()
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "a", Data: []byte("content")})
	w := newWorld(t)
	first := w.capture(dir, nil, nil)
	first.manifest.Boundary.MediaFrom = time.Now()
	if n := w.capture(dir, first, nil); len(n.opened) != 1 {
		t.Errorf("opened %v", n.opened)
	}
	first.manifest.Boundary.MediaFrom = time.Now().Add(time.Hour)
	for _, name := range w.Store.Names() {
		if strings.HasPrefix(name, "packs/") {
			w.Store.Delete(name)
		}
	}
	n := w.capture(dir, first, nil)
	if len(n.opened) != 1 || n.stats.Fresh != 7 {
		t.Errorf("opened %v, %+v", n.opened, n.stats)
	}
	if got := w.content(n, "a"); string(got) != "content" {
		t.Errorf("%q", got)
	}
}

// Files that vanish are no fault; what can't be read is named. The rest of the tree is captured in any case.
func TestCaptureMishaps(t *testing.T) {
	dir := t.TempDir()
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "a/vanishes", Data: []byte("1")}, snaptest.File{Path: "b/fails", Data: []byte("2")}, snaptest.File{Path: "c/link", Data: []byte("3")},
		snaptest.File{Path: "f/unlisted", Data: []byte("6")}, snaptest.File{Path: "g/good", Data: []byte("7")})
	w := newWorld(t)
	n := w.capture(dir, nil, func(m *meddler) {
		m.before = func(path string) error {
			name := filepath.Join(dir, path)
			switch filepath.Base(path) {
			case "vanishes":
				return os.Remove(name)
			case "fails":
				return &os.PathError{Op: "open", Path: path, Err: errors.New("input/output error")}
			case "link":
				return errors.Join(os.Remove(name), os.Symlink("../g/good", name))
			}
			return nil
		}
		m.walked = func(e *source.Entry) error {
			if e.Path == "f" {
				return errors.New("permission denied")
			}
			return nil
		}
	})
	if n.media.Vanished != 1 || n.media.LeftOut != 3 || n.media.Changed != 0 || len(n.warned) != 3 {
		t.Errorf("%+v\n%q", n.media, n.warned)
	}
	if got := w.content(n, "g/good"); string(got) != "7" {
		t.Errorf("g/good: %q", got)
	}
	for _, path := range []string{"a/vanishes", "b/fails", "c/link"} {
		if n.entries[path] != nil {
			t.Errorf("%s is in the snapshot", path)
		}
	}
	if n.entries["f"] == nil || n.media.Left[0].Path != "b/fails" {
		t.Errorf("left out: %+v", n.media.Left)
	}
}

func TestCaptureHardLinks(t *testing.T) {
	dir := t.TempDir()
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "a", Data: []byte("one")}, snaptest.File{Path: "b", Link: "a"}, snaptest.File{Path: "c/d", Link: "a"},
		snaptest.File{Path: "m", Data: []byte("two")}, snaptest.File{Path: "n", Link: "m"}, snaptest.File{Path: "o", Link: "m"}, snaptest.File{Path: "p", Link: "m"},
		snaptest.File{Path: "z", Data: []byte("three")})
	if err := os.Link(filepath.Join(dir, "z"), filepath.Join(t.TempDir(), "outside")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	n := w.capture(dir, nil, func(m *meddler) {
		m.before = func(path string) error {
			if path == "m" || path == "n" {
				return errors.New("input/output error")
			}
			return nil
		}
	})
	for path, want := range map[string]string{"a": "", "b": "a", "c/d": "a", "o": "", "p": "o", "z": ""} {
		if e := n.entries[path]; e == nil || e.Link != want {
			t.Errorf("%s: %+v", path, e)
		}
	}
	if n.media.LeftOut != 2 || n.media.Files != 6 || n.media.Size != 3+3+5 {
		t.Errorf("%+v", n.media)
	}
	if string(w.content(n, "p")) != "two" {
		t.Error("content of a link whose first name failed")
	}
}

func BenchmarkCapture(b *testing.B) {
	dir := b.TempDir()
	var files []snaptest.File
	for i := range 2000 {
		files = append(files, snaptest.File{Path: fmt.Sprintf("%03d/%03d/%d.jpg", i/100, i%100, i), Data: storetest.Random(uint64(i), 100_000)})
	}
	snaptest.WriteFiles(b, dir, files...)
	w := newWorld(b)
	b.SetBytes(2000 * 100_000)
	var first *night
	whole := b // the second part works in the last world of the first
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			w = newWorld(whole)
			first = w.capture(dir, nil, nil)
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			w.capture(dir, first, nil)
		}
	})
}

// invalid returns why a manifest can't have these media.
func invalid(m snapshot.Media) error {
	_, err := (&snapshot.Manifest{Format: snapshot.Format, Instance: snaptest.Domain, Date: "2026-06-27", Created: time.Now(), Boundary: snapshot.Boundary{},
		Secrets: snapshot.Secrets{State: snapshot.Skipped}, Postgres: snapshot.Postgres{State: snapshot.Skipped}, Redis: snapshot.Redis{State: snapshot.Skipped}, Media: m}).Encode()
	return err
}
