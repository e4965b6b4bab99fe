package upkeep

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"permafrost/chunk"
	"permafrost/repo/cause"
	"permafrost/repo/inspection"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/headers"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// marks are what snapshots need of what there is.
type marks struct {
	live   index.Bitset // by the places' ranks
	keeps  []int64      // live bytes of each pack
	lost   int          // blobs that snapshots lack
	others index.Bitset // young packs of which nothing is needed, and that were or may have been written for another instance
}

// A marker makes marks.
type marker struct {
	*survey
	marks
	core       *core.Core
	acceptLost bool
	openers    map[store.Name]*pack.Opener // of packs that were asked whose they are; nil for one that can't be opened
}

// mark finds a place for every blob that a snapshot needs. Where the key can't read a pack's content every copy is kept:
// a duplicate may go only when the one that stays was read.
func mark(ctx context.Context, c *core.Core, s *survey, inspect inspection.Maker, o PruneOptions) (*marks, error) {
	m := &marker{survey: s, core: c, acceptLost: o.AcceptLost, openers: make(map[store.Name]*pack.Opener),
		marks: marks{live: index.NewBitset(s.index.Ranks), keeps: make([]int64, len(s.index.Packs)), others: index.NewBitset(len(s.index.Packs))}}
	in := inspection.NewAll(c, s.index, inspect)
	snapshots := s.log.Snapshots.Live()
	for i, ref := range snapshots {
		o.progress("marking", int64(i), int64(len(snapshots)))
		text, err := c.Manifest(ctx, ref)
		if err != nil {
			return nil, err
		}
		inspector, of := in.For(ref.Instance)
		if _, err := inspector.Inspect(ctx, text, &marking{m, of}); err != nil {
			lost := cause.SnapshotLacks
			if o.AcceptLost {
				lost = cause.SnapshotUntold
			}
			return nil, cause.Errorf(lost, "refusing to prune: %w", &ledger.SnapshotError{Ref: ref, Err: err})
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &m.marks, m.askYoung(ctx)
}

// A marking is the Visitor that marks what an instance's snapshot needs. It ends with the first part that is lost.
type marking struct {
	*marker
	of *index.Index // what is listed for the instance
}

// Need implements Visitor.
func (m *marking) Need(ctx context.Context, n inspection.Need) error {
	return m.blob(ctx, m.of, n.Blob)
}

// Lost implements Visitor.
func (m *marking) Lost(part string, err error) error {
	return &inspection.PartError{Part: part, Err: err}
}

// blob chooses the copies of a blob that stay: all that can't be read, and one of those that can, rather not by the word
// of one who is no longer on the roster, and still less in a pack that is known to be damaged.
func (m *marker) blob(ctx context.Context, of *index.Index, id chunk.ID) error {
	var room [4]index.Place
	places, err := of.Find(id, room[:0])
	if err != nil {
		return err
	}
	found, best := false, -1
	for i, pl := range places {
		ip := &m.index.Packs[pl.Pack]
		if m.sizes[pl.Pack] != ip.Size {
			continue
		}
		found = true
		switch {
		case !m.canRead(ip):
			m.keep(pl)
		case best < 0 || better(ip, &m.index.Packs[places[best].Pack]):
			best = i
		}
	}
	if best >= 0 {
		m.keep(places[best])
	}
	if len(places) == 0 && m.acceptLost {
		found, err = m.mayBeFound(ctx, of.Instance, id)
		if err == nil && !found {
			m.lost++
			return nil
		}
		found = false
	}
	if !found {
		return blobs.Missing(id)
	}
	return nil
}

// keep marks a place as one that stays.
func (m *marks) keep(pl index.Place) {
	if m.live.Set(pl.Rank) {
		m.keeps[pl.Pack] += int64(pl.Length)
	}
}

// better reports whether a copy rather stays in p than in q.
func better(p, q *index.Pack) bool {
	if p.Reported != q.Reported {
		return q.Reported
	}
	return p.Trusted && !q.Trusted
}

// mayBeFound reports whether a repair of the index may find a blob that is not listed for an instance: in a pack of that
// instance which is listed for another one. It may where this key can't tell whose the pack is.
func (m *marker) mayBeFound(ctx context.Context, instance string, id chunk.ID) (bool, error) {
	places, err := m.index.Find(id, nil)
	if err != nil {
		return false, err
	}
	for _, pl := range places {
		name := m.index.Packs[pl.Pack].Name
		if _, read := m.openers[name]; !read {
			opener, err := headers.ReadOne(ctx, m.core, m.index.Keys, name)
			if d := (*store.DamageError)(nil); err != nil && !errors.As(err, &d) {
				return false, err
			}
			m.openers[name] = opener
		}
		if o := m.openers[name]; o == nil && !m.reads || o != nil && o.IsFor(instance) {
			return true, nil
		}
	}
	return false, nil
}

// askYoung looks whose the young packs are that nothing is needed of. A pack says itself for whom it was written, and a listing may
// lie: of a pack that another instance's run has just put, and that nobody else lists yet.
func (m *marker) askYoung(ctx context.Context) error {
	var names []store.Name
	for i := range m.index.Packs {
		ip := &m.index.Packs[i]
		if m.young.Has(i) && m.keeps[i] == 0 && !ip.Hidden && m.by.Serves(ip.Instance) && m.log.Roster.HasOtherInstances(ip.Instance) {
			names = append(names, ip.Name)
		}
	}
	slices.SortFunc(names, func(a, b store.Name) int { return bytes.Compare(a[:], b[:]) })
	names = slices.Compact(names)
	openers, err := headers.Read(ctx, m.core, m.index.Keys, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		m.openers[name] = openers[i]
	}
	for i := range m.index.Packs {
		ip := &m.index.Packs[i]
		o, asked := m.openers[ip.Name]
		if asked && m.young.Has(i) && m.keeps[i] == 0 && (o == nil && !m.reads || o != nil && !o.IsFor(ip.Instance)) {
			m.others.Set(i)
		}
	}
	return nil
}
