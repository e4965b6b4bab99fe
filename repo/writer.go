package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"permafrost/chunk"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/machine"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// Stats counts what a run did for one component.
type Stats struct {
	Blobs   int64 // blobs given to Add
	Logical int64 // bytes of these
	Fresh   int64 // bytes of those that were not stored yet
	Stored  int64 // bytes of the packs that hold these
}

// A Writer makes one snapshot: blobs go in, and Commit publishes them with a manifest, or Abort ends it and what was
// uploaded is found by the next run. After packing or an upload has failed, Add, Flush and Commit return that error.
//
// Sum, Has, Length, Stats and Traffic may be called from any goroutine. Add is for one goroutine at a time for each component. Flush,
// Commit and Abort come after all calls of Add.
type Writer struct {
	core     *core.Core
	index    *index.Index
	epoch    *keys.Epoch
	instance string
	prunes   int // prune entries that index heeds
	journal  *machine.Journal
	unlock   func()
	lease    *lease.Lease

	packing *pack.Pipeline

	mu      sync.Mutex
	fresh   map[core.HalfID]struct{} // blobs of this run
	checked map[store.Name]*presence // stored packs that this run has looked at
	done    []store.Name             // packs uploaded by this run or one before it, in no index object yet
	stats   [pack.Components]Stats
}

// A presence says whether a pack that the index lists is really there.
type presence struct {
	once sync.Once
	ok   bool
	err  error
}

