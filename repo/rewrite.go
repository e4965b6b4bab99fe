package repo

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"permafrost/chunk"
	"permafrost/internal/hint"
)

// touched returns the index objects that list a pack which goes, as the index numbers them: those too of which the listing
// is hidden, since another one says the same.
func (p *prunePlan) touched() []uint32 {
	goes := make(map[Name]bool)
	for _, n := range slices.Concat(p.dead, p.rewrite) {
		goes[p.index.packs[n].name] = true
	}
	objects := make(map[uint32]bool)
	for i := range p.index.packs {
		ip := &p.index.packs[i]
		if goes[ip.name] && p.index.objects[ip.object].live {
			objects[ip.object] = true
		}
	}
	return slices.Sorted(maps.Keys(objects))
}

// goes reports by pack which go.
func (p *prunePlan) goes() bitset {
	g := newBitset(len(p.index.packs))
	for _, n := range slices.Concat(p.dead, p.rewrite) {
		g.set(int(n))
	}
	return g
}

// readDuplicates reads each blob of which a copy goes that was chosen against, wherever it stays for the same instance: copies
// of others serve none of its snapshots. The index objects that say where are read before.
func (p *prunePlan) readDuplicates(ctx context.Context) error {
	goes := p.goes()
	var stay []wanted
	for _, o := range p.touched() {
		for l, err := range p.repo.listings(ctx, p.index, int(o)) {
			if err != nil {
				return err
			}
			if !goes.has(int(l.n)) {
				continue
			}
			if stay, err = p.staying(stay, l, goes); err != nil {
				return err
			}
		}
	}
	if err := p.readListings(ctx, stay, goes); err != nil {
		return err
	}
	all := byPack(slices.DeleteFunc(stay, func(w wanted) bool { return !p.canRead(&p.index.packs[w.pack]) }))
	for i := range all {
		all[i] = slices.Compact(all[i])
	}
	failed, err := p.packs.fetch(ctx, all, func(chunk.ID, []byte) error { return nil })
	if err != nil {
		return err
	}
	for _, err := range failed {
		return hint.Wrap(fmt.Errorf("a copy that is to stay can't be read, nothing is pruned: %w", err), "run `permafrost check --read-data`")
	}
	return nil
}

// staying appends all copies that stay, for the same instance, of the blobs of a pack that goes.
func (p *prunePlan) staying(stay []wanted, l packListing, goes bitset) ([]wanted, error) {
	var room [4]place
	of := p.index.of(p.index.packs[l.n].instance)
	for _, f := range l.frames {
		for _, b := range f.blobs {
			places, err := of.find(b.id, room[:0])
			if err != nil {
				return nil, err
			}
			for _, pl := range places {
				if p.live.has(pl.rank) && !goes.has(int(pl.pack)) {
					stay = append(stay, wanted{b.id, pl})
				}
			}
		}
	}
	return stay, nil
}

// readListings reads the index objects from the storage that are leant on. This machine may know still what they said when the
// storage has spoilt them, and no other one would find what is left.
func (p *prunePlan) readListings(ctx context.Context, stay []wanted, goes bitset) error {
	read := func(ctx context.Context, n Name) ([]byte, error) { return p.repo.indexData(ctx, n, false, false) }
	for o := range ahead(ctx, p.leantOn(stay, goes), read) {
		if o.err != nil {
			return hint.Wrap(fmt.Errorf("what is to stay is listed there, nothing is pruned: %w", o.err),
				"run `permafrost check`, then `permafrost repair index` with the owner key")
		}
	}
	return nil
}

