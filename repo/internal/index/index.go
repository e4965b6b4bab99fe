package index

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

// A Place is where a copy of a blob lies.
type Place struct {
	Pack   uint32 // in Index.Packs
	Frame  uint32 // in the pack
	Offset uint32 // in the frame's plaintext
	Length uint32 // in bytes
	Rank   int    // among all places of the index, of which there are Index.Ranks
}

// A Pack is a pack as an index object lists it, with what the log makes of that.
type Pack struct {
	Listing
	Instance string // whose snapshots it serves; empty where none vouches for the listing
	Trusted  bool   // it may be deduplicated against: who signed the index object is on the roster still
	Reported bool   // somebody who speaks for the instance has found it damaged
	Foreign  bool   // the pack was written for another instance
	Hidden   bool   // it does not count: foreign, named by a prune entry, of an index object that is no more, vouched for by nobody, or a double
	table    uint16 // in Index.tables
}

// An Object is an index object that the tables cover.
type Object struct {
	Name         store.Name // zero for what [Loader.Extend] has added
	Instance     string     // that its packs are listed for; empty where none vouches for it
	Trusted      bool       // likewise of all its packs
	Live         bool       // the log names it, and no table before this one covers it
	First, Packs uint32     // its packs are these many of Index.Packs
}

// An indexTable is a table as a part of an index: its packs and entries are numbered on behind those of the tables before.
type indexTable struct {
	*table
	packs   uint32 // the number of its first pack
	entries int    // the rank of its first entry
}

// An Index finds blobs. Look-ups are safe for concurrent use, as long as nobody changes what it holds.
type Index struct {
	Keys     *keys.Keyring // that its packs are read by
	Objects  []Object
	Packs    []Pack // those of an object together
	Ranks    int    // places in all
	Instance string // places that serve this instance alone are found; empty: all

	tables []indexTable
	byName []uint32 // the packs that are not hidden, sorted by name
	cache  *pageCache
	damage *tableDamage
}

// For returns the index as the snapshots of an instance are read by: nobody else's listing can stand in the way.
func (x *Index) For(instance string) *Index {
	y := *x
	y.Instance = instance
	return &y
}

// attach adds a table. vouch says of each index object that it covers whether the log names it, whom it serves and
// whether that is to be trusted.
func (x *Index) attach(t *table, vouch func(*tableObject) Object) error {
	n := uint16(len(x.tables))
	at := indexTable{t, uint32(len(x.Packs)), x.Ranks}
	packs := t.read(t.packs)
	x.Packs = slices.Grow(x.Packs, t.packs.n)
	for i := range t.covers {
		o := vouch(&t.covers[i])
		o.Name, o.First, o.Packs = t.covers[i].name, uint32(len(x.Packs)), t.covers[i].packs
		for range o.Packs {
			rec, err := packs.read()
			if err != nil {
				return &tableError{t, asBadPage(err)}
			}
			l := parseListing(rec)
			l.Object = uint32(len(x.Objects))
			x.Packs = append(x.Packs, Pack{Listing: l, Instance: o.Instance, Trusted: o.Trusted, Hidden: !o.Live, table: n})
		}
		x.Objects = append(x.Objects, o)
	}
	x.tables = append(x.tables, at)
	x.Ranks += t.entries.n
	return nil
}

// settle hides what the log says is pruned, what nobody vouches for who may, and of the listings that say the same for the
// same instance all but one.
func (x *Index) settle(h *ledger.History) {
	for i := range x.Packs {
		p := &x.Packs[i]
		p.Hidden = p.Hidden || p.Instance == "" || len(h.Pruned) > 0 && h.PrunedFor(store.Pack.Object(p.Name), p.Instance)
		p.Reported = h.IsReported(p.Name, p.Instance)
	}
	x.byName = nil
	x.Arrange()
}

// Arrange sorts the listings that are not hidden, and hides all but one of those that say the same. It is to be called again where more
// were hidden.
func (x *Index) Arrange() {
	if x.byName == nil {
		for i := range x.Packs {
			if !x.Packs[i].Hidden {
				x.byName = append(x.byName, uint32(i))
			}
		}
		slices.SortFunc(x.byName, x.compareListings)
	}
	last := -1
	x.byName = slices.DeleteFunc(x.byName, func(n uint32) bool {
		p := &x.Packs[n]
		if !p.Hidden && last >= 0 && x.Packs[last].SaysTheSame(p) {
			p.Hidden = true
		} else if !p.Hidden {
			last = int(n)
		}
		return p.Hidden
	})
}

// compareListings sorts listings by their packs' names, those for one instance together, and of those that say the same one that
// is trusted first.
func (x *Index) compareListings(a, b uint32) int {
	p, q := &x.Packs[a], &x.Packs[b]
	if c := p.compare(q); c != 0 {
		return c
	}
	if p.Trusted != q.Trusted {
		if p.Trusted {
			return -1
		}
		return 1
	}
	return cmp.Compare(a, b)
}

// compare compares what two listings say.
func (p *Pack) compare(q *Pack) int {
	return cmp.Or(bytes.Compare(p.Name[:], q.Name[:]), cmp.Compare(p.Instance, q.Instance), bytes.Compare(p.Digest[:], q.Digest[:]),
		cmp.Compare(p.Size, q.Size), cmp.Compare(p.Header, q.Header))
}

