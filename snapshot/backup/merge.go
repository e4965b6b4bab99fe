package backup

import (
	"context"
	"iter"
	"time"

	"permafrost/snapshot"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// maxHardLinks is how many inodes with further names are remembered. Beyond that a further name is stored as a file
// of its own, whose content is the same blobs.
const maxHardLinks = 1 << 18

// racyWindow is how long before the previous walk a file must have been left alone to be taken for unchanged by its
// times: within a clock's tick of being read it may change again without showing it, and a file server's clock may be
// a little behind.
const racyWindow = 5 * time.Second

// A merge reads the previous snapshot's listing beside today's walk.
type merge struct {
	next  func() (*snapshot.Entry, error, bool)
	stop  func()
	fault func(error)
	at    *snapshot.Entry // nil at the end
	limit int64           // a file changed at this time or later is not trusted
	same  sameness
	again reread
}

// A sameness says by what a file is not told to be unchanged. Size and time of its last change always count.
type sameness struct{ ignoreCTime, ignoreInode bool }

// A reread counts files that were read again, though their size and the time of their last change were what they had been.
type reread struct {
	files, bytes int64
	ctime, inode bool // what was different
}

// newMerge begins at the start of m's listing; m may be nil. Where the listing can't be read fault is told why, and
// everything from there on counts as changed.
func newMerge(ctx context.Context, m *snapshot.Manifest, get stream.Getter, same sameness, fault func(error)) *merge {
	none := &merge{next: func() (*snapshot.Entry, error, bool) { return nil, nil, false }, stop: func() {}}
	if m == nil || m.Media.State != snapshot.Captured {
		return none
	}
	g := &merge{fault: fault, same: same, limit: m.Boundary.MediaFrom.Add(-racyWindow).UnixNano()}
	g.next, g.stop = iter.Pull2(snapshot.Entries(ctx, get, m, "."))
	g.advance()
	return g
}

func (g *merge) advance() {
	e, err, ok := g.next()
	if err != nil {
		g.fault(err)
	}
	if !ok || err != nil {
		e = nil
	}
	g.at = e
}

// content returns what the previous snapshot has of a file, or nil unless the file looks the same as then. Files
// must be asked for in order.
func (g *merge) content(e *source.Entry) *stream.Recipe {
	for g.at != nil && source.ComparePaths(g.at.Path, e.Path) < 0 {
		g.advance()
	}
	old := g.at
	if old == nil || old.Path != e.Path || old.Type != source.File || old.Link != "" ||
		old.Size != e.Size || old.MTime != e.MTime || old.MTime >= g.limit || old.CTime >= g.limit && !g.same.ignoreCTime {
		return nil
	}
	ctime := old.CTime != e.CTime && !g.same.ignoreCTime
	inode := old.Inode != e.Inode && !g.same.ignoreInode
	if ctime || inode {
		g.again = reread{g.again.files + 1, g.again.bytes + e.Size, g.again.ctime || ctime, g.again.inode || inode}
		return nil
	}
	return &old.Content
}

// hardLinks finds the names of one inode in a walk. An inode is dropped once its last name was met.
type hardLinks map[inode]*hardLink

type inode struct{ dev, number uint64 }

// A hardLink is an inode as it was when its first name was met. A file system gives the number of an inode whose last name is
// gone to the next new file, so the number alone says nothing.
type hardLink struct {
	first              string
	size, mtime, ctime int64
	left               uint64 // names still to come
}

// first returns the first name of a further one, and whether further ones follow. A name under which the inode looks different
// is the first of another file, or of what the file has become.
func (h hardLinks) first(e *source.Entry) (first string, shared bool) {
	if e.Nlink < 2 {
		return "", false
	}
	key := inode{e.Dev, e.Inode}
	l := h[key]
	if l != nil && l.size == e.Size && l.mtime == e.MTime && l.ctime == e.CTime {
		if l.left--; l.left == 0 {
			delete(h, key)
		}
		return l.first, true
	}
	if l == nil && len(h) >= maxHardLinks {
		return "", false
	}
	h[key] = &hardLink{e.Path, e.Size, e.MTime, e.CTime, e.Nlink - 1}
	return "", true
}
