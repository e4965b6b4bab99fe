package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/localdir"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

var testKey = &[32]byte{1, 2, 3}

// A listed is an index object as a test makes it.
type listed struct {
	tableObject
	packs []*pack.Pack
	live  bool
}

// randomPack returns a pack with blobs of a pool, some of them more than once.
func randomPack(rng *rand.Rand, pool []chunk.ID) *pack.Pack {
	p := &pack.Pack{Size: 1 + rng.Int64N(store.MaxObject), Header: 1 + rng.IntN(pack.MaxAgeHeader)}
	binary.BigEndian.PutUint64(p.Name[:], rng.Uint64())
	p.Epoch, p.Component = 1+uint32(rng.IntN(3)), pack.Component(rng.IntN(int(pack.Components)))
	for range 1 + rng.IntN(4) {
		f := pack.Frame{Codec: pack.Codec(rng.IntN(2)), Stored: 1 + rng.IntN(16<<20)}
		for range 1 + rng.IntN(9) {
			f.Blobs = append(f.Blobs, pack.Blob{ID: pool[rng.IntN(len(pool))], Length: 1 + rng.IntN(chunk.MaxSize/8)})
		}
		p.Frames = append(p.Frames, f)
	}
	return p
}

func randomPool(rng *rand.Rand, n int) []chunk.ID {
	pool := make([]chunk.ID, n)
	for i := range pool {
		for j := range pool[i] {
			pool[i][j] = byte(rng.Uint32())
		}
		if i%3 == 0 { // such as differ late, so that the fan-out does not tell them apart
			copy(pool[i][:], "the same")
		}
	}
	return pool
}

// randomObjects returns index objects that list some packs alike, some otherwise, and some alone.
func randomObjects(rng *rand.Rand, pool []chunk.ID) (all []*listed) {
	var packs []*pack.Pack
	for i := range 2 + rng.IntN(12) {
		o := &listed{live: rng.IntN(4) > 0}
		o.name[0], o.name[1] = byte(i+1), byte(rng.Uint32())
		o.instance = []string{"a.example", "b.example", ""}[rng.IntN(3)]
		for range 1 + rng.IntN(8) {
			p := randomPack(rng, pool)
			if len(packs) > 0 && rng.IntN(3) == 0 {
				p = packs[rng.IntN(len(packs))]
				if rng.IntN(2) == 0 {
					lie := randomPack(rng, pool)
					lie.Name = p.Name
					p = lie
				}
			}
			packs = append(packs, p)
			o.packs = append(o.packs, p)
		}
		all = append(all, o)
	}
	return all
}

