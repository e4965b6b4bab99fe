package upkeep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/inspection"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/headers"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/logbook"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// RepairOptions say how a repair is done.
type RepairOptions struct {
	DryRun   bool          // only tell what would be done
	Patience time.Duration // how long to wait for others who are at work
	Problem  func(error)   // hears of each object that can't be repaired; may be nil
	Progress func(phase string, done, total int64)
}

func (o *RepairOptions) progress(phase string, done, total int64) {
	if o.Progress != nil {
		o.Progress(phase, done, total)
	}
}

// An IndexRepair says what RepairIndex did, or would do.
type IndexRepair struct {
	Dropped []store.Name // index objects that are missing, damaged or false: the log names them no more
	Read    int          // packs that were read, to see what is in them
	Listed  int          // of these, packs that an index object lists now
	Damaged []store.Name // of these, packs that are damaged, and that RepairPacks can salvage
	Added   int          // index objects that were written
	Lacking bool         // content that snapshots need was not found, or could not be looked for
}

// RepairIndex makes the index whole: index objects that are missing or damaged, or list what was written for another
// instance, are taken off the log; and packs that hold what a snapshot needs and no index object lists are read, verified
// and listed. It takes the owner key.
func RepairIndex(ctx context.Context, r *repo.Repo, inspect inspection.Maker, o RepairOptions) (*IndexRepair, error) {
	c := r.Core()
	spool, err := c.Machine.Spool()
	if err != nil {
		return nil, err
	}
	defer spool.Close()
	u := &unlisted{core: c, opts: o, tried: make(map[store.Name]bool), found: spool, damaged: make(map[store.Name]bool), names: make(map[string][]store.Name)}
	var res *IndexRepair
	err = repair(ctx, c, "repair of the index", o, func(ctx context.Context) (err error) {
		res, err = tryRepairIndex(ctx, c, u, inspect, o)
		return err
	})
	return res, err
}

// repair takes a lease, and calls try until no other entry comes before its own.
func repair(ctx context.Context, c *core.Core, what string, o RepairOptions, try func(context.Context) error) error {
	if !c.Key.CanRead() {
		return &keys.MissingKeyError{Need: "the owner key (-i RECOVERY-FILE): a repair reads what is stored", For: "a repair"}
	}
	held, err := c.NewLease(ctx, what)
	if err != nil {
		return err
	}
	defer held.Release()
	if err := held.Wait(ctx, o.Patience); err != nil {
		return err
	}
	for range pruneTries {
		if err := readyToRepair(ctx, c, o); err != nil {
			return err
		}
		err := try(ctx)
		switch {
		case errors.Is(err, logbook.ErrNewcomers), err != nil && c.Log.HasGrown(ctx):
			c.Note("the log has grown meanwhile: the repair starts again")
		case !index.IsTableDamage(err): // else this machine's table of the index is damaged: the next try builds it anew
			return err
		}
	}
	return cause.Of(cause.Outrun, &lease.LockedError{By: "others kept adding to the log"})
}

// readyToRepair returns an error where nothing can be repaired by the log as it now stands. A log that has lost its newest keys does not
// come so far: no lease can be taken under them.
func readyToRepair(ctx context.Context, c *core.Core, o RepairOptions) error {
	err := c.Log.CatchUp(ctx)
	if err != nil || o.DryRun && c.AcceptHead {
		return err
	}
	if !o.DryRun {
		if err := c.Log.AcceptDamage(ctx); err != nil {
			return err
		}
	}
	return c.Log.MayAdd(&ledger.Entry{Prune: new(ledger.PruneEntry)})
}

