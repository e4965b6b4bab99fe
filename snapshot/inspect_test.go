package snapshot

import (
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// Every snapshot hears of its own loss, though another one has the same listing; what both share is read once.
func TestInspectSharedListing(t *testing.T) {
	b := snaptest.Blobs{}
	entries := mastodonTree(1, 3000)
	content, _ := b.Put([]byte("content"))
	var files int64
	for _, e := range entries {
		if e.Type == source.File {
			e.Size, e.Link = 7, ""
			e.Content = stream.Whole(content, 7)
			files++
		}
	}
	i := slices.IndexFunc(entries, func(e *Entry) bool { return e.Type == source.File })
	lost := entries[i]
	lost.Content = stream.Whole(chunk.ID{1}, 7)
	m := &Manifest{Media: Media{State: Captured, Listing: writeListing(t, b, entries), Files: files, Size: 7 * files}}
	in := newInspector("mastodon.example", b)
	needs := 0
	for n := range 3 {
		v := &snaptest.LookUp{Blobs: b}
		if err := (&visit{Inspector: in, visitor: v}).manifest(t.Context(), m); err != nil || len(v.Losses) != 1 {
			t.Fatalf("snapshot %d: %v, lost %v", n, err, v.Losses)
		}
		if n > 0 && v.Needs > needs/2 {
			t.Errorf("snapshot %d is told %d needs, the first one %d", n, v.Needs, needs)
		}
		needs = max(needs, v.Needs)
	}
	b[chunk.ID{1}] = []byte("content")
	for n := range 3 {
		v := &snaptest.LookUp{Blobs: b}
		if err := (&visit{Inspector: in, visitor: v}).manifest(t.Context(), m); err != nil || v.Losses != nil || (v.Needs > 32) == (n > 0) {
			t.Fatalf("a whole snapshot: %v, lost %v, %d needs", err, v.Losses, v.Needs)
		}
	}
	m.Media.Files++
	v := &snaptest.LookUp{Blobs: b}
	if err := (&visit{Inspector: in, visitor: v}).manifest(t.Context(), m); err != nil || len(v.Losses) != 1 {
		t.Errorf("a wrong count of files: %v, lost %v", err, v.Losses)
	}
}

// A leaf that is sound by itself reaches beyond the next one: that is found, whether the leaf is known from elsewhere or not.
func TestInspectDisorder(t *testing.T) {
	b := snaptest.Blobs{}
	leaf := func(names ...string) blobtree.Ref {
		var coder entryCoder
		buf := []byte{blobtree.Listing, 0}
		for _, name := range names {
			buf = coder.append(buf, &Entry{Entry: source.Entry{Path: name, Type: source.Dir, Mode: 0o755}})
		}
		id, _ := b.Put(buf)
		return blobtree.Ref{ID: id, Weight: int64(len(names)), First: names[0]}
	}
	listing := func(refs ...blobtree.Ref) *Manifest {
		n := newListingNode(1)
		for _, r := range refs {
			n.add(r)
		}
		return &Manifest{Media: Media{State: Captured, Listing: Listing{n.weight, 1, n.records()}}}
	}
	wide, inner := leaf("a", "m"), leaf("b", "c")
	sound, unsound := listing(wide, leaf("n")), listing(wide, inner)
	in := newInspector("mastodon.example", b)
	for _, c := range []struct {
		name string
		m    *Manifest
		lost int
	}{{"unknown", unsound, 1}, {"sound", sound, 0}, {"known", unsound, 1}} {
		v := &snaptest.LookUp{Blobs: b}
		if err := (&visit{Inspector: in, visitor: v}).manifest(t.Context(), c.m); err != nil || len(v.Losses) != c.lost {
			t.Errorf("%s: %v, lost %v", c.name, err, v.Losses)
		}
	}
}
