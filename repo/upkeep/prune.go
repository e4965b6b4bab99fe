package upkeep

import (
	"context"
	"errors"
	"time"

	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/inspection"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/logbook"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

const (
	// DefaultMaxUnused is the share of a pack that may be dead before it is rewritten.
	DefaultMaxUnused = 0.05

	// maxPruned is how many packs one entry names, far below ledger.MaxEntryObject. The rest waits for the next prune.
	maxPruned = 100_000

	// pruneTries is how often a prune or a repair begins again because others have added to the log.
	pruneTries = 8
)

// PruneOptions say what a prune may do.
type PruneOptions struct {
	MaxUnused float64       // share of a pack, 0 to 1, that may be dead before it is rewritten
	Grace     time.Duration // age at which what no log entry names is left over; 0: ledger.Grace. A writer's is never shorter than that
	DryRun    bool          // only tell what would be done; puts nothing but a lease, to learn the storage's time
	Forgotten []store.Name  // with DryRun: tell what would be done once these snapshots are forgotten too
	Patience  time.Duration // how long to wait for others who are at work

	// Progress, if not nil, is told how far a phase is. The phases are marking, rewriting and deleting; they count snapshots,
	// packs and objects. One goroutine calls it.
	Progress func(phase string, done, total int64)

	// AcceptLost prunes though snapshots lack blobs that no index object lists. A blob that is listed and not there
	// is an error all the same, and so is one that RepairIndex may still find.
	AcceptLost bool

	// Records are what the entry says of the times of the snapshots below it. Those that this key may not make are left out.
	Records []ledger.Record

	lean bool // write nothing but the entry, and a short one
	most int  // packs that one try rewrites; 0: any number
}

func (o *PruneOptions) progress(phase string, done, total int64) {
	if o.Progress != nil {
		o.Progress(phase, done, total)
	}
}

// packs returns how many packs one entry may name.
func (o *PruneOptions) packs() int {
	if o.lean {
		return leanPacks
	}
	return maxPruned
}

// A PruneResult says what a prune did, or would do.
type PruneResult struct {
	Live       int64 // bytes of blobs that snapshots need
	Dead       int64 // bytes of blobs in known packs that none needs
	Removed    int   // packs deleted, rewritten and left-over ones included
	Freed      int64 // stored bytes that went
	Rewritten  int   // packs of which the live part was moved
	Moved      int64 // stored bytes written for them
	Waiting    int   // packs that should be rewritten and that this key can't read
	WaitingFor int64 // dead bytes in them
	Manifests  int   // of forgotten snapshots, deleted
	LeftOver   int   // objects deleted that no log entry named, junk included
	Lost       int   // blobs that snapshots lack
}

// Prune deletes what no snapshot needs.
//
// It decides by the log as it stands, publishes what goes as the very next entry, and only then deletes. A snapshot below that
// entry was marked, and one above it has read it. tryPrune has the steps, and what each leaves behind when we die.
//
// Prune begins again when others have added to the log meanwhile, and calls inspect anew for each try. On a full storage it
// makes room first, for which it may take the reserve. It puts the reserve back at the end; if we die before, the next prune does.
//
// After an error no snapshot is worse off: some of what should go is still there, and what the try has put may be left over.
// The error is a ledger.NotAllowedError for a key that may not prune. It is a lease.LockedError when others were at work for
// longer than Patience, or kept adding to the log. It is store.ErrNoSpace with cause.NoRoom when no room could be made. Where
// damage stands in the way it is a cause.Error or a store.DamageError, and the try has deleted nothing.
func Prune(ctx context.Context, r *repo.Repo, inspect inspection.Maker, o PruneOptions) (*PruneResult, error) {
	c := r.Core()
	if o.Grace == 0 || c.Key.Role != keys.RoleOwner {
		o.Grace = max(o.Grace, ledger.Grace)
	}
	if o.DryRun {
		return prune(ctx, c, c.TimeOfPreview, inspect, o)
	}
	if err := readyToPrune(ctx, c); err != nil {
		return nil, err
	}
	var lease *lease.Lease
	m := &room{core: c, grace: o.Grace}
	err := m.within(ctx, func() (err error) {
		lease, err = c.NewLease(ctx, "prune")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	if err := lease.Wait(ctx, o.Patience); err != nil {
		return nil, err
	}
	res, err := prune(ctx, c, lease.Now, inspect, o)
	if errors.Is(err, store.ErrNoSpace) {
		res, err = pruneFull(ctx, c, m, lease, inspect, o)
	}
	if err != nil {
		return nil, err
	}
	if err := c.PutReserve(ctx); err != nil {
		c.Note("%v", err)
	}
	return res, nil
}

// prune calls tryPrune until no other entry comes before its own. clock tells the storage's time.
func prune(ctx context.Context, c *core.Core, clock func(context.Context) (time.Time, error), inspect inspection.Maker, o PruneOptions) (*PruneResult, error) {
	for range pruneTries {
		res, err := tryPrune(ctx, c, clock, inspect, o)
		switch {
		case errors.Is(err, logbook.ErrNewcomers), err != nil && !errors.Is(err, store.ErrNoSpace) && c.Log.HasGrown(ctx):
			c.Note("the log has grown meanwhile: prune starts again")
		case !index.IsTableDamage(err): // else this machine's table of the index is damaged: the next try builds it anew
			return res, err
		}
	}
	return nil, &cause.Error{Cause: cause.Outrun, Err: &lease.LockedError{By: "others kept adding to the log"}}
}

// tryPrune goes through a prune once, from phase to phase. Each makes one value of those before it:
//
//	survey     what there is: what the index lists, and what the storage has of it
//	marks      what snapshots need of that
//	prunePlan  what goes, and the entry that says so
//	rewritten  the packs and index objects that were put for that entry to reference
//
// An object is deleted only after an entry names it, unless it is an upload that was given up or junk: nothing references these.
func tryPrune(ctx context.Context, c *core.Core, clock func(context.Context) (time.Time, error), inspect inspection.Maker, o PruneOptions) (*PruneResult, error) {
	if err := readyToPrune(ctx, c); err != nil {
		return nil, err
	}
	if o.DryRun {
		c = c.Supposing(o.Forgotten)
	}
	now, err := clock(ctx)
	if err != nil {
		return nil, err
	}

	// Survey, mark and plan. The first two only read, and the third does no I/O. If we die here the storage is as it was.
	s, err := takeSurvey(ctx, c, now, o.Grace)
	if err != nil {
		return nil, err
	}
	m, err := mark(ctx, c, s, inspect, o)
	if err != nil {
		return nil, err
	}
	p := planPrune(s, m, o)
	switch {
	case o.DryRun:
		return &p.result, nil
	case p.empty():
		// Nothing goes that needs a new entry. If we die here any later prune deletes the rest.
		return &p.result, sweep(ctx, c, p.deletes, o.progress)
	}

	// Verify: this reads the copy that stays of every blob of which another copy goes. If one can't be read nothing goes.
	if err := readDuplicates(ctx, c, s, m, p); err != nil {
		return nil, err
	}

	// Rewrite: this puts new packs and index objects. If we die here they are left over: no entry names them, and a later prune
	// deletes them once they are old. All that there was is still there, and counts.
	w, err := rewrite(ctx, c, s.index, p, liveMover(c, s.index, m.live), o.progress)
	if err != nil {
		return nil, err
	}

	// Publish: this puts one object, the entry, upon the head that the plan was made by. If we die and it is not there, all is as
	// after the rewriting. If it is there, what it names no longer counts, and the new packs and index objects do.
	if err := publishPlan(ctx, c, p, w); err != nil {
		return nil, err
	}

	// Sweep: this deletes what the entry names. If we die here the rest is still there. The survey of any later prune finds it, and
	// that prune deletes it without a further entry.
	res := p.result
	res.Moved = w.size
	return &res, sweep(ctx, c, p.deletes, o.progress)
}

// readyToPrune takes what was added to the log, and returns an error where that is damaged.
func readyToPrune(ctx context.Context, c *core.Core) error {
	if err := c.Log.CatchUp(ctx); err != nil {
		return err
	}
	return sound(c)
}

// sound returns an error where the log is damaged as far as it was read.
func sound(c *core.Core) error {
	if damage := c.Log.Damage(); len(damage) > 0 {
		return cause.Errorf(cause.LogUnsound, "refusing to prune with a damaged log: %w", damage[0])
	}
	return nil
}

// publishPlan publishes the plan's entry, which names what was written for it too.
func publishPlan(ctx context.Context, c *core.Core, p *prunePlan, w *rewritten) error {
	entry := p.entry
	entry.Added = w.indexes
	err := c.Log.PublishAt(ctx, p.head, &ledger.Entry{Prune: &entry})
	if errors.Is(err, logbook.ErrNewcomers) || errors.Is(err, store.ErrNoSpace) {
		discard(c, w)
	}
	if err != nil {
		// After any other error the entry may stand all the same. So what it references stays, and is left over if it does not.
		return err
	}
	c.Index = nil
	return nil
}

// sweep deletes objects that prune entries name, uploads that were given up, and junk.
func sweep(ctx context.Context, c *core.Core, deletes []string, progress func(phase string, done, total int64)) error {
	if len(c.Log.OutOfReach) > 0 {
		if err := c.Log.CatchUp(ctx); err != nil {
			return err
		}
	}
	var names []string
	for _, object := range deletes {
		// Junk under a number of the log stays if the log has grown near that number meanwhile: entries may stand above it.
		if _, far := c.Log.OutOfReach[object]; !far || c.Log.IsOutOfReach(object) {
			names = append(names, object)
		}
	}
	return c.RemoveAll(ctx, names, func(done int) { progress("deleting", int64(done), int64(len(names))) })
}
