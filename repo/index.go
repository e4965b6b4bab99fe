package repo

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"slices"

	"permafrost/chunk"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A place is where a copy of a blob lies.
type place struct {
	pack   uint32 // in index.packs
	frame  uint32
	offset uint32 // in the frame's plaintext
	length uint32
	rank   int // among all places of the index
}

// An indexedPack is a pack as an index object lists it, with what the log makes of that.
type indexedPack struct {
	listing
	instance string // whose snapshots it serves; empty where none vouches for the listing
	trusted  bool   // it may be deduplicated against: who signed the index object is on the roster still
	bad      bool   // somebody who speaks for the instance has found it damaged
	foreign  bool   // the pack was written for another instance
	gone     bool   // it does not count: foreign, named by a prune entry, of an index object that is no more, vouched for by nobody, or a double
	table    uint16 // in index.tables
}

// An indexedObject is an index object that the tables cover.
type indexedObject struct {
	name         store.Name // zero for what this run adds
	instance     string
	trusted      bool
	live         bool   // the log names it, and no table before this one covers it
	first, packs uint32 // in index.packs
}

// An indexTable is a table as a part of an index: its packs and entries are numbered on behind those of the tables before.
type indexTable struct {
	*table
	packs   uint32 // the number of its first pack
	entries int    // the rank of its first entry
}

// An index finds blobs. It is safe for concurrent use.
type index struct {
	keys    *keys.Keyring // that its packs are read by
	tables  []indexTable
	objects []indexedObject
	packs   []indexedPack
	byName  []uint32 // the packs that are not gone by what the log says, sorted by name
	ranks   int      // places in all
	only    string   // places that serve this instance alone are found; empty: all
	cache   *pageCache
	damage  *tableDamage
}

// of returns the index as the snapshots of an instance are read by: nobody else's listing can stand in the way.
func (x *index) of(instance string) *index {
	y := *x
	y.only = instance
	return &y
}

// attach adds a table. vouch says of each index object that it covers whether the log names it, whom it serves and
// whether that is to be trusted.
func (x *index) attach(t *table, vouch func(*tableObject) indexedObject) error {
	n := uint16(len(x.tables))
	at := indexTable{t, uint32(len(x.packs)), x.ranks}
	packs := t.read(t.packs)
	x.packs = slices.Grow(x.packs, t.packs.n)
	for i := range t.covers {
		o := vouch(&t.covers[i])
		o.name, o.first, o.packs = t.covers[i].name, uint32(len(x.packs)), t.covers[i].packs
		for range o.packs {
			rec, err := packs.read()
			if err != nil {
				return &tableError{t, asBadPage(err)}
			}
			l := parseListing(rec)
			l.object = uint32(len(x.objects))
			x.packs = append(x.packs, indexedPack{listing: l, instance: o.instance, trusted: o.trusted, gone: !o.live, table: n})
		}
		x.objects = append(x.objects, o)
	}
	x.tables = append(x.tables, at)
	x.ranks += t.entries.n
	return nil
}

// settle hides what the log says is gone, what nobody vouches for who may, and of the listings that say the same for the
// same instance all but one.
func (x *index) settle(h *ledger.History) {
	for i := range x.packs {
		p := &x.packs[i]
		p.gone = p.gone || p.instance == "" || len(h.Pruned) > 0 && h.PrunedFor(store.Pack.Object(p.name), p.instance)
		p.bad = h.IsReported(p.name, p.instance)
	}
	x.byName = nil
	x.arrange()
}

// arrange makes the order by name, without packs that are gone: those too that have become so since. Of the listings that say the
// same one stays.
func (x *index) arrange() {
	if x.byName == nil {
		for i := range x.packs {
			if !x.packs[i].gone {
				x.byName = append(x.byName, uint32(i))
			}
		}
		slices.SortFunc(x.byName, x.compareListings)
	}
	last := -1
	x.byName = slices.DeleteFunc(x.byName, func(n uint32) bool {
		p := &x.packs[n]
		if !p.gone && last >= 0 && x.packs[last].saysTheSame(p) {
			p.gone = true
		} else if !p.gone {
			last = int(n)
		}
		return p.gone
	})
}

// compareListings sorts listings by their packs' names, those for one instance together, and of those that say the same one that
// is trusted first.
func (x *index) compareListings(a, b uint32) int {
	p, q := &x.packs[a], &x.packs[b]
	if c := p.compare(q); c != 0 {
		return c
	}
	if p.trusted != q.trusted {
		if p.trusted {
			return -1
		}
		return 1
	}
	return cmp.Compare(a, b)
}

// compare compares what two listings say.
func (p *indexedPack) compare(q *indexedPack) int {
	return cmp.Or(bytes.Compare(p.name[:], q.name[:]), cmp.Compare(p.instance, q.instance), bytes.Compare(p.digest[:], q.digest[:]),
		cmp.Compare(p.size, q.size), cmp.Compare(p.header, q.header))
}