func makeTable(t testing.TB, dir string, room int, fill func(w *tableWriter) error) *table {
	t.Helper()
	at := tablePlace{keep: dir != ""}
	if at.keep {
		var err error
		if at.dir, err = localdir.Open(dir); err != nil {
			t.Fatal(err)
		}
	}
	w, err := newTableWriter(at, testKey)
	if err != nil {
		t.Fatal(err)
	}
	w.room = room
	if err := fill(w); err != nil {
		t.Fatal(err)
	}
	made, err := w.finish(tableName(w.objects))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func addObjects(objects []*listed) func(*tableWriter) error {
	return func(w *tableWriter) error {
		for _, o := range objects {
			w.object(o.tableObject)
			for _, p := range o.packs {
				if err := w.pack(p); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func testIndex(t testing.TB, tables []*table, live func(store.Name) bool) *Index {
	t.Helper()
	x := &Index{cache: new(pageCache), damage: &tableDamage{files: new(tableFiles), note: func() {}}}
	covered := make(map[store.Name]bool)
	for _, tb := range tables {
		if err := x.attach(tb, func(o *tableObject) Object {
			as := Object{Instance: o.instance, Live: live(o.name) && !covered[o.name]}
			covered[o.name] = true
			return as
		}); err != nil {
			t.Fatal(err)
		}
	}
	x.settle(ledger.New(new(keys.Keyring)))
	return x
}

// A spot is a place by what it means.
type spot struct {
	pack                  store.Name
	instance              string
	frame, offset, length uint32
	at                    int64 // of the frame in the pack
	stored, plain         int
	size                  int64
}

// model returns every place of every blob by a plain map.
func model(objects []*listed) map[chunk.ID]map[spot]bool {
	m := make(map[chunk.ID]map[spot]bool)
	for _, o := range objects {
		if !o.live {
			continue
		}
		for _, p := range o.packs {
			at := int64(len(pack.Magic))
			for i, f := range p.Frames {
				off := uint32(0)
				for _, b := range f.Blobs {
					if m[b.ID] == nil {
						m[b.ID] = make(map[spot]bool)
					}
					m[b.ID][spot{p.Name, o.instance, uint32(i), off, uint32(b.Length), at, f.Stored, f.Length(), p.Size}] = true
					off += uint32(b.Length)
				}
				at += int64(f.Stored)
			}
		}
	}
	return m
}

// same asserts that an index knows of every blob of the pool what the model does, once, and under a rank of its own.
func same(t *testing.T, x *Index, pool []chunk.ID, m map[chunk.ID]map[spot]bool) {
	t.Helper()
	ranks := make(map[int]bool)
	for _, id := range pool {
		places, err := x.Find(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[spot]bool)
		for _, pl := range places {
			p := &x.Packs[pl.Pack]
			f, err := x.Frame(pl.Pack, pl.Frame)
			if err != nil {
				t.Fatal(err)
			}
			got[spot{p.Name, p.Instance, pl.Frame, pl.Offset, pl.Length, f.Offset, f.Stored, f.Length, p.Size}] = true
			if ranks[pl.Rank] || pl.Rank >= x.Ranks {
				t.Fatalf("rank %d of %d is given twice", pl.Rank, x.Ranks)
			}
			ranks[pl.Rank] = true
		}
		want := make(map[spot]bool)
		for s := range m[id] {
			if s.instance != "" && (x.Instance == "" || s.instance == x.Instance) {
				want[s] = true
			}
		}
		if len(places) != len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("blob %v:\n got %v\nwant %v", id, places, want)
		}
		n, ok, err := x.Length(id)
		if err != nil || ok != (len(want) > 0) || ok && !slices.ContainsFunc(places, func(pl Place) bool { return int(pl.Length) == n }) {
			t.Fatalf("length of %v: %d, %v, %v", id, n, ok, err)
		}
	}
}

// Look-ups in any number of tables, merged in any way, are those in a plain map.
func TestTablesAreAMap(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		pool := randomPool(rng, 20+rng.IntN(400))
		objects := randomObjects(rng, pool)
		live := func(n store.Name) bool {
			return slices.ContainsFunc(objects, func(o *listed) bool { return o.name == n && o.live })
		}
		dir := ""
		if seed%2 == 0 {
			dir = t.TempDir()
		}
		room := 1 + rng.IntN(300)
		var tables []*table
		for rest := objects; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			tables = append(tables, makeTable(t, dir, room, addObjects(rest[:n])))
			if rest = rest[n:]; rng.IntN(3) == 0 && n > 1 { // one that two tables cover counts once
				rest = append(rest, objects[0])
			}
			if rng.IntN(8) == 0 {
				break
			}
		}
		have := make(map[store.Name]bool)
		for _, tb := range tables {
			for i := range tb.covers {
				have[tb.covers[i].name] = true
			}
		}
		objects = slices.DeleteFunc(objects, func(o *listed) bool { return !have[o.name] })
		m := model(objects)
		for len(tables) > 1 {
			x := testIndex(t, tables, live)
			same(t, x, pool, m)
			same(t, x.For("a.example"), pool, m)
			// What is no more, and what another table in the merge has, is left out.
			n := 2 + rng.IntN(len(tables)-1)
			covered := make(map[store.Name]bool)
			merged := makeTable(t, dir, room, func(w *tableWriter) error {
				for _, tb := range tables[:n] {
					if err := w.table(tb, func(n store.Name) bool {
						use := !covered[n] && (live(n) || n[0]%2 == 0)
						covered[n] = true
						return use
					}); err != nil {
						return err
					}
				}
				return nil
			})
			tables = append(slices.Clone(tables[n:]), merged)
		}
		x := testIndex(t, tables, live)
		same(t, x, pool, m)
		same(t, x.For("b.example"), pool, m)
		for i := range x.Packs {
			for _, n := range x.Listed(x.Packs[i].Name) {
				if x.Packs[n].Name != x.Packs[i].Name || x.Packs[n].Hidden {
					t.Fatal("the listings of a pack are not its own")
				}
			}
		}
	}
}

// Every flipped byte and every truncation of a table is noticed: by opening it, or by the look-up that needs the page.
func TestMangledTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pool := randomPool(rng, 300)
	objects := randomObjects(rng, pool)
	for _, o := range objects {
		o.live = true
	}
	m := model(objects)
	good := makeTable(t, "", 50, addObjects(objects))
	size := good.packs.first + uint32(good.packs.pages())
	data := make([]byte, size*pageSize)
	if _, err := good.f.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	step := 7
	if testing.Short() {
		step = 101
	}
	for off := 0; off < len(data); off += step {
		mangled := slices.Clone(data)
		mangled[off] ^= 1 << (off % 8)
		bad, err := openTable("", bytes.NewReader(mangled), int64(len(data)), testKey)
		if err == nil && bad.verify() == nil {
			t.Fatalf("byte %d is believed", off)
		}
		if err == nil && off%(5*step) == 0 {
			mangledLookups(t, bad, pool, m)
		}
		if _, err := openTable("", bytes.NewReader(data[:off]), int64(off), testKey); err == nil {
			t.Fatalf("a table of the first %d bytes is believed", off)
		}
	}
	// Pages of the same table in another order, of another table, and by another key.
	other := makeTable(t, "", 50, addObjects(objects))
	foreign := make([]byte, pageSize)
	if _, err := other.f.ReadAt(foreign, pageSize); err != nil {
		t.Fatal(err)
	}
	for _, pg := range [][]byte{data[2*pageSize : 3*pageSize], foreign} {
		mangled := slices.Clone(data)
		copy(mangled[pageSize:], pg)
		bad, err := openTable("", bytes.NewReader(mangled), int64(len(data)), testKey)
		if err == nil && bad.verify() == nil {
			t.Error("a page from elsewhere is believed")
		}
	}
	if _, err := openTable("", bytes.NewReader(data), int64(len(data)), &[32]byte{9}); err == nil {
		t.Error("a table by another key is believed")
	}
}

// mangledLookups asserts that look-ups in a mangled table are right or fail, and that the damage is noted once.
func mangledLookups(t *testing.T, bad *table, pool []chunk.ID, m map[chunk.ID]map[spot]bool) {
	t.Helper()
	notes := 0
	x := &Index{cache: new(pageCache), damage: &tableDamage{files: new(tableFiles), note: func() { notes++ }}}
	err := x.attach(bad, func(o *tableObject) Object { return Object{Instance: o.instance, Live: true} })
	if err != nil {
		return
	}
	x.settle(ledger.New(new(keys.Keyring)))
	for _, id := range pool {
		places, err := x.Find(id, nil)
		for _, pl := range places {
			if _, ferr := x.Frame(pl.Pack, pl.Frame); ferr != nil {
				err = ferr
			}
		}
		var te *tableError
		if err == nil && len(places) != len(m[id]) || err != nil && !errors.As(err, &te) {
			t.Fatalf("a mangled table has %d places, and %v, for a blob of %d", len(places), err, len(m[id]))
		}
	}
	if notes > 1 || (notes == 1) != x.damage.found() {
		t.Fatalf("%d notes", notes)
	}
}
