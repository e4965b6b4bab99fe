// Package blobtree writes and reads the trees of blobs that recipes and listings are. Package stream's documentation has their encoding.
package blobtree

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"permafrost/chunk"
	"permafrost/internal/wire"
	"permafrost/source"
)

// The kinds of meta blob: the first byte of each. The second is the level, 0 for a leaf.
const (
	Recipe  = 'R'
	Listing = 'L'
)

const (
	header = 2 // bytes: kind and level

	// A node is closed behind a record whose hash says so, one of cutEvery, so that an unchanged run of records
	// makes the same blobs again. minRecords below a cut make each level at least that much shorter than the one
	// below, whatever the hashes are; the maxima bound what a run without a cut makes.
	cutEvery   = 512
	minRecords = 32
	MaxRecords = 4096
	MaxNode    = 256 << 10 // bytes at which a node is closed

	MaxDepth    = 8
	maxRootRefs = 32
	MaxRoot     = 1 << 20 // bytes of a root as a manifest holds it
)

// A Getter returns a stored blob's content, verified.
type Getter interface {
	Blob(ctx context.Context, id chunk.ID) ([]byte, error)
}

// cuts reports whether a node ends behind a record of this hash.
func cuts(hash []byte) bool {
	return binary.LittleEndian.Uint64(hash)%cutEvery == 0
}

// A Ref is a record of an inner node: one blob of the level below.
type Ref struct {
	ID     chunk.ID
	Weight int64  // below it: bytes of a stream, entries of a listing
	First  string // below it: the first entry's path; empty in a recipe
}

// A Node collects the records of one blob. Its zero value is empty.
type Node struct {
	Buf    []byte // header and records
	N      int    // records
	Weight int64
	First  string
	last   string // first of the newest ref
}

// Records returns what the node holds behind its header.
func (n *Node) Records() []byte { return n.Buf[header:] }

// Reset empties the node for blobs of a kind and level.
func (n *Node) Reset(kind byte, level int) {
	n.Buf = append(n.Buf[:0], kind, byte(level))
	n.N, n.Weight, n.First, n.last = 0, 0, "", ""
}

// addRef appends r.
func (n *Node) addRef(r Ref) {
	if n.N == 0 {
		n.First = r.First
	}
	n.Buf = append(n.Buf, r.ID[:]...)
	n.Buf = binary.AppendUvarint(n.Buf, uint64(r.Weight))
	n.Buf = AppendSuffix(n.Buf, n.last, r.First)
	n.last = r.First
	n.Weight += r.Weight
	n.N++
}

// A Writer stacks inner nodes over the leaves that it is told of, until what is left fits into a root.
type Writer struct {
	Kind   byte
	Put    func(data []byte) (chunk.ID, error)
	levels []*Node // levels[i] is the open node of level i+1
	closed []bool  // whether a node of that level was stored already
}

// Empty reports whether no leaf was added.
func (t *Writer) Empty() bool { return len(t.levels) == 0 }

// Add takes a blob of level-1 into the open node of that level.
func (t *Writer) Add(level int, r Ref) error {
	if level > MaxDepth {
		return errors.New("tree is too deep")
	}
	if level > len(t.levels) {
		n := new(Node)
		n.Reset(t.Kind, level)
		t.levels = append(t.levels, n)
		t.closed = append(t.closed, false)
	}
	n := t.levels[level-1]
	n.addRef(r)
	if n.N >= minRecords && cuts(r.ID[:]) || n.N >= MaxRecords || len(n.Buf) >= MaxNode {
		return t.close(level)
	}
	return nil
}

// close stores the open node of a level.
func (t *Writer) close(level int) error {
	n := t.levels[level-1]
	id, err := t.Put(n.Buf)
	if err != nil {
		return err
	}
	t.closed[level-1] = true
	r := Ref{id, n.Weight, n.First}
	n.Reset(t.Kind, level)
	return t.Add(level+1, r)
}

// Finish returns the root's records and their level. Without any leaf both are zero.
func (t *Writer) Finish() (depth int, root []byte, err error) {
	for i := 0; i < len(t.levels); i++ {
		n := t.levels[i]
		if !t.closed[i] && n.N <= maxRootRefs && len(n.Buf) <= MaxRoot {
			return i + 1, bytes.Clone(n.Records()), nil
		}
		if n.N > 0 {
			if err := t.close(i + 1); err != nil {
				return 0, nil, err
			}
		}
	}
	return 0, nil, nil
}

// AppendSuffix encodes s by what differs from prev: the length of the common prefix, and the rest.
func AppendSuffix(b []byte, prev, s string) []byte {
	n := commonPrefix(prev, s)
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(len(s)-n))
	return append(b, s[n:]...)
}

