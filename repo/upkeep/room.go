package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"permafrost/repo/cause"
	"permafrost/repo/inspection"
	"permafrost/repo/internal/core"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

const (
	// leanPacks is how many packs the entry of a prune names that has the reserve's room and no more: 67 bytes each.
	leanPacks = 5000

	// mostRewritten is how many packs a prune rewrites at once where the storage was full, in the first try.
	mostRewritten = 64
)

// A room makes room on a full storage, step by step: the least harmful first. Nothing goes that an index lists, unless a
// published entry names it: somebody may be about to deduplicate against it.
type room struct {
	core  *core.Core
	grace time.Duration
	steps int // how many were taken; each is taken once
}

// within runs f, and again after each step that has made room. f runs out of room at the latest where it has done nothing.
func (m *room) within(ctx context.Context, f func() error) error {
	err := f()
	for errors.Is(err, store.ErrNoSpace) {
		if mayPrune(m.core) != nil {
			return err
		}
		steps := []func(context.Context) (bool, error){m.sweep, m.takeReserve}
		if m.steps == len(steps) {
			return &cause.Error{Cause: cause.NoRoom, Err: err}
		}
		step := steps[m.steps]
		m.steps++
		made, cause := step(ctx)
		if cause != nil {
			return fmt.Errorf("%w; making room: %w", err, cause)
		}
		if made {
			err = f()
		}
	}
	return err
}

// sweep deletes what published entries name already, stale leases, and what interrupted uploads left.
func (m *room) sweep(ctx context.Context) (made bool, err error) {
	now, err := m.core.LastTime(ctx)
	if err != nil {
		return false, err
	}
	s, err := takeSurvey(ctx, m.core, now, m.grace)
	if err != nil {
		return false, err
	}
	var names []string
	for _, o := range s.deletable {
		names = append(names, o.Name)
	}
	for o, err := range m.core.Store.List(ctx, store.Lease.Dir()) {
		if err != nil {
			return false, fmt.Errorf("listing leases: %w", err)
		}
		if now.Sub(o.Time) > lease.Life {
			names = append(names, o.Name)
		}
	}
	return len(names) > 0, sweep(ctx, m.core, names, func(string, int64, int64) {})
}

// takeReserve removes the reserve.
func (m *room) takeReserve(ctx context.Context) (made bool, err error) {
	err = m.core.Store.Remove(ctx, store.ReserveObject)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// publishOnFull is [logbook.Log.Publish] for an entry by which room is made: it makes room for the entry itself.
func publishOnFull(ctx context.Context, c *core.Core, e *ledger.Entry, check func(*ledger.History) error) error {
	m := &room{core: c, grace: ledger.Grace}
	if err := m.within(ctx, func() error { return c.Log.Publish(ctx, e, check) }); err != nil || m.steps == 0 {
		return err
	}
	if err := c.PutReserve(ctx); err != nil {
		c.Note("%v: run `permafrost prune` next", err)
	}
	return nil
}

// pruneFull is Prune on a storage that has no room for all of it. Packs that are dead as a whole go first: that takes a log
// entry and nothing else. Then others are rewritten, as many at once as there is room for.
func pruneFull(ctx context.Context, c *core.Core, m *room, lease *lease.Lease, inspect inspection.Maker, o PruneOptions) (*PruneResult, error) {
	var all PruneResult
	o.lean = true
	err := m.within(ctx, func() error {
		res, err := prune(ctx, c, lease.Now, inspect, o)
		if err == nil {
			all.add(res)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	o.lean = false
	for o.most = mostRewritten; o.most > 0; {
		res, err := prune(ctx, c, lease.Now, inspect, o)
		switch {
		case errors.Is(err, store.ErrNoSpace):
			o.most /= 2
		case err != nil:
			return nil, err
		default:
			if all.add(res); res.Rewritten < o.most {
				return &all, nil
			}
		}
	}
	c.Note("there is no space to rewrite packs that are partly unused: they wait for a prune with more space")
	return &all, nil
}

// add counts what one more prune has done.
func (p *PruneResult) add(o *PruneResult) {
	sum := *o
	sum.Removed += p.Removed
	sum.Freed += p.Freed
	sum.Rewritten += p.Rewritten
	sum.Moved += p.Moved
	sum.Manifests += p.Manifests
	sum.LeftOver += p.LeftOver
	*p = sum
}
