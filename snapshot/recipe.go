package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"permafrost/chunk"
	"permafrost/internal/wire"
)

const (
	maxExtents = 512 // of one chunk: with 128 a month of dumps stores two fifths more

	// rootExtents is how many extents a recipe holds without a blob of its own: in a manifest, and in a
	// listing's entry.
	rootExtents  = 32
	entryExtents = 16

	// A leaf is closed behind a chunk whose ID says so, one of chunksEvery, but not before it has chunksMin. It is far smaller
	// than an inner node, since what a night changes of a dump is scattered, and every leaf that it touches is stored anew.
	chunksEvery = 16
	chunksMin   = 8
)

// An Extent is a part of a blob.
type Extent struct {
	Blob   chunk.ID
	Offset int // bytes into the blob
	Length int // bytes
}

// A Chunk is a run of a byte stream: a hole where ID is zero, else a whole blob named ID where it has no
// extents, else the extents one behind the other, whose bytes together hash to ID.
type Chunk struct {
	Length  int64 // bytes; at most chunk.MaxSize unless a hole
	ID      chunk.ID
	Extents []Extent
}

// Hole reports whether the chunk is a hole, which reads as zeros.
func (c *Chunk) Hole() bool { return c.ID.IsZero() }

// A Recipe says how a byte stream is put together from blobs. With Depth 0 its Root is the stream's chunk
// records themselves, else records of inner nodes Depth levels above them. Package snapshot's documentation
// has the encoding.
type Recipe struct {
	Size  int64  `json:"size"` // bytes of the stream
	Depth int    `json:"depth,omitempty"`
	Root  []byte `json:"root,omitempty"`
}

// The kinds of chunk record: the low bits of its first number.
const (
	recordBlob    = 0
	recordExtents = 1
	recordHole    = 2
)

// wholeBlob returns the recipe of a stream that is one blob.
func wholeBlob(id chunk.ID, size int64) Recipe {
	return Recipe{Size: size, Root: appendChunk(make([]byte, 0, 5+chunk.Size), &Chunk{Length: size, ID: id})}
}

// blob returns the blob that the whole stream is, if it is one.
func (r *Recipe) blob() (chunk.ID, bool) {
	if r.Depth != 0 || r.Size == 0 || len(r.Root) > binary.MaxVarintLen64+chunk.Size {
		return chunk.ID{}, false
	}
	c := readChunk(wire.NewReader(r.Root))
	return c.ID, c.Length == r.Size && !c.Hole() && c.Extents == nil
}

// appendChunk encodes a chunk record.
func appendChunk(b []byte, c *Chunk) []byte {
	head := uint64(c.Length) << 2 // recordBlob
	switch {
	case c.Hole():
		return binary.AppendUvarint(b, head|recordHole)
	case c.Extents == nil:
		return append(binary.AppendUvarint(b, head), c.ID[:]...)
	}
	b = binary.AppendUvarint(b, head|recordExtents)
	b = binary.AppendUvarint(b, uint64(len(c.Extents)))
	for _, x := range c.Extents {
		b = append(b, x.Blob[:]...)
		b = binary.AppendUvarint(b, uint64(x.Offset))
		b = binary.AppendUvarint(b, uint64(x.Length))
	}
	return append(b, c.ID[:]...)
}

// readChunk reads a chunk record. After an error the Reader has it and the chunk means nothing.
func readChunk(r *wire.Reader) Chunk {
	head := r.Uvarint(maxWeight<<2 | 3)
	c := Chunk{Length: int64(head >> 2)}
	switch head & 3 {
	case recordHole:
	case recordBlob:
		copy(c.ID[:], r.Bytes(chunk.Size))
	case recordExtents:
		c.Extents = readExtents(r, c.Length)
		copy(c.ID[:], r.Bytes(chunk.Size))
	default:
		r.Fail(errors.New("unknown kind of chunk"))
	}
	hole := head&3 == recordHole
	switch {
	case r.Err() != nil:
	case c.Length == 0:
		r.Fail(errors.New("empty chunk"))
	case !hole && c.Length > chunk.MaxSize:
		r.Fail(fmt.Errorf("chunk of %d bytes", c.Length))
	case !hole && c.ID.IsZero():
		r.Fail(errors.New("chunk without an ID"))
	}
	return c
}

// readExtents reads the extents of a chunk of length bytes.
func readExtents(r *wire.Reader, length int64) []Extent {
	xs := make([]Extent, r.Count(maxExtents, chunk.Size+2))
	sum := int64(0)
	for i := range xs {
		x := &xs[i]
		copy(x.Blob[:], r.Bytes(chunk.Size))
		x.Offset = int(r.Uvarint(chunk.MaxSize - 1))
		x.Length = int(r.Uvarint(chunk.MaxSize))
		if x.Length == 0 || x.Offset+x.Length > chunk.MaxSize || x.Blob.IsZero() {
			r.Fail(errors.New("impossible extent"))
		}
		sum += int64(x.Length)
	}
	if sum != length {
		r.Fail(fmt.Errorf("extents of %d bytes make a chunk of %d", sum, length))
	}
	return xs
}