func (p *indexedPack) saysTheSame(q *indexedPack) bool { return p.compare(q) == 0 }

// listings returns the numbers of all listings that count, sorted by the names of their packs. It is not to be changed.
func (x *index) listings() []uint32 { return x.byName }

// listed returns the numbers of the listings of a pack.
func (x *index) listed(name store.Name) []uint32 {
	end := func(behind int) int {
		i, _ := slices.BinarySearchFunc(x.byName, name, func(n uint32, name store.Name) int {
			return cmp.Or(bytes.Compare(x.packs[n].name[:], name[:]), behind)
		})
		return i
	}
	return x.byName[end(0):end(-1)]
}

// groups yields the numbers of the listings of each pack.
func (x *index) groups() iter.Seq[[]uint32] {
	return func(yield func([]uint32) bool) {
		for i := 0; i < len(x.byName); {
			same := x.listed(x.packs[x.byName[i]].name)
			if !yield(same) {
				return
			}
			i += len(same)
		}
	}
}

// contested returns the packs that are listed for several instances. Each was written for one of them at most: the
// others' listings are false.
func (x *index) contested() []store.Name {
	return slices.DeleteFunc(x.names(), func(name store.Name) bool { return !x.isContested(name) })
}

// names returns the packs that are listed.
func (x *index) names() (names []store.Name) {
	for same := range x.groups() {
		names = append(names, x.packs[same[0]].name)
	}
	return names
}

// isContested reports whether a pack is listed for several instances.
func (x *index) isContested(pack store.Name) bool {
	listed := x.listed(pack) // those for one instance lie together
	return len(listed) > 0 && x.packs[listed[0]].instance != x.packs[listed[len(listed)-1]].instance
}

// serves reports whether a pack is listed for an instance.
func (x *index) serves(pack store.Name, instance string) bool {
	return slices.ContainsFunc(x.listed(pack), func(n uint32) bool { return x.packs[n].instance == instance })
}

// find appends to places every place of a blob in a pack that is not gone, the newest first.
func (x *index) find(id chunk.ID, places []place) ([]place, error) {
	for i := len(x.tables) - 1; i >= 0; i-- {
		t := &x.tables[i]
		if err := t.find(x.cache, &id, func(n int, e []byte) {
			pl := parsePlace(e)
			pl.pack += t.packs
			pl.rank = t.entries + n
			if int(pl.pack) >= len(x.packs) {
				return
			}
			if p := &x.packs[pl.pack]; !p.gone && (x.only == "" || p.instance == x.only) {
				places = append(places, pl)
			}
		}); err != nil {
			return nil, x.damage.at(t.table, err)
		}
	}
	return places, nil
}

// length returns a blob's length in bytes.
func (x *index) length(id chunk.ID) (n int, ok bool, err error) {
	pl, ok, err := x.best(id)
	return int(pl.length), ok, err
}

// best returns a place of a blob: what a damaged or forged pack claims counts only where there is nothing better.
func (x *index) best(id chunk.ID) (pl place, ok bool, err error) {
	var room [4]place
	places, err := x.find(id, room[:0])
	if err != nil || len(places) == 0 {
		return place{}, false, err
	}
	i := slices.IndexFunc(places, func(pl place) bool { return !x.packs[pl.pack].bad })
	return places[max(i, 0)], true, nil
}

// frame returns what is known of a frame of a pack.
func (x *index) frame(pack, frame uint32) (f frameInfo, err error) {
	p := &x.packs[pack]
	if frame >= p.frames {
		return f, fmt.Errorf("pack %s has %d frames, number %d is asked for", p.name.Short(), p.frames, frame)
	}
	t := x.tables[p.table].table
	if err := t.record(x.cache, t.frames, int(p.frame0)+int(frame), func(rec []byte) { f = parseFrameInfo(rec) }); err != nil {
		return f, x.damage.at(t, err)
	}
	return f, nil
}

// dropFalse hides all that is listed by index objects with a false listing, and returns these. What snapshots need of it is
// to be verified.
func (x *index) dropFalse() (names []store.Name) {
	for i := range x.objects {
		o := &x.objects[i]
		packs := x.packs[o.first : o.first+o.packs]
		if !slices.ContainsFunc(packs, func(p indexedPack) bool { return p.foreign }) {
			continue
		}
		names = append(names, o.name)
		for n := range packs {
			packs[n].gone = true
		}
	}
	x.arrange()
	return names
}

// distrust returns the index without trust in what some index objects list.
func (x *index) distrust(objects map[store.Name]bool) *index {
	y := *x
	y.packs = slices.Clone(x.packs)
	for i := range y.objects {
		o := &y.objects[i]
		if !objects[o.name] {
			continue
		}
		for n := range o.packs {
			y.packs[o.first+n].trusted = false
		}
	}
	return &y
}

// damaged reports whether a table of the index was found damaged. The index that is built next does without it.
func (x *index) damaged() bool { return x.damage.found() }
