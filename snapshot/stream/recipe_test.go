package stream

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/snapshot/internal/blobtree"
)

func randomChunks(seed uint64, n int) []Chunk {
	r := rand.New(rand.NewPCG(seed, 2))
	cs := make([]Chunk, n)
	for i := range cs {
		c := &cs[i]
		switch r.IntN(10) {
		case 0:
			c.Length = 1 + r.Int64N(1<<40)
		case 1:
			for range 1 + r.IntN(MaxExtents) {
				x := Extent{Blob: snaptest.RandomID(r), Offset: r.IntN(1 << 17), Length: 1 + r.IntN(1<<10)}
				c.Length += int64(x.Length)
				c.Extents = append(c.Extents, x)
			}
			c.ID = snaptest.RandomID(r)
		default:
			c.Length = 1 + r.Int64N(chunk.MaxSize)
			c.ID = snaptest.RandomID(r)
		}
	}
	return cs
}

func writeRecipe(t testing.TB, m snaptest.Blobs, cs []Chunk) Recipe {
	t.Helper()
	w := NewWriter(m.Put, InManifest)
	for i := range cs {
		if err := w.Add(&cs[i]); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecipeRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 5, 32, 33, 500, 5000, 60000} {
		m := snaptest.Blobs{}
		cs := randomChunks(uint64(n), n)
		r := writeRecipe(t, m, cs)
		if err := r.Check(); err != nil {
			t.Fatalf("%d chunks: %v", n, err)
		}
		if n <= 1 && r.Depth != 0 || n > 32 && r.Depth == 0 || r.Depth > 3 || len(r.Root) > 4<<10 {
			t.Errorf("%d chunks: depth %d, root of %d bytes", n, r.Depth, len(r.Root))
		}
		i := 0
		for c, err := range r.Chunks(t.Context(), m) {
			if err != nil {
				t.Fatalf("%d chunks: %v", n, err)
			}
			if !reflect.DeepEqual(c, cs[i]) {
				t.Fatalf("chunk %d of %d: %+v, want %+v", i, n, c, cs[i])
			}
			i++
		}
		if i != n {
			t.Errorf("%d chunks of %d", i, n)
		}
	}
}

// However the hashes fall each level is shorter than the one below.
func TestRecipeOfOneChunkRepeated(t *testing.T) {
	for _, id := range []chunk.ID{{8: 1}, {1}} { // the first asks for a cut behind every record
		m := snaptest.Blobs{}
		cs := slices.Repeat([]Chunk{{Length: 100, ID: id}}, 200_000)
		r := writeRecipe(t, m, cs)
		n := 0
		for _, err := range r.Chunks(t.Context(), m) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(cs) || r.Depth > 3 {
			t.Errorf("%d chunks, depth %d", n, r.Depth)
		}
	}
}

// Even where every blob's ID asks for a cut.
func TestTreeIsShallow(t *testing.T) {
	m := snaptest.Blobs{}
	put := func(data []byte) (chunk.ID, error) {
		id := chunk.ID{8: byte(len(m)), 9: byte(len(m) >> 8), 10: byte(len(m) >> 16), 11: 1}
		m[id] = bytes.Clone(data)
		return id, nil
	}
	w := NewWriter(put, 0)
	for range 200_000 {
		if err := w.Add(&Chunk{Length: 1, ID: chunk.ID{8: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.Finish()
	if err != nil || r.Depth > 4 {
		t.Fatalf("depth %d, %v", r.Depth, err)
	}
	n := 0
	for _, err := range r.Chunks(t.Context(), m) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 200_000 {
		t.Errorf("%d chunks", n)
	}
}

func TestRecipeUnchangedRegions(t *testing.T) {
	cs := randomChunks(1, 20000)
	before := snaptest.Blobs{}
	writeRecipe(t, before, cs)
	if len(before) < 20 {
		t.Fatalf("only %d blobs", len(before))
	}
	for _, at := range []int{0, 4321, 19999} {
		for name, changed := range map[string][]Chunk{
			"removed": slices.Delete(slices.Clone(cs), at, at+1), "inserted": slices.Insert(slices.Clone(cs), at, Chunk{Length: 1, ID: chunk.ID{1}}),
		} {
			after := snaptest.Blobs{}
			writeRecipe(t, after, changed)
			if n := after.Missing(before); n > 3 {
				t.Errorf("chunk %d %s: %d new blobs of %d", at, name, n, len(after))
			}
		}
	}
}

// Mangled blobs are errors, or chunks that encode to what was read and are as long as the node above says.
func TestRecipeMangled(t *testing.T) {
	var good []byte
	size := int64(0)
	for _, c := range randomChunks(3, 12) {
		good = appendChunk(good, &c)
		size += c.Length
	}
	for i := range good {
		if EachChunk(good[:i], size, func(Chunk) bool { return true }) == nil {
			t.Errorf("cut to %d bytes: no error", i)
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			checkChunks(t, bad, size)
		}
	}
}

func checkChunks(t *testing.T, records []byte, size int64) {
	var back []byte
	err := EachChunk(records, size, func(c Chunk) bool {
		back = appendChunk(back, &c)
		return true
	})
	if err == nil && !bytes.Equal(back, records) {
		t.Errorf("%x\n is read and written as\n%x", records, back)
	}
}

// Every blob of a tree is checked: each flipped byte of an inner node and each exchanged blob is noticed, or
// changes only what the blobs' own IDs protect.
func TestTreeNoticesWrongBlobs(t *testing.T) {
	m := snaptest.Blobs{}
	r := writeRecipe(t, m, randomChunks(5, 50_000))
	if r.Depth < 2 {
		t.Fatalf("depth %d", r.Depth)
	}
	ids := m.Sorted()
	for i, id := range ids[:20] {
		for name, bad := range map[string][]byte{
			"another blob": m[ids[i+1]], "nothing": nil, "header": m[id][:1], "cut": m[id][:len(m[id])-1], "longer": append(bytes.Clone(m[id]), 0),
		} {
			broken := snaptest.Blobs{}
			for k, v := range m {
				broken[k] = v
			}
			broken[id] = bad
			var err error
			for _, err = range r.Chunks(t.Context(), broken) {
			}
			if err == nil {
				t.Errorf("blob %d replaced by %s: no error", i, name)
			}
		}
	}
}

// A node that stands for another one of its level is noticed, though all below it is in order.
func TestTreeNoticesExchangedNodes(t *testing.T) {
	m := snaptest.Blobs{}
	r := writeRecipe(t, m, randomChunks(6, 60_000))
	refs, err := blobtree.ReadRefs(r.Root, blobtree.Recipe)
	if err != nil || r.Depth != 2 || len(refs) < 2 {
		t.Fatalf("depth %d, %d refs, %v", r.Depth, len(refs), err)
	}
	a, b := refs[0], refs[1]
	m[a.ID], m[b.ID] = m[b.ID], m[a.ID]
	var visited int
	tr := blobtree.Reader{Kind: blobtree.Recipe, Get: m, Enter: func(_ blobtree.Ref, level int, _ string) bool { visited++; return level > 0 }}
	if err := tr.Walk(t.Context(), r.Depth, r.Root, r.Size); err == nil {
		t.Errorf("%d nodes visited, no error", visited)
	}
}
