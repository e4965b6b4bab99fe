package backup

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
	"time"

	"permafrost/internal/snaptest"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/restore"
)

// lies commits a snapshot like another one, but for the content of two files, which it swaps.
func (w *world) lies(k *keys.Keyring, of *Result, a, b string) {
	w.t.Helper()
	ctx := w.t.Context()
	r := w.Open(k)
	wr, err := r.NewWriter(ctx, of.Manifest.Instance)
	if err != nil {
		w.t.Fatal(err)
	}
	defer wr.Abort()
	rd, err := r.NewReader(ctx, of.Manifest.Instance)
	if err != nil {
		w.t.Fatal(err)
	}
	entries := make(map[string]*snapshot.Entry)
	var order []*snapshot.Entry
	for e, err := range snapshot.Entries(ctx, rd, of.Manifest, ".") {
		if err != nil {
			w.t.Fatal(err)
		}
		mine := *e
		entries[e.Path] = &mine
		order = append(order, &mine)
	}
	x, y := entries[a], entries[b]
	x.Content, y.Content = y.Content, x.Content
	in := &ingester{w: storing{wr}}
	list := snapshot.NewListingWriter(in.sink(ctx), sha256.Sum256(nil))
	for _, e := range order {
		if err := list.Add(e); err != nil {
			w.t.Fatal(err)
		}
	}
	m := *of.Manifest
	m.Created = time.Now().UTC()
	if m.Media.Listing, err = list.Finish(); err != nil {
		w.t.Fatal(err)
	}
	text, err := m.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := wr.Commit(ctx, text, m.Info()); err != nil {
		w.t.Fatal(err)
	}
}

// A night believes what it did itself, and nobody else's word of what is in a file that looks unchanged: another writer of the
// same instance, who is removed since, has said of two files what is not so.
func TestNightBelievesItself(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	files := []snaptest.File{{Path: "a", Data: bytes.Repeat([]byte("a"), 5000)}, {Path: "b", Data: bytes.Repeat([]byte("b"), 5000)}}
	snaptest.WriteFiles(t, inst.Media.Root, files...)
	for _, f := range files {
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(filepath.Join(inst.Media.Root, f.Path), old, old); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Skip: []string{"postgres", "redis", "secrets"}, IgnoreCTime: true}
	first := w.create(inst, o)
	rogue, err := w.Owner.NewWriter("rogue")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Open(w.Owner).AddPerson(t.Context(), rogue, ledger.Person{Name: "rogue", Instance: first.Manifest.Instance}, nil, ""); err != nil {
		t.Fatal(err)
	}
	w.lies(rogue, first, "a", "b")
	if err := w.Open(w.Owner).RemovePerson(t.Context(), "rogue"); err != nil {
		t.Fatal(err)
	}
	second := w.create(inst, o)
	w.Verify(second.Ref, snapshot.NewInspector)
	dir := w.restore(second, restore.Options{})
	for _, f := range files {
		if got, err := os.ReadFile(filepath.Join(dir, restoredMedia, f.Path)); err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("%s comes back as %.5q…, %v", f.Path, got, err)
		}
	}
	if second.Manifest.Media.Cost.Fresh != 0 {
		t.Errorf("%+v", second.Manifest.Media.Cost)
	}
}
