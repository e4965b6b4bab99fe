package snapshot

import (
	"context"
	"iter"
	"strings"

	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// children yields the entries in a directory, in order, and an error as the last. Of what lies below them only the leaves are
// fetched in which one of them begins or ends.
func (l *Listing) children(ctx context.Context, get stream.Getter, dir string) iter.Seq2[*Entry, error] {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	inside := func(p string) bool { return strings.HasPrefix(p, prefix) && p != "." && p != dir }
	below := "" // of the newest child: what begins with it lies below that child
	enter := func(r blobtree.Ref, _ int, next string) bool {
		switch {
		case below != "" && next != "" && strings.HasPrefix(r.First, below) && strings.HasPrefix(next, below):
			return false
		case dir == ".":
			return true
		case next != "" && source.ComparePaths(next, dir) <= 0:
			return false // all of it lies before
		}
		return inside(r.First) || source.ComparePaths(r.First, dir) <= 0
	}
	return func(yield func(*Entry, error) bool) {
		for e, err := range l.entries(ctx, get, enter) {
			if err == nil && (!inside(e.Path) || strings.Contains(e.Path[len(prefix):], "/")) {
				continue
			}
			if !yield(e, err) {
				return
			}
			if err == nil {
				below = e.Path + "/"
			}
		}
	}
}
