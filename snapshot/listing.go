package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"permafrost/chunk"
	"permafrost/internal/wire"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

const (
	// A leaf ends behind an entry whose path's keyed hash says so, one of leafEvery: about 30 KiB, so that a
	// night's new files, which lie together, cost few leaves, and a leaf's place in the index little.
	leafEvery = 1024
	leafMin   = 64
	leafMax   = 16384
	maxLeaf   = blobtree.MaxNodeBlob - maxEntry // bytes at which a leaf is closed
)

// A Listing is a sorted tree of entries: what the manifest holds of it.
type Listing struct {
	Entries int64  `json:"entries"`
	Depth   int    `json:"depth,omitempty"`
	Root    []byte `json:"root,omitempty"`
}

// A ListingWriter makes a listing from entries in order. After an error every call fails. It is for one goroutine.
type ListingWriter struct {
	tree    blobtree.Writer
	leaf    blobtree.Node
	coder   entryCoder
	cutKey  [sha256.Size]byte
	hashed  []byte
	entries int64
	last    string
	err     error
}

// NewListingWriter returns a ListingWriter that stores its blobs by put, which returns their IDs and must not keep the data; and cuts
// them by a secret key, the same each night.
func NewListingWriter(put func(data []byte) (chunk.ID, error), cutKey [sha256.Size]byte) *ListingWriter {
	w := &ListingWriter{tree: blobtree.Writer{Kind: blobtree.Listing, Put: put}, cutKey: cutKey}
	w.leaf.Reset(blobtree.Listing, 0)
	return w
}

// Add appends an entry, which must be one that a listing has a form for, and sort behind the one before.
func (w *ListingWriter) Add(x *Entry) error {
	if w.err != nil {
		return w.err
	}
	if w.err = x.check(); w.err != nil {
		return w.err
	}
	if w.last != "" && source.ComparePaths(w.last, x.Path) >= 0 {
		w.err = fmt.Errorf("%q comes behind %q: not in order", x.Path, w.last)
		return w.err
	}
	if w.leaf.N == 0 {
		w.leaf.First = x.Path
	}
	w.leaf.Buf = w.coder.append(w.leaf.Buf, x)
	w.leaf.N++
	w.entries++
	w.last = x.Path
	if w.leaf.N >= leafMin && w.cut(x.Path) || w.leaf.N >= leafMax || len(w.leaf.Buf) >= maxLeaf {
		w.err = w.close()
	}
	return w.err
}

// cut reports whether a leaf ends behind path.
func (w *ListingWriter) cut(path string) bool {
	w.hashed = append(append(w.hashed[:0], w.cutKey[:]...), path...)
	h := sha256.Sum256(w.hashed)
	return binary.LittleEndian.Uint64(h[:])%leafEvery == 0
}

// close stores the open leaf.
func (w *ListingWriter) close() error {
	id, err := w.tree.Put(w.leaf.Buf)
	if err != nil {
		return err
	}
	r := blobtree.Ref{ID: id, Weight: int64(w.leaf.N), First: w.leaf.First}
	w.leaf.Reset(blobtree.Listing, 0)
	w.coder.reset()
	return w.tree.Add(1, r)
}

// Finish returns the listing of all that was added. The ListingWriter can't be used further.
func (w *ListingWriter) Finish() (Listing, error) {
	if w.err != nil {
		return Listing{}, w.err
	}
	w.err = errors.New("listing is finished")
	if w.leaf.N > 0 {
		if err := w.close(); err != nil {
			return Listing{}, err
		}
	}
	depth, root, err := w.tree.Finish()
	return Listing{w.entries, depth, root}, err
}

// check returns an error unless the listing's own part is well-formed; blobs are not looked at.
func (l *Listing) check() error {
	if l.Entries == 0 && l.Depth == 0 && len(l.Root) == 0 {
		return nil
	}
	if l.Entries < 1 || l.Entries > blobtree.MaxWeight || l.Depth < 1 || l.Depth > blobtree.MaxDepth || len(l.Root) > blobtree.MaxRoot {
		return errors.New("listing: impossible number of entries or depth")
	}
	if _, err := blobtree.ReadRefs(l.Root, blobtree.Listing); err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	return nil
}

// eachEntry calls f for the entries of a leaf's records until it returns false.
func eachEntry(x blobtree.Ref, records []byte, f func(*Entry) bool) error {
	if x.Weight > leafMax {
		return errors.New("leaf has too many entries")
	}
	r := wire.NewReader(records)
	var coder entryCoder
	n := int64(0)
	for r.Len() > 0 && n <= x.Weight {
		e := coder.read(r)
		if r.Err() != nil {
			return r.Err()
		}
		if n == 0 && e.Path != x.First {
			return errors.New("leaf does not begin as the node above says")
		}
		if n++; !f(e) {
			return nil
		}
	}
	if n != x.Weight {
		return fmt.Errorf("leaf has not the %d entries that the node above says", x.Weight)
	}
	return nil
}

// entries yields the listing's entries in order, and an error as the last of them. It holds one blob a level.
// Those of which enter, unless nil, disapproves are left out with all that is below: see blobtree.Reader.
func (l *Listing) entries(ctx context.Context, get stream.Getter, enter func(r blobtree.Ref, level int, next string) bool) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		if l.Entries == 0 {
			return
		}
		stopped, last := false, ""
		var disorder error
		each := func(e *Entry) bool {
			if last != "" && source.ComparePaths(last, e.Path) >= 0 {
				disorder = errors.New("leaves are out of order")
				return false
			}
			last = e.Path
			stopped = !yield(e, nil)
			return !stopped
		}
		t := blobtree.Reader{Kind: blobtree.Listing, Get: get, Enter: enter, Leaf: func(x blobtree.Ref, records []byte) (bool, error) {
			err := eachEntry(x, records, each)
			if err == nil {
				err = disorder
			}
			return !stopped, err
		}}
		if err := t.Walk(ctx, l.Depth, l.Root, l.Entries); err != nil && !stopped {
			yield(nil, fmt.Errorf("listing: %w", err))
		}
	}
}