// leantOn returns the index objects that list copies which stay while others go, and those that list a pack which stays as one
// does that lists a pack which goes: where that one is replaced, it is listed there alone.
func (p *prunePlan) leantOn(stay []wanted, goes bitset) (names []Name) {
	objects := make(map[uint32]bool)
	for _, w := range stay {
		objects[p.index.packs[w.pack].object] = true
	}
	for _, n := range p.touched() {
		o := &p.index.objects[n]
		for i := range o.packs {
			double := &p.index.packs[o.first+i]
			for _, m := range p.index.listed(double.name) {
				if ip := &p.index.packs[m]; ip.object != n && !goes.has(int(m)) && ip.saysTheSame(double) {
					objects[ip.object] = true
				}
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(objects)) {
		names = append(names, p.index.objects[n].name)
	}
	return names
}

// A home is where packs are indexed together: those of one instance, under one epoch's keys.
type home struct {
	instance string
	epoch    uint32
}

func (h home) compare(o home) int {
	return cmp.Or(cmp.Compare(h.instance, o.instance), cmp.Compare(h.epoch, o.epoch))
}

// A mover adds to g what is to be kept of a pack.
type mover func(ctx context.Context, g *packing, l packListing) error

// move writes what is to be kept of the packs that are rewritten into new ones.
func (p *prunePlan) move(ctx context.Context, movePack mover) (map[home][]*pack, error) {
	rewrite := newBitset(len(p.index.packs))
	homes := make(map[home]map[uint32]bool) // and the index objects that list packs of each
	for _, n := range p.rewrite {
		rewrite.set(int(n))
		ip := &p.index.packs[n]
		h := home{ip.instance, ip.epoch}
		if homes[h] == nil {
			homes[h] = make(map[uint32]bool)
		}
		homes[h][ip.object] = true
	}
	moved := make(map[home][]*pack)
	done := int64(0)
	for _, h := range slices.SortedFunc(maps.Keys(homes), home.compare) {
		objects := homes[h]
		g := newPacking(ctx, p.repo.store, p.index.keys.Epoch(h.epoch), h.instance, func(np *pack) error {
			moved[h] = append(moved[h], np)
			p.res.Moved += np.size
			return nil
		})
		defer g.cancel(nil)
		for _, o := range slices.Sorted(maps.Keys(objects)) {
			for l, err := range p.repo.listings(ctx, p.index, int(o)) {
				if err == nil && rewrite.has(int(l.n)) && l.epoch == h.epoch {
					p.progress("rewriting", done, int64(len(p.rewrite)))
					done++
					err = movePack(ctx, g, l)
				}
				if err != nil {
					g.abort()
					return moved, err
				}
			}
		}
		if err := g.flush(); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// movePack adds a pack's live blobs to g, in their order.
func (p *prunePlan) movePack(ctx context.Context, g *packing, l packListing) error {
	var frames []uint32
	var places [4]place
	want := make([][]wanted, len(l.frames))
	for i, f := range l.frames {
		offset := uint32(0)
		for _, b := range f.blobs {
			found, err := p.index.find(b.id, places[:0])
			if err != nil {
				return err
			}
			for _, pl := range found {
				if pl.pack == l.n && int(pl.frame) == i && pl.offset == offset && p.live.has(pl.rank) {
					want[i] = append(want[i], wanted{b.id, pl})
				}
			}
			offset += uint32(b.length)
		}
		if len(want[i]) > 0 {
			frames = append(frames, uint32(i))
		}
	}
	var room packRoom
	src, err := p.packs.open(ctx, l.n, frames, &room)
	if err != nil {
		return err
	}
	for _, i := range frames {
		plain, err := p.packs.decode(src, frameKey{l.n, i}, &room)
		if err != nil {
			return err
		}
		for _, b := range want[i] {
			data, err := p.packs.cut(plain, b.place, b.id)
			if err != nil {
				return err
			}
			if err := g.add(ctx, l.component, blobRef{b.id, len(data)}, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// reindex writes index objects for the moved packs, and for what stays of every index object that lists one that goes.
func (p *prunePlan) reindex(ctx context.Context, moved map[home][]*pack) error {
	// What can't be replaced stays as it is: it lists packs that are gone then, until all of them are (see spent).
	touched := slices.DeleteFunc(p.touched(), func(o uint32) bool { return !p.replaceable(o) })
	instances := make(map[string]bool)
	for _, o := range touched {
		instances[p.index.objects[o].instance] = true
		p.entry.Indexes = append(p.entry.Indexes, p.index.objects[o].name)
	}
	for h := range moved {
		instances[h.instance] = true
	}
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		names, err := p.repo.putIndexes(ctx, instance, p.stays(ctx, instance, touched, moved))
		p.entry.Added = append(p.entry.Added, names...)
		if err != nil {
			return err
		}
	}
	return nil
}

// replaceable reports whether an index object may give way to one that this key signs: it may be dropped, and is trusted.
// What the new signature vouches for is deduplicated against, and nobody has read what a removed writer listed.
func (p *prunePlan) replaceable(o uint32) bool {
	me := p.repo.log.scope(p.repo.key.verifyKey())
	return p.index.objects[o].trusted && p.repo.log.mayDrop(me, p.index.objects[o].name)
}

// stays yields the packs of an instance that the touched index objects list and that stay, and those that were moved.
func (p *prunePlan) stays(ctx context.Context, instance string, touched []uint32, moved map[home][]*pack) iter.Seq2[*pack, error] {
	return func(yield func(*pack, error) bool) {
		goes := p.goes()
		for _, o := range touched {
			if p.index.objects[o].instance != instance {
				continue
			}
			for l, err := range p.repo.listings(ctx, p.index, int(o)) {
				if err == nil && (goes.has(int(l.n)) || p.index.packs[l.n].gone) {
					continue
				}
				if !yield(l.pack, err) || err != nil {
					return
				}
			}
		}
		for _, h := range slices.SortedFunc(maps.Keys(moved), home.compare) {
			if h.instance != instance {
				continue
			}
			for _, np := range moved[h] {
				if !yield(np, nil) {
					return
				}
			}
		}
	}
}
