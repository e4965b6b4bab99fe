package media

import (
	"context"
	"runtime"
	"sync"
	"unsafe"

	"permafrost/source"
)

const (
	// Bytes of entries that are read ahead of the loop. Readers start again when it has fallen to half.
	maxAhead = 4 << 20
	// A directory is read by so many entries at a time.
	batchLen = 256
	entryLen = int(unsafe.Sizeof(source.Entry{}) + unsafe.Sizeof(batch{}))
)

// A batch is a directory's entries, or a run of them where it is large. It is written by the one reader that
// claimed it, and belongs to the loop once it is done.
type batch struct {
	self  *source.Entry // the directory; the reader of its first batch fills in the attributes
	dir   *directory    // of a later batch
	index int           // its place in dir

	err      error // of the directory
	vanished bool  // the directory has vanished
	entries  []source.Entry
	errs     map[int]error // of entries
	subs     []batch       // the entries that are directories, in order
	rest     *batch        // the next run
	size     int           // bytes, about

	state      state
	prev, next *batch // in walker.todo
}

type state byte

const (
	waiting state = iota // in walker.todo
	claimed              // in walker.todo, being read
	done
)

// A walker reads batches ahead of the loop, in the loop's order.
type walker struct {
	tree  *Tree
	ctx   context.Context
	yield func(*source.Entry, error) bool
	first *batch
	mine  *reader // the loop's own

	uid, gid uint32 // of the last entry
	known    bool

	readers sync.WaitGroup

	mu      sync.Mutex
	ready   sync.Cond // the batch that the loop wants is done
	more    sync.Cond // readers have something to do, or to stop
	wanted  *batch
	ended   bool
	resting int   // readers that wait
	ahead   int   // bytes of batches that are done and not visited
	full    bool  // ahead has reached maxAhead, and is not down to half yet
	todo    batch // head of a ring: batches to read, in the loop's order, those being read included
}

func newWalker(ctx context.Context, t *Tree, yield func(*source.Entry, error) bool) *walker {
	w := &walker{tree: t, ctx: ctx, yield: yield, mine: newReader(t)}
	w.ready.L, w.more.L = &w.mu, &w.mu
	w.first = &batch{self: &source.Entry{Path: ".", Type: source.Dir}}
	w.todo.prev, w.todo.next = &w.todo, &w.todo
	w.insert(&w.todo, w.first)
	return w
}

// start has directories read ahead.
func (w *walker) start() {
	// More readers than processors: on a disk or over a network they wait.
	for range 2 * min(runtime.GOMAXPROCS(0), 8) {
		// For all of its life: a change of rights for each directory would take half as long as reading it. Where rights can't
		// be taken the loop finds out.
		w.readers.Go(func() { w.tree.user.Do(func() error { w.read(); return nil }) })
	}
}

// stop ends the readers, and waits for them.
func (w *walker) stop() {
	w.mu.Lock()
	w.ended = true
	w.more.Broadcast()
	w.mu.Unlock()
	w.readers.Wait()
}

// read is a reader: it takes the first batch that nobody reads, until the walk ends.
func (w *walker) read() {
	r := newReader(w.tree)
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.ended {
		b := w.claim()
		if b == nil {
			w.resting++
			w.more.Wait()
			w.resting--
			continue
		}
		w.mu.Unlock()
		r.read(b)
		w.mu.Lock()
		w.finish(b)
	}
}

// claim returns the first batch to read, nil where there is none or enough has been read ahead.
func (w *walker) claim() *batch {
	if w.full {
		return nil
	}
	for b := w.todo.next; b != &w.todo; b = b.next { // only readers' own stand before it
		if b.state == waiting {
			b.state = claimed
			return b
		}
	}
	return nil
}

// finish puts what b has found to read in its place.
func (w *walker) finish(b *batch) {
	b.state = done
	after, fresh := b.prev, len(b.subs)
	b.prev.next, b.next.prev = b.next, b.prev
	b.prev, b.next = nil, nil
	for i := range b.subs {
		w.insert(after, &b.subs[i])
		after = &b.subs[i]
	}
	if b.rest != nil {
		w.insert(after, b.rest)
		fresh++
	}
	w.ahead += b.size
	w.full = w.full || w.ahead >= maxAhead
	if w.wanted == b {
		w.wanted = nil
		w.ready.Signal()
	}
	if !w.full {
		for range min(fresh, w.resting) {
			w.more.Signal()
		}
	}
}

func (w *walker) insert(after, b *batch) {
	b.prev, b.next = after, after.next
	b.prev.next, b.next.prev = b, b
}

// take returns when b has been read; it does that itself where nobody does.
func (w *walker) take(b *batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch b.state {
	case waiting:
		b.state = claimed
		w.mu.Unlock()
		if err := w.tree.user.Do(func() error { w.mine.read(b); return nil }); err != nil {
			b.err = err
		}
		w.mu.Lock()
		w.finish(b)
	case claimed:
		for w.wanted = b; b.state != done; {
			w.ready.Wait()
		}
	}
	w.ahead -= b.size
	if w.full && w.ahead <= maxAhead/2 {
		w.full = false
		w.more.Broadcast()
	}
}

// visit yields a directory, then what is in it. It reports whether to go on.
func (w *walker) visit(b *batch) bool {
	w.take(b)
	if b.vanished {
		w.tree.vanished.directory(b.self.Path)
		return true
	}
	if !w.give(b.self, b.err) {
		return false
	}
	for ; b != nil; b = b.rest {
		if b.dir != nil {
			w.take(b)
		}
		subs := b.subs
		b.subs = nil // what is yielded must not hold what was below it
		for i := range b.entries {
			e := &b.entries[i]
			if len(subs) > 0 && subs[0].self == e {
				if !w.visit(&subs[0]) {
					return false
				}
				subs = subs[1:]
			} else if !w.enter(e, b.errs[i]) {
				return false
			}
		}
	}
	return true
}

// enter yields an entry that is no directory, or what it leads to where it is a link that is followed.
func (w *walker) enter(e *source.Entry, err error) bool {
	if e.Type != source.Symlink || err != nil {
		return w.give(e, err)
	}
	if err := w.follow(e); err != nil || e.Type != source.Dir {
		return w.give(e, err)
	}
	b := &batch{self: &source.Entry{Path: e.Path, Type: source.Dir}}
	w.mu.Lock()
	w.insert(&w.todo, b)
	w.mu.Unlock()
	return w.visit(b)
}

// give yields an entry.
func (w *walker) give(e *source.Entry, err error) bool {
	if err := w.ctx.Err(); err != nil {
		w.yield(nil, err)
		return false
	}
	if e.Type != 0 && (!w.known || e.UID != w.uid || e.GID != w.gid) {
		w.uid, w.gid, w.known = e.UID, e.GID, true
		w.tree.saw(e.UID, e.GID)
	}
	w.tree.vanished.met(e)
	return w.yield(e, err)
}
