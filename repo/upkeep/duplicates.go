package upkeep

import (
	"context"
	"maps"
	"slices"

	"permafrost/chunk"
	"permafrost/repo/cause"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/store"
)

// survivors are the copies of blobs that stay while others go, for the same instance: those of others serve none of its snapshots.
type survivors struct {
	*survey
	core *core.Core
	live index.Bitset
	plan *prunePlan
	stay []blobs.Wanted
}

// readDuplicates reads the surviving copy of every blob whose other copy is about to be deleted. It reads the index objects that
// say where before.
func readDuplicates(ctx context.Context, c *core.Core, s *survey, m *marks, p *prunePlan) error {
	d := &survivors{survey: s, core: c, live: m.live, plan: p}
	for _, o := range p.touched {
		for l, err := range c.Indexes.Packs(ctx, s.index, int(o)) {
			if err == nil && p.goes.Has(int(l.N)) {
				err = d.staying(l)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := d.readListings(ctx); err != nil {
		return err
	}
	return d.readCopies(ctx)
}

// staying notes all copies that stay, for the same instance, of the blobs of a pack that goes.
func (d *survivors) staying(l index.NumberedPack) error {
	var room [4]index.Place
	of := d.index.For(d.index.Packs[l.N].Instance)
	for _, f := range l.Frames {
		for _, b := range f.Blobs {
			places, err := of.Find(b.ID, room[:0])
			if err != nil {
				return err
			}
			for _, pl := range places {
				if d.live.Has(pl.Rank) && !d.plan.goes.Has(int(pl.Pack)) {
					d.stay = append(d.stay, blobs.Wanted{ID: b.ID, Place: pl})
				}
			}
		}
	}
	return nil
}

// readListings reads the index objects that list what stays, from the storage. This machine may have copies of them though the
// storage has damaged them, and no other machine would find what is left.
func (d *survivors) readListings(ctx context.Context) error {
	if err := d.core.Indexes.Read(ctx, d.relied()); err != nil {
		return cause.Errorf(cause.IndexDamaged, "refusing to prune: content that is to stay is listed there: %w", err)
	}
	return nil
}

// relied returns the index objects that must be readable when the plan is done. They list a copy that stays while another goes; or
// a pack that stays and that an index object which gives way lists too, so that it is then listed there alone.
func (d *survivors) relied() (names []store.Name) {
	objects := make(map[uint32]bool)
	for _, w := range d.stay {
		objects[d.index.Packs[w.Pack].Object] = true
	}
	for _, n := range d.plan.touched {
		o := &d.index.Objects[n]
		for i := range o.Packs {
			double := &d.index.Packs[o.First+i]
			for _, m := range d.index.Listed(double.Name) {
				if ip := &d.index.Packs[m]; ip.Object != n && !d.plan.goes.Has(int(m)) && ip.SaysTheSame(double) {
					objects[ip.Object] = true
				}
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(objects)) {
		names = append(names, d.index.Objects[n].Name)
	}
	return names
}

// readCopies reads the copies that stay, as far as this key can.
func (d *survivors) readCopies(ctx context.Context) error {
	all := blobs.ByPack(slices.DeleteFunc(d.stay, func(w blobs.Wanted) bool { return !d.canRead(&d.index.Packs[w.Pack]) }))
	for i := range all {
		all[i] = slices.Compact(all[i])
	}
	packs := blobs.NewReader(d.core.Store, d.index, blobs.NewRooms(d.core.Store), false)
	failed, err := packs.Fetch(ctx, all, func(chunk.ID, []byte) error { return nil })
	if err != nil {
		return err
	}
	for _, err := range failed {
		return cause.Errorf(cause.CopyUnread, "refusing to prune: a copy that is to stay can't be read: %w", err)
	}
	return nil
}
