package snapshot

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/internal/wire"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// leafRecords returns the records of a leaf that has these entries.
func leafRecords(entries []*Entry) []byte {
	var coder entryCoder
	var records []byte
	for _, e := range entries {
		records = coder.append(records, e)
	}
	return records
}

func FuzzListingLeaf(f *testing.F) {
	read := func(records []byte) (n int64, first string, err error) {
		r := wire.NewReader(records)
		var coder entryCoder
		for ; r.Len() > 0 && r.Err() == nil; n++ {
			if e := coder.read(r); n == 0 {
				first = e.Path
			}
		}
		return n, first, r.Err()
	}
	fuzzing.Seed(f, func(b []byte) error { _, _, err := read(b); return err }, leafRecords(oddEntries()), leafRecords(mastodonTree(4, 3)))
	f.Fuzz(func(t *testing.T, records []byte) {
		n, first, _ := read(records)
		// Each path is told by what differs from the one before.
		fuzzing.Bound(t, 32*len(records)+int(n)*blobtree.MaxPath, func() { read(records) })
		checkLeaf(t, blobtree.Ref{Weight: n, First: first}, records)
		checkLeaf(t, blobtree.Ref{Weight: n - 1, First: first}, records)
	})
}

// An entry that no writer takes is none to the reader either, however small its attributes are.
func TestListingManyAttributes(t *testing.T) {
	for n, want := range map[int]bool{maxAttrs: true, maxAttrs + 1: false} {
		xs := slices.Repeat([]source.Xattr{{Name: "a"}}, n)
		records := leafRecords([]*Entry{{Entry: source.Entry{Path: "x", Type: source.Dir, Xattrs: xs}}})
		r := wire.NewReader(records)
		if new(entryCoder).read(r); (r.Close() == nil) != want {
			t.Errorf("%d attributes: %v", n, r.Err())
		}
	}
}

// What lies of its length is refused before the memory is there.
func TestLyingLengths(t *testing.T) {
	for name, b := range map[string][]byte{
		"extents":    {4<<2 | 1, 0xff, 0x03, 1},
		"attributes": {2, 'd', 0, 0, 0, 0, 0, 1, 'x', 0, 0xff, 0xff, 0x01, 1},
		"target":     {0, 'l', 0, 0, 0, 0, 0, 1, 'x', 0, 0xff, 0x1f, 1},
	} {
		fuzzing.Bound(t, 0, func() {
			leaf := wire.NewReader(b)
			if new(entryCoder).read(leaf); leaf.Err() == nil {
				t.Errorf("%s: taken", name)
			}
		})
	}
}

// A cannedTree answers for any blob: with one of a few, by the first byte of the ID.
type cannedTree [][]byte

func (c cannedTree) Blob(_ context.Context, id chunk.ID) ([]byte, error) {
	return c[int(id[0])%len(c)], nil
}

// oneRef returns an inner node with a single branch.
func oneRef(level int, r blobtree.Ref) *listingNode {
	n := newListingNode(level)
	n.add(r)
	return n
}

// FuzzListing walks a listing of three levels: root, one inner node and one leaf, which may stand in many places.
func FuzzListing(f *testing.F) {
	all := oddEntries()
	n, first := int64(len(all)), all[0].Path
	root := oneRef(2, blobtree.Ref{ID: chunk.ID{1}, Weight: n, First: first}).records()
	inner := oneRef(1, blobtree.Ref{ID: chunk.ID{2}, Weight: n, First: first}).buf
	leaf := append([]byte{blobtree.Listing, 0}, leafRecords(all)...)
	walk := func(l *Listing, get stream.Getter) (n int64, err error) {
		for e, err := range l.entries(context.Background(), get, nil) {
			if err != nil {
				return n, err
			}
			if err := e.check(); err != nil {
				return n, err
			}
			if n++; n == 10_000 {
				return n, errors.New("enough")
			}
		}
		return n, nil
	}
	if got, err := walk(&Listing{n, 2, root}, cannedTree{leaf, inner}); got != n || err != nil {
		f.Fatal(got, err)
	}
	f.Add(n, byte(2), root, inner, leaf)
	f.Add(n, byte(1), bytes.Clone(inner[headerBytes:]), inner, leaf)
	f.Fuzz(func(t *testing.T, entries int64, depth byte, root, inner, leaf []byte) {
		l := &Listing{entries, int(depth), root}
		if l.check() != nil {
			return
		}
		if got, err := walk(l, cannedTree{leaf, inner}); err == nil && got != entries {
			t.Errorf("%d entries of %d, and no error", got, entries)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	data, err := sampleManifest().Encode()
	if err != nil {
		f.Fatal(err)
	}
	fuzzing.Seed(f, func(b []byte) error { _, err := ParseManifest(b); return err }, data)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m *Manifest
		var err error
		// "{}" and a comma are a whole SecretFile, and appending them one by one doubles it.
		fuzzing.Bound(t, 200*len(data), func() { m, err = ParseManifest(data) })
		if err != nil {
			return
		}
		text, err := m.Encode()
		if err != nil {
			t.Fatalf("parsed and not encoded: %v", err)
		}
		again, err := ParseManifest(text)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, text) {
			t.Errorf("%s\n%s\n%v", text, twice, err)
		}
	})
}
