package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"permafrost/chunk"
	"permafrost/internal/wire"
	"permafrost/snapshot/internal/blobtree"
)

// MaxExtents is how many extents a chunk may have: with 128 a month of dumps stores two fifths more.
const MaxExtents = 512

// MaxSize is how many bytes a stream may have, so that sums of two never overflow. All media together have no more.
const MaxSize = blobtree.MaxWeight

// InManifest and InListing are how many extents a recipe has at most that needs no blob of its own: a recipe of a manifest, and one of
// an entry of a listing. A chunk without extents counts as one.
const (
	InManifest = 32
	InListing  = 16
)

const (
	// A leaf is closed behind a chunk whose ID says so, one of chunksEvery, but not before it has chunksMin. It is far smaller
	// than an inner node, since what a night changes of a dump is scattered, and every leaf that it touches is stored anew.
	chunksEvery = 16
	chunksMin   = 8
)

// A Getter returns a stored blob's content, verified: a repo.Reader does. The bytes are not the caller's to change.
type Getter interface {
	Blob(ctx context.Context, id chunk.ID) ([]byte, error)
}

// An Extent is a part of a blob.
type Extent struct {
	Blob   chunk.ID
	Offset int // bytes into the blob
	Length int // bytes, not 0
}

// A Chunk is a run of a byte stream: a hole where ID is zero, else a whole blob named ID where it has no
// extents, else the extents one behind the other, whose bytes together hash to ID.
type Chunk struct {
	Length  int64 // bytes, not 0; at most chunk.MaxSize unless a hole
	ID      chunk.ID
	Extents []Extent // at most MaxExtents
}

// Hole reports whether the chunk is a hole, which reads as zeros.
func (c *Chunk) Hole() bool { return c.ID.IsZero() }

// A Recipe says how a byte stream is put together from blobs. With Depth 0 its Root is the stream's chunk records themselves, else
// records of inner nodes Depth levels above them. The package's documentation has the encoding. What was read from somewhere is
// to be checked before it is used.
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

// Whole returns the recipe of a stream that is one blob of size bytes, 1 to chunk.MaxSize.
func Whole(id chunk.ID, size int64) Recipe {
	return Recipe{Size: size, Root: appendChunk(make([]byte, 0, 5+chunk.Size), &Chunk{Length: size, ID: id})}
}

// Blob returns the blob that the whole stream is, if it is one.
func (r *Recipe) Blob() (chunk.ID, bool) {
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
	head := r.Uvarint(blobtree.MaxWeight<<2 | 3)
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
	xs := make([]Extent, r.Count(MaxExtents, chunk.Size+2))
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

// A Writer makes a recipe from a stream's chunks. After an error every call fails. It is for one goroutine.
type Writer struct {
	tree    blobtree.Writer
	leaf    blobtree.Node
	extents int // in the open leaf
	size    int64
	inline  int // extents that the root may hold
	err     error
}

// NewWriter returns a Writer that stores the recipe's blobs by put, which returns their IDs and must not keep the data; and none for a
// stream of at most inline extents: InManifest or InListing.
func NewWriter(put func(data []byte) (chunk.ID, error), inline int) *Writer {
	w := &Writer{tree: blobtree.Writer{Kind: blobtree.Recipe, Put: put}, inline: inline}
	w.leaf.Reset(blobtree.Recipe, 0)
	return w
}

// Size returns the bytes of the stream so far.
func (w *Writer) Size() int64 { return w.size }

// Add appends a chunk to the stream. It does not keep c. An error is one of put.
func (w *Writer) Add(c *Chunk) error {
	if w.err != nil {
		return w.err
	}
	w.leaf.Buf = appendChunk(w.leaf.Buf, c)
	w.leaf.N++
	w.leaf.Weight += c.Length
	w.size += c.Length
	w.extents += max(1, len(c.Extents))
	if l := &w.leaf; l.N >= chunksMin && !c.Hole() && binary.LittleEndian.Uint64(c.ID[:])%chunksEvery == 0 || l.N >= blobtree.MaxRecords || len(l.Buf) >= blobtree.MaxNode {
		w.err = w.close()
	}
	return w.err
}

// close stores the open leaf.
func (w *Writer) close() error {
	id, err := w.tree.Put(w.leaf.Buf)
	if err != nil {
		return err
	}
	r := blobtree.Ref{ID: id, Weight: w.leaf.Weight}
	w.leaf.Reset(blobtree.Recipe, 0)
	w.extents = 0
	return w.tree.Add(1, r)
}

// Finish returns the recipe of all that was added. The Writer can't be used further.
func (w *Writer) Finish() (Recipe, error) {
	if w.err != nil {
		return Recipe{}, w.err
	}
	w.err = errors.New("recipe is finished")
	if w.tree.Empty() && w.extents <= w.inline {
		return Recipe{Size: w.size, Root: w.leaf.Records()}, nil
	}
	if w.leaf.N > 0 {
		if err := w.close(); err != nil {
			return Recipe{}, err
		}
	}
	depth, root, err := w.tree.Finish()
	return Recipe{Size: w.size, Depth: depth, Root: root}, err
}

// Check returns an error unless the recipe is well-formed as far as it holds itself; blobs are not looked at.
func (r *Recipe) Check() error {
	switch {
	case r.Size < 0 || r.Size > blobtree.MaxWeight || r.Depth < 0 || r.Depth > blobtree.MaxDepth || len(r.Root) > blobtree.MaxRoot:
		return errors.New("recipe: impossible size or depth")
	case r.Depth == 0:
		return EachChunk(r.Root, r.Size, func(Chunk) bool { return true })
	}
	refs, err := blobtree.ReadRefs(r.Root, blobtree.Recipe)
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	sum := int64(0)
	for _, x := range refs {
		sum = min(sum+x.Weight, blobtree.MaxWeight+1)
	}
	if sum != r.Size {
		return fmt.Errorf("recipe: branches of %d bytes make a stream of %d", sum, r.Size)
	}
	return nil
}

// EachChunk calls f for the chunks of a leaf's records until it returns false, for whoever walks a recipe's blobs. The chunks must be
// size bytes long together: else there is an error, when f has seen what came before.
func EachChunk(records []byte, size int64, f func(Chunk) bool) error {
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

// Chunks yields the stream's chunks in order, and an error as the last of them. It holds one blob a level.
func (r *Recipe) Chunks(ctx context.Context, get Getter) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		stopped := false
		each := func(c Chunk) bool {
			stopped = !yield(c, nil)
			return !stopped
		}
		var err error
		if r.Depth == 0 {
			err = EachChunk(r.Root, r.Size, each)
		} else {
			t := blobtree.Reader{Kind: blobtree.Recipe, Get: get, Leaf: func(x blobtree.Ref, records []byte) (bool, error) {
				err := EachChunk(records, x.Weight, each)
				return !stopped, err
			}}
			err = t.Walk(ctx, r.Depth, r.Root, r.Size)
		}
		if err != nil && !stopped {
			yield(Chunk{}, err)
		}
	}
}
