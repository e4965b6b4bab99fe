package stream

import (
	"testing"

	"permafrost/internal/fuzzing"
	"permafrost/internal/wire"
	"permafrost/snapshot/internal/blobtree"
)

func FuzzRecipe(f *testing.F) {
	var records []byte
	size := int64(0)
	for _, c := range randomChunks(4, 5) {
		records = appendChunk(records, &c)
		size += c.Length
	}
	read := func(records []byte, size int64) error {
		return EachChunk(records, size, func(Chunk) bool { return true })
	}
	if err := read(records, size); err != nil {
		f.Fatal(err)
	}
	f.Add(records, size)
	f.Add([]byte{4<<2 | recordHole}, int64(4))
	f.Fuzz(func(t *testing.T, records []byte, size int64) {
		fuzzing.Bound(t, 8*len(records), func() { read(records, size) })
		checkChunks(t, records, size)
		for depth := range 3 {
			r := Recipe{Size: size, Depth: depth, Root: records}
			if r.Check() == nil && (size < 0 || len(records) > blobtree.MaxRoot) {
				t.Errorf("a recipe for %d bytes with a root of %d", size, len(records))
			}
			r.Blob()
		}
	})
}

// What lies of its length is refused before the memory is there.
func TestLyingLengthsOfChunks(t *testing.T) {
	for name, b := range map[string][]byte{
		"extents":    {4<<2 | recordExtents, 0xff, 0x03, 1},
		"attributes": {2, 'd', 0, 0, 0, 0, 0, 1, 'x', 0, 0xff, 0xff, 0x01, 1},
		"target":     {0, 'l', 0, 0, 0, 0, 0, 1, 'x', 0, 0xff, 0x1f, 1},
	} {
		fuzzing.Bound(t, 0, func() {
			recipe := wire.NewReader(b)
			if readChunk(recipe); recipe.Err() == nil {
				t.Errorf("%s: taken", name)
			}
		})
	}
}