// tryRepairIndex goes through a repair once. What packs that were read hold stays in u for the next time.
func tryRepairIndex(ctx context.Context, c *core.Core, u *unlisted, inspect inspection.Maker, o RepairOptions) (*IndexRepair, error) {
	// Survey, look and plan: these only read. If we die here the storage is as it was.
	s, err := surveyIndex(ctx, c)
	if err != nil {
		return nil, err
	}
	n, err := lookFor(ctx, c, s.index, u, inspect, o)
	if err != nil {
		return nil, err
	}
	p := planIndex(s, n, u.damaged)
	p.result.Read = u.count
	if o.DryRun || p.empty() {
		return &p.result, nil
	}

	// Report damaged packs, before an index object lists them and anybody can reference them. If we die here they are reported, and
	// not listed yet.
	head := p.head
	if len(p.result.Damaged) > 0 {
		if head, err = reportAt(ctx, c, head, p.result.Damaged); err != nil {
			return nil, err
		}
	}

	// List: new index objects. If we die here they are left over, as those of a prune: no entry names them.
	w := new(rewritten)
	for _, instance := range slices.Sorted(maps.Keys(p.packs)) {
		added, err := c.PutIndexes(ctx, instance, u.found.Packs(p.packs[instance]))
		w.indexes = append(w.indexes, added...)
		if err != nil {
			return nil, err
		}
	}

	// Publish: the entry takes off the log what can't be read, and adds the new ones. It deletes nothing: a prune does.
	if err := publishPlan(ctx, c, &prunePlan{head: head, entry: ledger.PruneEntry{Indexes: p.result.Dropped}}, w); err != nil {
		return nil, err
	}
	p.result.Added = len(w.indexes)
	return &p.result, nil
}

// An indexSurvey is what the log and the storage say of the index.
type indexSurvey struct {
	head    ledger.Head  // of the log, as it stands
	index   *index.Index // as the storage has it, but for index objects with a false listing
	dropped []store.Name // index objects that are missing or damaged, or have a false listing
}

// surveyIndex reads the index from the storage, and the header of every pack that it lists.
func surveyIndex(ctx context.Context, c *core.Core) (*indexSurvey, error) {
	head := c.Log.Head
	x, err := wholeIndex(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := headers.SortOut(ctx, c, c.Log.History, x, x.Names(), headers.NoteError(c), headers.Ignore); err != nil {
		return nil, err
	}
	lost := unread(c.Log.History, x)
	return &indexSurvey{head, x, append(lost, x.DropFalse()...)}, nil
}

// wholeIndex returns the index as the storage has it, without the index objects that are missing or damaged.
func wholeIndex(ctx context.Context, c *core.Core) (*index.Index, error) {
	return c.Indexes.LoadAnew(ctx, c.Log.History, func(err error) error {
		if errors.Is(err, store.ErrNewerFormat) && !c.AcceptHead {
			// It is not damaged: we don't understand it. Or somebody with a key has made it to stop us.
			return cause.Of(cause.IndexNewer, err)
		}
		return nil
	})
}

// unread returns the index objects that the log names and that x lacks.
func unread(h *ledger.History, x *index.Index) (lost []store.Name) {
	have := make(map[store.Name]bool)
	for i := range x.Objects {
		have[x.Objects[i].Name] = true
	}
	for ref := range h.Indexes.All() {
		if !have[ref.Name] {
			lost = append(lost, ref.Name)
		}
	}
	return lost
}

// An indexPlan says what the log is to name no more, and what is to be listed anew.
type indexPlan struct {
	head   ledger.Head             // of the log that it was made by
	packs  map[string][]store.Name // by the instance that they are listed for
	result IndexRepair             // without what packs are read and index objects written
}

// planIndex decides what is listed. damaged are the packs with damage.
func planIndex(s *indexSurvey, n *needs, damaged map[store.Name]bool) *indexPlan {
	p := &indexPlan{head: s.head, packs: n.packs, result: IndexRepair{Dropped: s.dropped, Lacking: n.lacking}}
	for _, instance := range slices.Sorted(maps.Keys(n.packs)) {
		for _, name := range n.packs[instance] {
			p.result.Listed++
			if damaged[name] {
				p.result.Damaged = append(p.result.Damaged, name)
			}
		}
	}
	return p
}

// empty reports whether the index is as it should be.
func (p *indexPlan) empty() bool { return len(p.result.Dropped)+len(p.packs) == 0 }

// eachPack calls f with each pack on the storage. None at all is an error where there are snapshots: what would be made
// of a storage that gives nothing is an empty repository.
func eachPack(ctx context.Context, c *core.Core, f func(name store.Name, o store.Object)) error {
	n := 0
	for o, err := range c.Store.List(ctx, store.Pack.Dir()) {
		if err != nil {
			return fmt.Errorf("listing packs: %w", err)
		}
		if kind, name := store.Parse(o.Name); kind == store.Pack {
			n++
			f(name, o)
		}
	}
	if n == 0 && len(c.Log.Snapshots.Live()) > 0 {
		return cause.Errorf(cause.NoPacks, "there is not a single pack on the storage")
	}
	return nil
}
