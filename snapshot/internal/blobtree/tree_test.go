package blobtree

import (
	"bytes"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/source"
)

// FuzzNode reads inner nodes of both kinds.
func FuzzNode(f *testing.F) {
	var listing, recipe Node
	for i, path := range []string{"a", "a/b", "a/b/c", "b\xff", "z"} {
		listing.addRef(Ref{chunk.ID{byte(i)}, int64(1 + i<<10), path})
		recipe.addRef(Ref{chunk.ID{byte(i)}, int64(1 + i<<30), ""})
	}
	for kind, records := range map[byte][]byte{Listing: listing.Buf, Recipe: recipe.Buf} {
		if refs, err := ReadRefs(records, kind); err != nil || len(refs) != 5 {
			f.Fatal(refs, err)
		}
		f.Add(records, kind == Listing)
	}
	f.Fuzz(func(t *testing.T, records []byte, ofListing bool) {
		kind := byte(Recipe)
		if ofListing {
			kind = Listing
		}
		var refs []Ref
		var err error
		fuzzing.Bound(t, len(records)/chunk.Size*MaxPath+8*len(records), func() { refs, err = ReadRefs(records, kind) })
		if err != nil {
			return
		}
		var n Node
		for _, r := range refs {
			n.addRef(r)
		}
		if !bytes.Equal(n.Buf, records) {
			t.Errorf("%x\n is read and written as\n%x", records, n.Buf)
		}
		if !slices.IsSortedFunc(refs, func(a, b Ref) int { return source.ComparePaths(a.First, b.First) }) {
			t.Error("paths are not in order")
		}
	})
}