// SaysTheSame reports whether two listings are of one pack for one instance, and agree on it.
func (p *Pack) SaysTheSame(q *Pack) bool { return p.compare(q) == 0 }

// Listings returns the numbers of all listings that count, sorted by the names of their packs. It is not to be changed.
func (x *Index) Listings() []uint32 { return x.byName }

// Listed returns the numbers of the listings of a pack.
func (x *Index) Listed(name store.Name) []uint32 {
	end := func(behind int) int {
		i, _ := slices.BinarySearchFunc(x.byName, name, func(n uint32, name store.Name) int {
			return cmp.Or(bytes.Compare(x.Packs[n].Name[:], name[:]), behind)
		})
		return i
	}
	return x.byName[end(0):end(-1)]
}

// Groups yields the numbers of the listings of each pack.
func (x *Index) Groups() iter.Seq[[]uint32] {
	return func(yield func([]uint32) bool) {
		for i := 0; i < len(x.byName); {
			same := x.Listed(x.Packs[x.byName[i]].Name)
			if !yield(same) {
				return
			}
			i += len(same)
		}
	}
}

// Contested returns the packs that are listed for several instances. Each was written for one of them at most: the
// others' listings are false.
func (x *Index) Contested() []store.Name {
	return slices.DeleteFunc(x.Names(), func(name store.Name) bool { return !x.IsContested(name) })
}

// Names returns the names of the packs that are listed, in their order.
func (x *Index) Names() (names []store.Name) {
	for same := range x.Groups() {
		names = append(names, x.Packs[same[0]].Name)
	}
	return names
}

// IsContested reports whether a pack is listed for several instances.
func (x *Index) IsContested(pack store.Name) bool {
	listed := x.Listed(pack) // those for one instance lie together
	return len(listed) > 0 && x.Packs[listed[0]].Instance != x.Packs[listed[len(listed)-1]].Instance
}

// Serves reports whether a pack is listed for an instance.
func (x *Index) Serves(pack store.Name, instance string) bool {
	return slices.ContainsFunc(x.Listed(pack), func(n uint32) bool { return x.Packs[n].Instance == instance })
}

// Find appends to places every place of a blob in a pack that is not hidden, the newest first.
func (x *Index) Find(id chunk.ID, places []Place) ([]Place, error) {
	for i := len(x.tables) - 1; i >= 0; i-- {
		t := &x.tables[i]
		if err := t.find(x.cache, &id, func(n int, e []byte) {
			pl := parsePlace(e)
			pl.Pack += t.packs
			pl.Rank = t.entries + n
			if int(pl.Pack) >= len(x.Packs) {
				return
			}
			if p := &x.Packs[pl.Pack]; !p.Hidden && (x.Instance == "" || p.Instance == x.Instance) {
				places = append(places, pl)
			}
		}); err != nil {
			return nil, x.damage.at(t.table, err)
		}
	}
	return places, nil
}

// Length returns a blob's length in bytes.
func (x *Index) Length(id chunk.ID) (n int, ok bool, err error) {
	pl, ok, err := x.Best(id)
	return int(pl.Length), ok, err
}

// Best returns a place of a blob: what a damaged or forged pack claims counts only where there is nothing better.
func (x *Index) Best(id chunk.ID) (pl Place, ok bool, err error) {
	var room [4]Place
	places, err := x.Find(id, room[:0])
	if err != nil || len(places) == 0 {
		return Place{}, false, err
	}
	i := slices.IndexFunc(places, func(pl Place) bool { return !x.Packs[pl.Pack].Reported })
	return places[max(i, 0)], true, nil
}

// Frame returns what is known of a frame of a pack.
func (x *Index) Frame(pack, frame uint32) (f Frame, err error) {
	p := &x.Packs[pack]
	if frame >= p.frames {
		return f, fmt.Errorf("pack %s has %d frames, number %d is asked for", p.Name.Short(), p.frames, frame)
	}
	t := x.tables[p.table].table
	if err := t.record(x.cache, t.frames, int(p.frame0)+int(frame), func(rec []byte) { f = parseFrameInfo(rec) }); err != nil {
		return f, x.damage.at(t, err)
	}
	return f, nil
}

// DropFalse hides all that is listed by index objects with a false listing, and returns these. What snapshots need of it is
// to be verified.
func (x *Index) DropFalse() (names []store.Name) {
	for i := range x.Objects {
		o := &x.Objects[i]
		packs := x.Packs[o.First : o.First+o.Packs]
		if !slices.ContainsFunc(packs, func(p Pack) bool { return p.Foreign }) {
			continue
		}
		names = append(names, o.Name)
		for n := range packs {
			packs[n].Hidden = true
		}
	}
	x.Arrange()
	return names
}

// Distrust returns x without trust in what some index objects list.
func (x *Index) Distrust(objects map[store.Name]bool) *Index {
	y := *x
	y.Packs = slices.Clone(x.Packs)
	for i := range y.Objects {
		o := &y.Objects[i]
		if !objects[o.Name] {
			continue
		}
		for n := range o.Packs {
			y.Packs[o.First+n].Trusted = false
		}
	}
	return &y
}

// Damaged reports whether a table of the index was found damaged. The index that is built next does without it.
func (x *Index) Damaged() bool { return x.damage.found() }
