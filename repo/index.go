package repo

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"permafrost/chunk"
	"permafrost/internal/wire"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

const (
	maxInstance   = 255
	maxIndexPacks = 1 << 20

	// indexTarget is the size in bytes at which an index object is closed and the next begun.
	indexTarget = 4 << 20
)

// encodeIndex returns the body of an index object.
func encodeIndex(instance string, packs []*pack.Pack) []byte {
	b := binary.AppendUvarint(nil, uint64(len(instance)))
	b = append(b, instance...)
	b = binary.AppendUvarint(b, uint64(len(packs)))
	for _, p := range packs {
		b = p.Append(b)
	}
	return b
}

// parseIndex reads what encodeIndex wrote, and calls f with pack after pack until it fails.
func parseIndex(body []byte, f func(*pack.Pack) error) (instance string, err error) {
	r := wire.NewReader(body)
	instance = string(r.Bytes(r.Count(maxInstance, 1)))
	n := r.Count(maxIndexPacks, len(store.Name{}))
	for range n {
		p := pack.Parse(r)
		if p == nil {
			break
		}
		if err := f(p); err != nil {
			return "", err
		}
	}
	if err := r.Close(); err != nil {
		return "", fmt.Errorf("index: %w", err)
	}
	if n == 0 {
		return "", errors.New("index: no packs")
	}
	return instance, nil
}

// splitIndex groups packs so that each group makes an index object of about indexTarget. An error of packs ends it.
func splitIndex(packs iter.Seq2[*pack.Pack, error]) iter.Seq2[[]*pack.Pack, error] {
	return func(yield func([]*pack.Pack, error) bool) {
		var group []*pack.Pack
		size := 0
		for p, err := range packs {
			if err != nil {
				yield(nil, err)
				return
			}
			group = append(group, p)
			for _, f := range p.Frames {
				size += len(f.Blobs) * (chunk.Size + 3)
			}
			if size >= indexTarget {
				if !yield(group, nil) {
					return
				}
				group, size = nil, 0
			}
		}
		if len(group) > 0 {
			yield(group, nil)
		}
	}
}

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
	x.byName = x.byName[:0]
	for i := range x.packs {
		p := &x.packs[i]
		p.gone = p.gone || p.instance == "" || len(h.Pruned) > 0 && h.PrunedFor(store.Pack.Object(p.name), p.instance)
		p.bad = h.IsReported(p.name, p.instance)
		if !p.gone {
			x.byName = append(x.byName, uint32(i))
		}
	}
	slices.SortFunc(x.byName, x.compareListings)
	last := -1
	for _, n := range x.byName {
		if last >= 0 && x.packs[last].saysTheSame(&x.packs[n]) {
			x.packs[n].gone = true
		} else {
			last = int(n)
		}
	}
	x.dropGone()
}

// dropGone takes packs that are gone off byName.
func (x *index) dropGone() {
	x.byName = slices.DeleteFunc(x.byName, func(n uint32) bool { return x.packs[n].gone })
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

// A tableError says that a local table is not what was written. The index that is built next does without it.
type tableError struct {
	table *table
	err   error
}

func (e *tableError) Error() string { return "the local index is damaged: " + e.err.Error() }
func (e *tableError) Unwrap() error { return e.err }

// A tableDamage hears of damage to the tables of an index.
type tableDamage struct {
	files *tableFiles
	note  func() // called once
	mu    sync.Mutex
	any   bool
}

// at drops a table and returns why.
func (d *tableDamage) at(t *table, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files.drop(t)
	if !d.any {
		d.any = true
		d.note()
	}
	return &tableError{t, err}
}

func (d *tableDamage) found() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.any
}

// A bitset holds a bit for each place of an index.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }

// set sets a bit and reports whether it was not.
func (b bitset) set(i int) bool {
	was := b.has(i)
	b[i/64] |= 1 << (i % 64)
	return !was
}
