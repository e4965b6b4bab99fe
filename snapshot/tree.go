package snapshot

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
	kindRecipe  = 'R'
	kindListing = 'L'
)

const (
	nodeHeader = 2 // bytes: kind and level

	// A node is closed behind a record whose hash says so, one of cutEvery, so that an unchanged run of records
	// makes the same blobs again. minRecords below a cut make each level at least that much shorter than the one
	// below, whatever the hashes are; the maxima bound what a run without a cut makes.
	cutEvery   = 512
	minRecords = 32
	maxRecords = 4096
	maxNode    = 256 << 10 // bytes at which a node is closed

	maxDepth    = 8
	maxRootRefs = 32
	maxRoot     = 1 << 20 // bytes of a root as a manifest holds it
)

// A sink stores a meta blob and returns its ID.
type sink func(data []byte) (chunk.ID, error)

// A BlobGetter returns a stored blob's content, verified: a repo.Reader does.
type BlobGetter interface {
	Blob(ctx context.Context, id chunk.ID) ([]byte, error)
}

// cuts reports whether a node ends behind a record of this hash.
func cuts(hash []byte) bool {
	return binary.LittleEndian.Uint64(hash)%cutEvery == 0
}

// A ref is a record of an inner node: one blob of the level below.
type ref struct {
	id     chunk.ID
	weight int64  // below it: bytes of a stream, entries of a listing
	first  string // below it: the first entry's path; empty in a recipe
}

// A node collects the records of one blob. Its zero value is empty.
type node struct {
	buf    []byte // header and records
	n      int    // records
	weight int64
	first  string
	last   string // first of the newest ref
}

// reset empties the node for blobs of a kind and level.
func (n *node) reset(kind byte, level int) {
	n.buf = append(n.buf[:0], kind, byte(level))
	n.n, n.weight, n.first, n.last = 0, 0, "", ""
}

// addRef appends r.
func (n *node) addRef(r ref) {
	if n.n == 0 {
		n.first = r.first
	}
	n.buf = append(n.buf, r.id[:]...)
	n.buf = binary.AppendUvarint(n.buf, uint64(r.weight))
	n.buf = appendSuffix(n.buf, n.last, r.first)
	n.last = r.first
	n.weight += r.weight
	n.n++
}

// A treeWriter stacks inner nodes over the leaves that it is told of, until what is left fits into a root.
type treeWriter struct {
	kind   byte
	put    sink
	levels []*node // levels[i] is the open node of level i+1
	closed []bool  // whether a node of that level was stored already
}

// add takes a blob of level-1 into the open node of that level.
func (t *treeWriter) add(level int, r ref) error {
	if level > maxDepth {
		return errors.New("tree is too deep")
	}
	if level > len(t.levels) {
		n := new(node)
		n.reset(t.kind, level)
		t.levels = append(t.levels, n)
		t.closed = append(t.closed, false)
	}
	n := t.levels[level-1]
	n.addRef(r)
	if n.n >= minRecords && cuts(r.id[:]) || n.n >= maxRecords || len(n.buf) >= maxNode {
		return t.close(level)
	}
	return nil
}

// close stores the open node of a level.
func (t *treeWriter) close(level int) error {
	n := t.levels[level-1]
	id, err := t.put(n.buf)
	if err != nil {
		return err
	}
	t.closed[level-1] = true
	r := ref{id, n.weight, n.first}
	n.reset(t.kind, level)
	return t.add(level+1, r)
}

// finish returns the root's records and their level. Without any leaf both are zero.
func (t *treeWriter) finish() (depth int, root []byte, err error) {
	for i := 0; i < len(t.levels); i++ {
		n := t.levels[i]
		if !t.closed[i] && n.n <= maxRootRefs && len(n.buf) <= maxRoot {
			return i + 1, bytes.Clone(n.buf[nodeHeader:]), nil
		}
		if n.n > 0 {
			if err := t.close(i + 1); err != nil {
				return 0, nil, err
			}
		}
	}
	return 0, nil, nil
}

// appendSuffix encodes s by what differs from prev: the length of the common prefix, and the rest.
func appendSuffix(b []byte, prev, s string) []byte {
	n := commonPrefix(prev, s)
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(len(s)-n))
	return append(b, s[n:]...)
}