// A recipeWriter makes a recipe from a stream's chunks. After an error every call fails.
type recipeWriter struct {
	tree    treeWriter
	leaf    node
	extents int // in the open leaf
	size    int64
	inline  int // extents that the root may hold
	err     error
}

// newRecipeWriter returns a recipeWriter that stores recipe blobs by put, and none for a stream of at most
// inline extents.
func newRecipeWriter(put sink, inline int) *recipeWriter {
	w := &recipeWriter{tree: treeWriter{kind: kindRecipe, put: put}, inline: inline}
	w.leaf.reset(kindRecipe, 0)
	return w
}

// add appends a chunk to the stream.
func (w *recipeWriter) add(c *Chunk) error {
	if w.err != nil {
		return w.err
	}
	w.leaf.buf = appendChunk(w.leaf.buf, c)
	w.leaf.n++
	w.leaf.weight += c.Length
	w.size += c.Length
	w.extents += max(1, len(c.Extents))
	if l := &w.leaf; l.n >= chunksMin && !c.Hole() && binary.LittleEndian.Uint64(c.ID[:])%chunksEvery == 0 || l.n >= maxRecords || len(l.buf) >= maxNode {
		w.err = w.close()
	}
	return w.err
}

// close stores the open leaf.
func (w *recipeWriter) close() error {
	id, err := w.tree.put(w.leaf.buf)
	if err != nil {
		return err
	}
	r := ref{id: id, weight: w.leaf.weight}
	w.leaf.reset(kindRecipe, 0)
	w.extents = 0
	return w.tree.add(1, r)
}

// finish returns the recipe. The writer can't be used further.
func (w *recipeWriter) finish() (Recipe, error) {
	if w.err != nil {
		return Recipe{}, w.err
	}
	w.err = errors.New("recipe is finished")
	if len(w.tree.levels) == 0 && w.extents <= w.inline {
		return Recipe{Size: w.size, Root: w.leaf.buf[nodeHeader:]}, nil
	}
	if w.leaf.n > 0 {
		if err := w.close(); err != nil {
			return Recipe{}, err
		}
	}
	depth, root, err := w.tree.finish()
	return Recipe{Size: w.size, Depth: depth, Root: root}, err
}

// check returns an error unless the recipe's own part is well-formed; blobs are not looked at.
func (r *Recipe) check() error {
	switch {
	case r.Size < 0 || r.Size > maxWeight || r.Depth < 0 || r.Depth > maxDepth || len(r.Root) > maxRoot:
		return errors.New("recipe: impossible size or depth")
	case r.Depth == 0:
		return eachChunk(r.Root, r.Size, func(Chunk) bool { return true })
	}
	refs, err := readRefs(r.Root, kindRecipe)
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	sum := int64(0)
	for _, x := range refs {
		sum = min(sum+x.weight, maxWeight+1)
	}
	if sum != r.Size {
		return fmt.Errorf("recipe: branches of %d bytes make a stream of %d", sum, r.Size)
	}
	return nil
}

// eachChunk calls f for the chunks of a leaf's records until it returns false. They must be size bytes long.
func eachChunk(records []byte, size int64, f func(Chunk) bool) error {
	r := wire.NewReader(records)
	sum := int64(0)
	for r.Len() > 0 {
		c := readChunk(r)
		if r.Err() != nil {
			break
		}
		if sum += c.Length; sum > size {
			break
		}
		if !f(c) {
			return nil
		}
	}
	if r.Err() != nil {
		return fmt.Errorf("recipe: %w", r.Err())
	}
	if sum != size {
		return fmt.Errorf("recipe: chunks of %d bytes make a stream of %d", sum, size)
	}
	return nil
}

// chunks yields the stream's chunks in order, and an error as the last of them. It holds one blob a level.
func (r *Recipe) chunks(ctx context.Context, get BlobGetter) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		stopped := false
		each := func(c Chunk) bool {
			stopped = !yield(c, nil)
			return !stopped
		}
		var err error
		if r.Depth == 0 {
			err = eachChunk(r.Root, r.Size, each)
		} else {
			t := treeReader{kind: kindRecipe, get: get, leaf: func(x ref, records []byte) (bool, error) {
				err := eachChunk(records, x.weight, each)
				return !stopped, err
			}}
			err = t.walk(ctx, r.Depth, r.Root, r.Size)
		}
		if err != nil && !stopped {
			yield(Chunk{}, err)
		}
	}
}