// NewWriter begins a snapshot of an instance. The caller ends it with Commit or Abort. The error is a lease.LockedError when another
// snapshot of this instance runs on this machine, and a ledger.NotAllowedError when the roster does not let the key make one.
func (r *Repo) NewWriter(ctx context.Context, instance string) (*Writer, error) {
	if err := mayWrite(r.core, r.core.Log.History, instance); err != nil {
		return nil, err
	}
	x, err := r.core.WritersIndex(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.core.Machine.Err(); err != nil {
		return nil, err // without its journal a sealed host would store again what an interrupted run has stored
	}
	unlock, err := r.lock(machine.Snapshot, instance, "another snapshot of ")
	if err != nil {
		return nil, err
	}
	j, left, err := r.core.Machine.Journal(instance)
	if err != nil {
		unlock()
		return nil, err
	}
	w := &Writer{
		core: r.core, index: x.For(instance), epoch: r.core.Log.CurrentEpoch(), instance: instance, prunes: r.core.Log.Prunes, journal: j, unlock: unlock,
		fresh:   make(map[core.HalfID]struct{}),
		checked: make(map[store.Name]*presence),
	}
	w.packing = pack.NewPipeline(ctx, r.core.Store, w.epoch, instance, w.uploaded)
	if err := w.resume(ctx, left); err != nil {
		w.end()
		return nil, err
	}
	if w.lease, err = r.core.NewLease(ctx, "snapshot of "+instance); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// mayWrite returns an error where the roster of h does not let this key make snapshots of an instance.
func mayWrite(c *core.Core, h *ledger.History, instance string) error {
	if len(instance) == 0 || len(instance) > index.MaxInstance {
		return fmt.Errorf("an instance's name has 1 to %d bytes", index.MaxInstance)
	}
	if err := h.MayAdd(&ledger.Entry{Snapshot: new(ledger.SnapshotEntry)}); err != nil {
		return err
	}
	by := h.Roster.Scope(c.Key.VerifyKey())
	if by.Owner {
		return nil
	}
	p := by.Person
	if p.Role != keys.RoleWriter {
		return &ledger.NotAllowedError{Right: ledger.RightAny, Why: "the list of keys does not have it"}
	}
	if !p.Serves(instance) {
		return &ledger.NotAllowedError{Right: ledger.RightInstance, Why: fmt.Sprintf("it is for %s, and this is %s", p.Instance, instance)}
	}
	return nil
}

// resume takes over the packs that an interrupted run left, where they are still there.
func (w *Writer) resume(ctx context.Context, left []*pack.Pack) error {
	if len(left) == 0 {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(core.StatsInFlight)
	there := make([]bool, len(left))
	for i, p := range left {
		if w.index.Serves(p.Name, w.instance) || w.core.Log.IsPruned(store.Pack.Object(p.Name)) {
			continue
		}
		g.Go(func() (err error) {
			there[i], err = packThere(ctx, w.core, p.Name, p.Size)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("looking for what an interrupted run left: %w", err)
	}
	var used []*pack.Pack
	for i, p := range left {
		if there[i] {
			used, w.done = append(used, p), append(w.done, p.Name)
		}
	}
	if len(used) > 0 {
		var err error
		if w.index, err = w.core.Indexes.Extend(w.index, w.core.Log.History, w.instance, core.InMemory(used)); err != nil {
			return err
		}
		w.core.Note("an earlier run was interrupted: its %d uploaded packs are used", len(w.done))
	}
	return nil
}

// packThere reports whether a pack is in the store with the size it should have.
func packThere(ctx context.Context, c *core.Core, pack store.Name, size int64) (bool, error) {
	o, err := c.Store.Stat(ctx, store.Pack.Object(pack))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && o.Size == size, err
}

// Polynomial returns the polynomial that the repository's splitters cut by.
func (w *Writer) Polynomial() uint64 { return w.epoch.Polynomial }

// Sum returns the ID of a blob of component c.
func (w *Writer) Sum(c Component, data []byte) chunk.ID {
	if c == pack.Meta {
		return w.epoch.MetaKey.Sum(data)
	}
	return w.epoch.DataKey.Sum(data)
}

// Length returns the length in bytes of a stored blob.
func (w *Writer) Length(id chunk.ID) (int, bool) {
	n, ok, _ := w.index.Length(id) // what a damaged local index hides is stored again
	return n, ok
}

// Has reports whether the snapshot may refer to a stored blob of that length; it then references it. That takes more
// than an index that lists it: the index object was signed by a writer of the same instance, the keys are those in
// use, no damage is known, no prune has named the pack, and the pack is there with the right size.
func (w *Writer) Has(ctx context.Context, id chunk.ID, length int) (bool, error) {
	w.mu.Lock()
	_, fresh := w.fresh[core.Half(id)]
	w.mu.Unlock()
	if fresh {
		return true, nil
	}
	var room [4]index.Place
	places, err := w.index.Find(id, room[:0])
	if err != nil {
		return false, nil // what a damaged local index hides is stored again
	}
	for _, pl := range places {
		p := &w.index.Packs[pl.Pack]
		if int(pl.Length) != length || p.Epoch != w.epoch.Number || !p.Trusted || p.Instance != w.instance || p.Reported {
			continue
		}
		ok, err := w.present(ctx, p)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// present asks the storage once a run for each pack.
func (w *Writer) present(ctx context.Context, p *index.Pack) (bool, error) {
	w.mu.Lock()
	s := w.checked[p.Name]
	if s == nil {
		s = new(presence)
		w.checked[p.Name] = s
	}
	w.mu.Unlock()
	s.once.Do(func() {
		if s.ok, s.err = packThere(ctx, w.core, p.Name, p.Size); s.err == nil && !s.ok {
			w.core.Note("pack %s is missing or cut: content that this snapshot needs is stored again", p.Name.Short())
		}
	})
	return s.ok, s.err
}

// Add stores a blob unless it is stored already, and reports whether it was new. It copies data, 1 byte to
// chunk.MaxSize long, whose Sum the caller has taken.
func (w *Writer) Add(ctx context.Context, c Component, id chunk.ID, data []byte) (fresh bool, err error) {
	if len(data) == 0 || len(data) > chunk.MaxSize {
		return false, fmt.Errorf("a blob of %d bytes: it may have 1 to %d", len(data), chunk.MaxSize)
	}
	if err := w.packing.Err(); err != nil {
		return false, err
	}
	has, err := w.Has(ctx, id, len(data))
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	if !has {
		// Two components may bring one blob at once: the first has it.
		_, has = w.fresh[core.Half(id)]
	}
	s := &w.stats[c]
	s.Blobs++
	s.Logical += int64(len(data))
	if !has {
		w.fresh[core.Half(id)] = struct{}{}
		s.Fresh += int64(len(data))
	}
	w.mu.Unlock()
	if has {
		return false, nil
	}
	return true, w.packing.Add(ctx, c, pack.Blob{ID: id, Length: len(data)}, data)
}

// Stats returns the counts by component.
func (w *Writer) Stats() map[Component]Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := make(map[pack.Component]Stats)
	for c, s := range w.stats {
		if s.Blobs > 0 {
			m[pack.Component(c)] = s
		}
	}
	return m
}

// Traffic returns how many bytes of packs are durable, and how many have been packed so far. The difference is still to be sent.
func (w *Writer) Traffic() (sent, packed int64) { return w.packing.Traffic() }

// uploaded notes a pack that is durable.
func (w *Writer) uploaded(p *pack.Pack) error {
	w.mu.Lock()
	w.done = append(w.done, p.Name)
	w.stats[p.Component].Stored += p.Size
	w.mu.Unlock()
	return w.journal.Add(p)
}

// Flush waits until all that was added is durable, so that Stats is complete. Nothing can be added after it.
func (w *Writer) Flush() error { return w.packing.Flush() }

// Commit publishes the snapshot, and ends the run. If Commit returns nil the snapshot is there. If it returns an error the snapshot is
// not there, unless the connection was lost just as the entry was put. ErrPruned says that another run will succeed.
//
// The order is that of dependence, each step durable before the next: packs; index objects and the manifest; the log
// entry. If we die before the entry, no one refers to what was uploaded; the journal lets the next run go on from it.
func (w *Writer) Commit(ctx context.Context, manifest []byte, info ledger.SnapshotInfo) (ledger.SnapshotRef, error) {
	defer w.end()
	if info.Instance != w.instance {
		return ledger.SnapshotRef{}, fmt.Errorf("a snapshot of %s by a writer for %s", info.Instance, w.instance)
	}
	if err := w.Flush(); err != nil {
		return ledger.SnapshotRef{}, err
	}
	s := &ledger.SnapshotEntry{SnapshotInfo: info}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		s.Indexes, err = w.core.PutIndexes(gctx, w.instance, w.journal.Packs(w.done))
		return err
	})
	g.Go(func() (err error) {
		s.Manifest, err = w.core.PutManifest(gctx, manifest)
		return err
	})
	err := g.Wait()
	if err == nil {
		err = w.core.Log.Publish(ctx, &ledger.Entry{Snapshot: s}, func(h *ledger.History) error { return w.stillThere(ctx, h, s) })
	}
	if err != nil {
		return ledger.SnapshotRef{}, err
	}
	if err := w.journal.Clear(); err != nil {
		w.core.Note("%v", err) // committed all the same; the next run finds its packs known
	}
	ref, _ := w.core.Log.Snapshots.ByID(ledger.SnapshotID(s.Manifest, w.core.Key.VerifyKey(), w.instance))
	return ref, nil
}

// stillThere returns an error where a prune entry names what the snapshot references, or is made of. What no index object
// listed yet, a prune for another instance may have taken for left over; and a repair may have taken a pack off the index
// that it does not name.
func (w *Writer) stillThere(ctx context.Context, h *ledger.History, e *ledger.SnapshotEntry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	own := e.Objects()
	for _, name := range w.done {
		own = append(own, store.Pack.Object(name))
	}
	if slices.ContainsFunc(own, func(object string) bool { return h.PrunedFor(object, w.instance) }) {
		return ErrPruned
	}
	if err := w.young(ctx, slices.DeleteFunc(own, func(object string) bool { return !h.IsPruned(object) })); err != nil {
		return err
	}
	if err := mayWrite(w.core, h, w.instance); err != nil || h.Prunes == w.prunes {
		return err
	}
	now, err := w.core.Indexes.Load(ctx, h, func(error) error { return nil })
	if err != nil {
		return err
	}
	for name, s := range w.checked {
		// No index object lists yet what this run or one before it has uploaded; it was looked at above.
		if s.ok && !now.Serves(name, w.instance) && !slices.Contains(w.done, name) {
			return ErrPruned
		}
	}
	return nil
}

// young returns ErrPruned unless all of these objects, which prunes for other instances have named, are there, and so young
// that such a prune had no right to.
func (w *Writer) young(ctx context.Context, pruned []string) error {
	if len(pruned) == 0 {
		return nil
	}
	now, err := w.lease.Now(ctx)
	if err != nil {
		return err
	}
	for _, object := range pruned {
		o, err := w.core.Store.Stat(ctx, object)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && now.Sub(o.Time) > ledger.Grace:
			return ErrPruned
		case err != nil:
			return fmt.Errorf("looking whether %s is still there: %w", object, err)
		}
	}
	return nil
}

// Abort ends the run without a snapshot, once nobody calls Add any more. Calling it after Commit does nothing.
func (w *Writer) Abort() {
	w.end()
}

// end gives back what the run holds on this machine.
func (w *Writer) end() {
	if w.unlock == nil {
		return
	}
	w.packing.Abort()  // does nothing after a flush
	w.core.Index = nil // the log may name more index objects now
	if w.lease != nil {
		w.lease.Release()
	}
	w.journal.Close()
	w.unlock()
	w.unlock = nil
}