// readSuffix reads what appendSuffix wrote, and nothing that it would have written otherwise.
func readSuffix(r *wire.Reader, prev string, max int) string {
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

// readRefs reads an inner node's records.
func readRefs(records []byte, kind byte) ([]ref, error) {
	r := wire.NewReader(records)
	refs := make([]ref, 0, min(len(records)/(chunk.Size+3), maxRecords))
	prev := ""
	for r.Len() > 0 && r.Err() == nil {
		if len(refs) == maxRecords {
			return nil, errors.New("too many records")
		}
		var x ref
		copy(x.id[:], r.Bytes(chunk.Size))
		x.weight = int64(r.Uvarint(maxWeight))
		x.first = readSuffix(r, prev, maxPath)
		switch {
		case r.Err() != nil:
		case x.weight == 0:
			r.Fail(errors.New("empty branch"))
		case (kind == kindListing) != (x.first != ""):
			r.Fail(errors.New("path where none belongs, or none"))
		case prev != "" && source.ComparePaths(prev, x.first) >= 0:
			r.Fail(errors.New("paths are not in order"))
		}
		prev = x.first
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

// maxWeight bounds the bytes of a stream and the entries of a listing, so that sums of two never overflow.
const maxWeight = 1 << 61

// A treeReader walks down from a root to the leaves. It holds one decoded node a level.
type treeReader struct {
	kind byte
	get  BlobGetter
	// enter is asked before a blob is fetched and may keep the walk from it. What is left out is not checked.
	// next is the path at which the branch ends, "" where that is not known.
	enter func(r ref, level int, next string) bool
	// leaf receives each leaf's records with the ref that led there, and ends the walk by false.
	leaf func(r ref, records []byte) (bool, error)
	// leave, unless nil, hears of each branch that was walked to its end.
	leave func(r ref, level int)
}

// walk reads the tree of a root. Its weight and that of each branch must be what the refs above say.
func (t *treeReader) walk(ctx context.Context, depth int, root []byte, weight int64) error {
	if depth < 1 || depth > maxDepth || len(root) > maxRoot {
		return fmt.Errorf("root of depth %d and %d bytes", depth, len(root))
	}
	_, err := t.node(ctx, depth, root, weight, "", "")
	return err
}

// node walks the branches of a node's records; first is what the ref to it says, "" for the root. The branches of a listing
// lie before end, so that none is named twice: else a few blobs that name each other would take for ever.
func (t *treeReader) node(ctx context.Context, level int, records []byte, weight int64, first, end string) (bool, error) {
	refs, err := readRefs(records, t.kind)
	if err != nil {
		return false, err
	}
	sum := int64(0)
	for _, r := range refs {
		if sum += r.weight; sum > weight {
			break
		}
	}
	if sum != weight || first != "" && refs[0].first != first || end != "" && source.ComparePaths(refs[len(refs)-1].first, end) >= 0 {
		return false, errors.New("branch is not what the node above says")
	}
	for i, r := range refs {
		next := end
		if i+1 < len(refs) {
			next = refs[i+1].first
		}
		if t.enter != nil && !t.enter(r, level-1, next) {
			continue
		}
		if goOn, err := t.branch(ctx, level-1, r, next); err != nil || !goOn {
			return false, err
		}
	}
	return true, nil
}

// branch fetches the blob of a ref and walks what is below.
func (t *treeReader) branch(ctx context.Context, level int, r ref, end string) (bool, error) {
	if ctx.Err() != nil { // what is in memory is read without a look at it, and a small tree may name it without end
		return false, context.Cause(ctx)
	}
	data, err := t.get.Blob(ctx, r.id)
	if err != nil {
		return false, err
	}
	if len(data) < nodeHeader || data[0] != t.kind || int(data[1]) != level || len(data) > maxNodeBlob {
		return false, fmt.Errorf("blob %v is not a node of kind %c and level %d", r.id, t.kind, level)
	}
	goOn := false
	if level == 0 {
		goOn, err = t.leaf(r, data[nodeHeader:])
	} else {
		goOn, err = t.node(ctx, level, data[nodeHeader:], r.weight, r.first, end)
	}
	if err != nil {
		return false, fmt.Errorf("in blob %v: %w", r.id, err)
	}
	if goOn && t.leave != nil {
		t.leave(r, level)
	}
	return goOn, nil
}

// maxNodeBlob bounds a meta blob: a node or leaf that has not reached its maximum, and one record more.
const maxNodeBlob = 1 << 20