// ReadSuffix reads what AppendSuffix wrote, and nothing that it would have written otherwise.
func ReadSuffix(r *wire.Reader, prev string, max int) string {
	n := int(r.Uvarint(uint64(len(prev))))
	rest := r.Bytes(r.Count(max-min(n, max), 1))
	if r.Err() == nil && len(rest) > 0 && n < len(prev) && prev[n] == rest[0] {
		r.Fail(errors.New("common prefix is not the longest"))
	}
	if r.Err() != nil {
		return ""
	}
	return prev[:n] + string(rest)
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// ReadRefs reads an inner node's records.
func ReadRefs(records []byte, kind byte) ([]Ref, error) {
	r := wire.NewReader(records)
	refs := make([]Ref, 0, min(len(records)/(chunk.Size+3), MaxRecords))
	prev := ""
	for r.Len() > 0 && r.Err() == nil {
		if len(refs) == MaxRecords {
			return nil, errors.New("too many records")
		}
		var x Ref
		copy(x.ID[:], r.Bytes(chunk.Size))
		x.Weight = int64(r.Uvarint(MaxWeight))
		x.First = ReadSuffix(r, prev, MaxPath)
		switch {
		case r.Err() != nil:
		case x.Weight == 0:
			r.Fail(errors.New("empty branch"))
		case (kind == Listing) != (x.First != ""):
			r.Fail(errors.New("path where none belongs, or none"))
		case prev != "" && source.ComparePaths(prev, x.First) >= 0:
			r.Fail(errors.New("paths are not in order"))
		}
		prev = x.First
		refs = append(refs, x)
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	if len(refs) == 0 {
		return nil, errors.New("no records")
	}
	return refs, nil
}

const (
	// MaxWeight bounds the bytes of a stream and the entries of a listing, so that sums of two never overflow.
	MaxWeight = 1 << 61

	MaxPath = 16 << 10 // bytes of a path
)

// A Reader walks down from a root to the leaves. It holds one decoded node a level.
type Reader struct {
	Kind byte
	Get  Getter
	// enter is asked before a blob is fetched and may keep the walk from it. What is left out is not checked.
	// next is the path at which the branch ends, "" where that is not known.
	Enter func(r Ref, level int, next string) bool
	// leaf receives each leaf's records with the ref that led there, and ends the walk by false.
	Leaf func(r Ref, records []byte) (bool, error)
	// leave, unless nil, hears of each branch that was walked to its end.
	Leave func(r Ref, level int)
}

// Walk reads the tree of a root. Its weight and that of each branch must be what the refs above say.
func (t *Reader) Walk(ctx context.Context, depth int, root []byte, weight int64) error {
	if depth < 1 || depth > MaxDepth || len(root) > MaxRoot {
		return fmt.Errorf("root of depth %d and %d bytes", depth, len(root))
	}
	_, err := t.node(ctx, depth, root, weight, "", "")
	return err
}

// node walks the branches of a node's records; first is what the ref to it says, "" for the root. The branches of a listing
// lie before end, so that none is named twice: else a few blobs that name each other would take for ever.
func (t *Reader) node(ctx context.Context, level int, records []byte, weight int64, first, end string) (bool, error) {
	refs, err := ReadRefs(records, t.Kind)
	if err != nil {
		return false, err
	}
	sum := int64(0)
	for _, r := range refs {
		if sum += r.Weight; sum > weight {
			break
		}
	}
	if sum != weight || first != "" && refs[0].First != first || end != "" && source.ComparePaths(refs[len(refs)-1].First, end) >= 0 {
		return false, errors.New("branch is not what the node above says")
	}
	for i, r := range refs {
		next := end
		if i+1 < len(refs) {
			next = refs[i+1].First
		}
		if t.Enter != nil && !t.Enter(r, level-1, next) {
			continue
		}
		if goOn, err := t.branch(ctx, level-1, r, next); err != nil || !goOn {
			return false, err
		}
	}
	return true, nil
}

// branch fetches the blob of a ref and walks what is below.
func (t *Reader) branch(ctx context.Context, level int, r Ref, end string) (bool, error) {
	if ctx.Err() != nil { // what is in memory is read without a look at it, and a small tree may name it without end
		return false, context.Cause(ctx)
	}
	data, err := t.Get.Blob(ctx, r.ID)
	if err != nil {
		return false, err
	}
	if len(data) < header || data[0] != t.Kind || int(data[1]) != level || len(data) > MaxNodeBlob {
		return false, fmt.Errorf("blob %v is not a node of kind %c and level %d", r.ID, t.Kind, level)
	}
	goOn := false
	if level == 0 {
		goOn, err = t.Leaf(r, data[header:])
	} else {
		goOn, err = t.node(ctx, level, data[header:], r.Weight, r.First, end)
	}
	if err != nil {
		return false, fmt.Errorf("in blob %v: %w", r.ID, err)
	}
	if goOn && t.Leave != nil {
		t.Leave(r, level)
	}
	return goOn, nil
}

// MaxNodeBlob bounds a meta blob: a node or leaf that has not reached its maximum, and one record more.
const MaxNodeBlob = 1 << 20
