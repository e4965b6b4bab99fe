package snapshot

import (
	"bytes"
	"context"
	"io/fs"
	"iter"
	"strings"

	"permafrost/chunk"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// Entries yields the entries of a snapshot's media at path and below it, in the listing's order, and an error as the
// last. "." is the whole tree. What lies elsewhere is not fetched.
func Entries(ctx context.Context, get stream.Getter, m *Manifest, path string) iter.Seq2[*Entry, error] {
	all := path == "." || path == ""
	below := func(p string) bool {
		return all || p == path || strings.HasPrefix(p, path) && p[len(path)] == '/'
	}
	enter := func(r blobtree.Ref, _ int, next string) bool {
		return all || (next == "" || source.ComparePaths(next, path) > 0) && (below(r.First) || source.ComparePaths(r.First, path) <= 0)
	}
	return func(yield func(*Entry, error) bool) {
		for e, err := range m.Media.Listing.entries(ctx, get, enter) {
			if err != nil || below(e.Path) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// LookUp returns the entry of a path of a snapshot's media. The error is fs.ErrNotExist where there is none.
func LookUp(ctx context.Context, get stream.Getter, m *Manifest, path string) (*Entry, error) {
	for e, err := range Entries(ctx, get, m, path) {
		if err != nil {
			return nil, err
		}
		if e.Path == path {
			return e, nil
		}
		break
	}
	return nil, fs.ErrNotExist
}

// A Change is what became of one path from an older snapshot to a newer one.
type Change struct {
	Old *Entry // nil: it is new
	New *Entry // nil: it is gone
}

// Path returns the path that changed.
func (c *Change) Path() string {
	if c.New != nil {
		return c.New.Path
	}
	return c.Old.Path
}

// Content reports whether what it is, or what is in it, changed, and not only its owner, mode or times.
func (c *Change) Content() bool {
	a, b := c.Old, c.New
	return a == nil || b == nil || a.Type != b.Type || !a.sameContent(b)
}

// sameContent reports whether two entries of one type hold the same.
func (x *Entry) sameContent(y *Entry) bool {
	return x.Size == y.Size && x.Target == y.Target && x.Rdev == y.Rdev && x.Link == y.Link &&
		x.Content.Depth == y.Content.Depth && bytes.Equal(x.Content.Root, y.Content.Root)
}

// same reports whether a restore of both entries would make the same.
func (x *Entry) same(y *Entry) bool {
	if x.Type != y.Type || x.Mode != y.Mode || x.UID != y.UID || x.GID != y.GID || x.MTime != y.MTime ||
		!x.sameContent(y) || len(x.Xattrs) != len(y.Xattrs) {
		return false
	}
	for i, a := range x.Xattrs {
		if a.Name != y.Xattrs[i].Name || !bytes.Equal(a.Value, y.Xattrs[i].Value) {
			return false
		}
	}
	return true
}

// Diff yields what changed in the media from snapshot a to snapshot b, in the listing's order, and an error as the
// last. Parts of the listings that are the same blobs in both are not fetched.
func Diff(ctx context.Context, get stream.Getter, a, b *Manifest) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		common, err := commonLeaves(ctx, get, &a.Media.Listing, &b.Media.Listing)
		if err != nil {
			yield(Change{}, err)
			return
		}
		enter := func(r blobtree.Ref, level int, _ string) bool { return level > 0 || !common[r.ID] }
		nextA, stopA := iter.Pull2(a.Media.Listing.entries(ctx, get, enter))
		defer stopA()
		nextB, stopB := iter.Pull2(b.Media.Listing.entries(ctx, get, enter))
		defer stopB()
		x, errX, okX := nextA()
		y, errY, okY := nextB()
		for okX || okY {
			if errX != nil || errY != nil {
				if errX == nil {
					errX = errY
				}
				yield(Change{}, errX)
				return
			}
			order := 0
			switch {
			case !okX:
				order = 1
			case !okY:
				order = -1
			default:
				order = source.ComparePaths(x.Path, y.Path)
			}
			var c Change
			if order <= 0 {
				c.Old = x
				x, errX, okX = nextA()
			}
			if order >= 0 {
				c.New = y
				y, errY, okY = nextB()
			}
			if order == 0 && c.Old.same(c.New) {
				continue
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// commonLeaves returns the leaves that both listings have.
func commonLeaves(ctx context.Context, get stream.Getter, a, b *Listing) (map[chunk.ID]bool, error) {
	leaves := make(map[chunk.ID]bool) // false: in a alone, as far as is known
	if err := a.eachLeaf(ctx, get, func(id chunk.ID) { leaves[id] = false }); err != nil {
		return nil, err
	}
	err := b.eachLeaf(ctx, get, func(id chunk.ID) {
		if _, ok := leaves[id]; ok {
			leaves[id] = true
		}
	})
	return leaves, err
}

// eachLeaf calls f with the ID of each leaf, of which none is fetched.
func (l *Listing) eachLeaf(ctx context.Context, get stream.Getter, f func(chunk.ID)) error {
	for _, err := range l.entries(ctx, get, func(r blobtree.Ref, level int, _ string) bool {
		if level == 0 {
			f(r.ID)
		}
		return level > 0
	}) {
		if err != nil {
			return err
		}
	}
	return nil
}
