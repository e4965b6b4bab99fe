package snaptest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"permafrost/chunk"
	"permafrost/internal/hostile"
)

// A Recipe is one as a manifest holds it. The package's recipes are written by the page on formats, not by the code that is tested.
type Recipe struct {
	Size  int64
	Depth int
	Root  []byte
}

// An Extent is a part of a blob.
type Extent struct {
	Blob           chunk.ID
	Offset, Length int
}

// Chunk appends the record of a chunk: a hole where its ID is zero.
func Chunk(b []byte, length int64, id chunk.ID, extents ...Extent) []byte {
	switch {
	case id.IsZero():
		return binary.AppendUvarint(b, uint64(length)<<2|2)
	case extents == nil:
		return append(binary.AppendUvarint(b, uint64(length)<<2), id[:]...)
	}
	b = binary.AppendUvarint(b, uint64(length)<<2|1)
	b = binary.AppendUvarint(b, uint64(len(extents)))
	for _, x := range extents {
		b = append(b, x.Blob[:]...)
		b = binary.AppendUvarint(b, uint64(x.Offset))
		b = binary.AppendUvarint(b, uint64(x.Length))
	}
	return append(b, id[:]...)
}

// Ref appends the record of a branch of a recipe: a blob of the level below, and the bytes below that.
func Ref(b []byte, id chunk.ID, weight int64) []byte {
	b = binary.AppendUvarint(append(b, id[:]...), uint64(weight))
	return append(b, 0, 0) // no path
}

const (
	maxWeight   = 1 << 61
	maxDepth    = 8
	maxRootRefs = 32
)

// HostileRecipe returns a recipe as an attacker would write it, and stores its blobs: most are in order as far as one looks at the
// root, and many lead to much from little, since each node may name the same blob over and over.
func HostileRecipe(r *rand.Rand, m Blobs) Recipe {
	records, weight := hostileLeaf(r, m)
	depth := r.IntN(4)
	if r.IntN(8) == 0 {
		depth = r.IntN(maxDepth + 2)
	}
	for level := 0; level < depth; level++ {
		blob := append([]byte{Pick[byte](r, 'R', 'R', 'R', 'L'), byte(level)}, records...)
		if r.IntN(30) == 0 {
			blob[r.IntN(len(blob))] ^= byte(1 << r.IntN(8))
		}
		id, _ := m.Put(blob)
		records = nil
		sum := int64(0)
		for range 1 + r.IntN(Pick(r, 1, 3, maxRootRefs)) {
			if weight > maxWeight-sum {
				break
			}
			records, sum = Ref(records, id, weight), sum+weight
		}
		weight = sum
	}
	if r.IntN(20) == 0 {
		weight += Pick[int64](r, 1, -1, math.MaxInt64-weight)
	}
	return Recipe{weight, depth, records}
}

// hostileLeaf returns records of chunks, and of how many bytes.
func hostileLeaf(r *rand.Rand, m Blobs) (records []byte, weight int64) {
	put := func(data []byte) chunk.ID { id, _ := m.Put(data); return id }
	for range 1 + r.IntN(Pick(r, 1, 4, 200)) {
		data := []byte(hostile.Name(r))
		length, id := int64(len(data)), put(data)
		var extents []Extent
		switch r.IntN(8) {
		case 0:
			length, id = Pick[int64](r, 1, 1, 4096, 1<<20, 1<<50), chunk.ID{}
		case 1:
			length += Pick[int64](r, 1, -1, chunk.MaxSize)
		case 2:
			id[0]++ // is nowhere
		case 3:
			other := []byte(hostile.Name(r))
			x := Extent{put(other), r.IntN(len(other)), 1 + r.IntN(len(other))}
			length, extents = int64(x.Length), []Extent{x}
		}
		if length < 1 || length > maxWeight-weight {
			continue
		}
		records, weight = Chunk(records, length, id, extents...), weight+length
	}
	return records, weight
}

// EndlessRecipe returns a recipe that is small and leads to endlessly much: each node names the same one below it so many times.
// At its end is a leaf of so many bytes of a stream.
func EndlessRecipe(m Blobs, leaf []byte, weight int64) Recipe {
	for level := 0; ; level++ {
		id, _ := m.Put(append([]byte{'R', byte(level)}, leaf...))
		n := 1000
		if level == 4 {
			n = maxRootRefs
		}
		leaf = nil
		for range n {
			leaf = Ref(leaf, id, weight)
		}
		if weight *= int64(n); level == 4 {
			return Recipe{weight, level + 1, leaf}
		}
	}
}

// Endless is an endless recipe.
type Endless struct {
	Recipe
	Empty bool // there is nothing to write of it
}

// EndlessRecipes returns one for each kind of chunk, by a name for the case.
func EndlessRecipes(m Blobs) map[string]Endless {
	id := func(text string) chunk.ID { id, _ := m.Put([]byte(text)); return id }
	byID, hole := Chunk(nil, 1, id("x")), Chunk(nil, 1, chunk.ID{})
	parts := Chunk(nil, 2, id("yy"), Extent{Blob: id("x"), Length: 1}, Extent{Blob: id("y"), Length: 1})
	return map[string]Endless{
		"one blob":       {EndlessRecipe(m, byID, 1), false},
		"holes":          {EndlessRecipe(m, hole, 1), true},
		"parts of blobs": {EndlessRecipe(m, parts, 2), false},
		"blob and hole":  {EndlessRecipe(m, append(byID, hole...), 2), false},
	}
}

// Pick returns one of several values.
func Pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }
