package snapshot

import (
	"context"
	"iter"
	"strings"

	"permafrost/source"
)

// children yields the entries in a directory, in order, and an error as the last. Of what lies below them only the leaves are
// fetched in which one of them begins or ends.
func (l *Listing) children(ctx context.Context, get BlobGetter, dir string) iter.Seq2[*Entry, error] {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	inside := func(p string) bool { return strings.HasPrefix(p, prefix) && p != "." && p != dir }
	below := "" // of the newest child: what begins with it lies below that child
	enter := func(r ref, _ int, next string) bool {
		switch {
		case below != "" && next != "" && strings.HasPrefix(r.first, below) && strings.HasPrefix(next, below):
			return false
		case dir == ".":
			return true
		case next != "" && source.ComparePaths(next, dir) <= 0:
			return false // all of it lies before
		}
		return inside(r.first) || source.ComparePaths(r.first, dir) <= 0
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
