package upkeep

import (
	"context"
	"errors"
	"maps"
	"slices"

	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// Needs are what snapshots need of packs that no index object lists.
type needs struct {
	packs   map[string][]store.Name // by instance
	lacking bool                    // something was not found, or could not be looked for
}

// A looker looks for what snapshots need.
type looker struct {
	needs
	core     *core.Core
	known    *index.Index // as the storage has it
	unlisted *unlisted
	inspect  inspection.Maker
	opts     RepairOptions
}

// lookFor looks for what snapshots need, in an index and then in the packs that it does not list.
func lookFor(ctx context.Context, c *core.Core, known *index.Index, u *unlisted, inspect inspection.Maker, o RepairOptions) (*needs, error) {
	k := &looker{core: c, known: known, unlisted: u, inspect: inspect, opts: o, needs: needs{packs: make(map[string][]store.Name)}}
	instances := make(map[string][]ledger.SnapshotRef)
	for _, s := range c.Log.Snapshots.Live() {
		instances[s.Instance] = append(instances[s.Instance], s)
	}
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		names, err := k.need(ctx, instance, instances[instance])
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			k.packs[instance] = names
		}
	}
	return &k.needs, nil
}

// need returns the packs that are to be listed for an instance. Each round finds what the one before could not look
// for, its listings and recipes being lost too.
func (k *looker) need(ctx context.Context, instance string, snapshots []ledger.SnapshotRef) ([]store.Name, error) {
	with := k.known
	for {
		l, err := k.look(ctx, with.For(instance), snapshots)
		if err != nil || !l.lacks {
			return l.needed(with), err
		}
		more, err := k.unlisted.readAll(ctx, k.known)
		if err != nil || !more && with != k.known {
			k.lacking = true
			return l.needed(with), err
		}
		if with, err = k.core.Indexes.Extend(k.known, k.core.Log.History, instance, k.unlisted.of(instance)); err != nil {
			return nil, err
		}
	}
}

// A look is what the snapshots of an instance need of packs that no index object lists for it. It is the Visitor of these.
type look struct {
	known *index.Index // as the storage has it
	of    *index.Index // what is known for the instance, and what was found beside that

	uses  map[uint32]bool // packs, as the index numbers them
	lacks bool            // there is something that none of these holds, or that could not be looked for
}

func (l *look) needed(x *index.Index) (names []store.Name) {
	for _, n := range slices.Sorted(maps.Keys(l.uses)) {
		names = append(names, x.Packs[n].Name)
	}
	return names
}

// look finds every blob of some snapshots in an index: that of the storage, and what was found beside that.
func (k *looker) look(ctx context.Context, of *index.Index, snapshots []ledger.SnapshotRef) (*look, error) {
	l := &look{uses: make(map[uint32]bool), known: k.known, of: of}
	in := k.inspect(repo.ReaderOf(k.core, of))
	for i, s := range snapshots {
		k.opts.progress("looking", int64(i), int64(len(snapshots)))
		text, err := k.core.Manifest(ctx, s)
		if err == nil {
			_, err = in.Inspect(ctx, text, l)
		}
		if d := (*store.DamageError)(nil); err != nil && (!errors.As(err, &d) || errors.Is(err, store.ErrNewerFormat)) {
			return l, err
		}
		l.lacks = l.lacks || err != nil // what the manifest leads to could not be looked for
	}
	return l, ctx.Err()
}

// Lost implements Visitor.
func (l *look) Lost(string, error) error {
	l.lacks = true // what lies behind it could not be looked for
	return nil
}

// Need implements Visitor: it notes where a blob lies.
func (l *look) Need(_ context.Context, n inspection.Need) error {
	var room [4]index.Place
	places, err := l.of.Find(n.Blob, room[:0])
	if err != nil {
		return err
	}
	listed := func(pl index.Place) bool { return int(pl.Pack) < len(l.known.Packs) && !l.of.Packs[pl.Pack].Reported }
	if slices.ContainsFunc(places, listed) {
		return nil
	}
	for _, pl := range places {
		if int(pl.Pack) >= len(l.known.Packs) {
			l.uses[pl.Pack] = true
		}
	}
	l.lacks = l.lacks || len(places) == 0
	return nil
}
