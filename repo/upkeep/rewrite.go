package upkeep

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"
)

// A home is where packs are indexed together: those of one instance, under one epoch's keys.
type home struct {
	instance string
	epoch    uint32
}

func (h home) compare(o home) int {
	return cmp.Or(cmp.Compare(h.instance, o.instance), cmp.Compare(h.epoch, o.epoch))
}

// A mover adds to g what is to be kept of a pack.
type mover func(ctx context.Context, g *pack.Pipeline, l index.NumberedPack) error

// A rewritten is the packs and index objects that were put for a plan's entry to reference.
type rewritten struct {
	packs   map[home][]*pack.Pack // by where they are indexed
	indexes []store.Name
	size    int64 // stored bytes of the packs
}

// homes returns where the packs are indexed, in order.
func (w *rewritten) homes() []home { return slices.SortedFunc(maps.Keys(w.packs), home.compare) }

// A rewriting is a rewritten in the making.
type rewriting struct {
	rewritten
	core     *core.Core
	index    *index.Index
	plan     *prunePlan
	move     mover
	progress func(phase string, done, total int64)
	done     int64 // packs that were moved
}

// rewrite writes what move keeps of the packs that the plan rewrites into new ones, and index objects in the place of those that
// it replaces. Where that fails it removes what it wrote.
func rewrite(ctx context.Context, c *core.Core, x *index.Index, p *prunePlan, move mover, progress func(phase string, done, total int64)) (*rewritten, error) {
	w := &rewriting{core: c, index: x, plan: p, move: move, progress: progress, rewritten: rewritten{packs: make(map[home][]*pack.Pack)}}
	err := w.movePacks(ctx)
	if err == nil {
		err = w.reindex(ctx)
	}
	if err != nil {
		discard(c, &w.rewritten)
		return nil, err
	}
	return &w.rewritten, nil
}

// movePacks writes what is to be kept of the packs that are rewritten into new ones.
func (w *rewriting) movePacks(ctx context.Context) error {
	rewrite := index.NewBitset(len(w.index.Packs))
	homes := make(map[home]map[uint32]bool) // and the index objects that list packs of each
	for _, n := range w.plan.rewrite {
		rewrite.Set(int(n))
		ip := &w.index.Packs[n]
		h := home{ip.Instance, ip.Epoch}
		if homes[h] == nil {
			homes[h] = make(map[uint32]bool)
		}
		homes[h][ip.Object] = true
	}
	for _, h := range slices.SortedFunc(maps.Keys(homes), home.compare) {
		if err := w.moveHome(ctx, h, slices.Sorted(maps.Keys(homes[h])), rewrite); err != nil {
			return err
		}
	}
	return nil
}

// moveHome writes what is to be kept of the packs of one home, which these index objects list.
func (w *rewriting) moveHome(ctx context.Context, h home, objects []uint32, rewrite index.Bitset) error {
	g := pack.NewPipeline(ctx, w.core.Store, w.index.Keys.Epoch(h.epoch), h.instance, func(np *pack.Pack) error {
		w.packs[h] = append(w.packs[h], np)
		w.size += np.Size
		return nil
	})
	defer g.Fail(nil)
	for _, o := range objects {
		for l, err := range w.core.Indexes.Packs(ctx, w.index, int(o)) {
			if err == nil && rewrite.Has(int(l.N)) && l.Epoch == h.epoch {
				w.progress("rewriting", w.done, int64(len(w.plan.rewrite)))
				w.done++
				err = w.move(ctx, g, l)
			}
			if err != nil {
				g.Abort()
				return err
			}
		}
	}
	return g.Flush()
}

// reindex writes index objects for the new packs, and for what stays of every index object that is replaced.
func (w *rewriting) reindex(ctx context.Context) error {
	instances := make(map[string]bool)
	for _, o := range w.plan.replaced {
		instances[w.index.Objects[o].Instance] = true
	}
	for h := range w.packs {
		instances[h.instance] = true
	}
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		names, err := w.core.PutIndexes(ctx, instance, w.stays(ctx, instance))
		w.indexes = append(w.indexes, names...)
		if err != nil {
			return err
		}
	}
	return nil
}

// stays yields the packs of an instance that the replaced index objects list and that stay, and the new ones.
func (w *rewriting) stays(ctx context.Context, instance string) iter.Seq2[*pack.Pack, error] {
	return func(yield func(*pack.Pack, error) bool) {
		for _, o := range w.plan.replaced {
			if w.index.Objects[o].Instance != instance {
				continue
			}
			for l, err := range w.core.Indexes.Packs(ctx, w.index, int(o)) {
				if err == nil && (w.plan.goes.Has(int(l.N)) || w.index.Packs[l.N].Hidden) {
					continue
				}
				if !yield(l.Pack, err) || err != nil {
					return
				}
			}
		}
		for _, h := range w.homes() {
			if h.instance != instance {
				continue
			}
			for _, np := range w.packs[h] {
				if !yield(np, nil) {
					return
				}
			}
		}
	}
}

// discard removes what an attempt wrote for an entry that was surely not published: nobody but us knows of it. What it
// can't remove is left over.
func discard(c *core.Core, w *rewritten) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, h := range w.homes() {
		for _, np := range w.packs[h] {
			_ = c.Store.Remove(ctx, store.Pack.Object(np.Name))
		}
	}
	for _, n := range w.indexes {
		_ = c.Store.Remove(ctx, store.Index.Object(n))
	}
}

// liveMover returns the mover of what lives, blob by blob in their order, each verified.
func liveMover(c *core.Core, x *index.Index, live index.Bitset) mover {
	m := &living{blobs.NewReader(c.Store, x, nil, false), live}
	return m.move
}

// The living are the blobs that a prune moves.
type living struct {
	packs *blobs.Reader
	live  index.Bitset // by the places' ranks
}

func (m *living) move(ctx context.Context, g *pack.Pipeline, l index.NumberedPack) error {
	want, frames, err := m.of(l)
	if err != nil {
		return err
	}
	var room blobs.Room
	src, err := m.packs.Open(ctx, l.N, frames, &room)
	if err != nil {
		return err
	}
	for _, i := range frames {
		plain, err := m.packs.Decode(src, blobs.FrameKey{Pack: l.N, Frame: i}, &room)
		if err != nil {
			return err
		}
		for _, b := range want[i] {
			data, err := m.packs.Cut(plain, b.Place, b.ID)
			if err != nil {
				return err
			}
			if err := g.Add(ctx, l.Component, pack.Blob{ID: b.ID, Length: len(data)}, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// of returns the blobs of a pack that live, by frame, and the frames that have some.
func (m *living) of(l index.NumberedPack) (want [][]blobs.Wanted, frames []uint32, err error) {
	var places [4]index.Place
	want = make([][]blobs.Wanted, len(l.Frames))
	for i, f := range l.Frames {
		offset := uint32(0)
		for _, b := range f.Blobs {
			found, err := m.packs.Index.Find(b.ID, places[:0])
			if err != nil {
				return nil, nil, err
			}
			for _, pl := range found {
				if pl.Pack == l.N && int(pl.Frame) == i && pl.Offset == offset && m.live.Has(pl.Rank) {
					want[i] = append(want[i], blobs.Wanted{ID: b.ID, Place: pl})
				}
			}
			offset += uint32(b.Length)
		}
		if len(want[i]) > 0 {
			frames = append(frames, uint32(i))
		}
	}
	return want, frames, nil
}
