package index

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/repo/internal/pack"
	"permafrost/repo/internal/pack/packtest"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// perByte bounds what a parser of binary input may allocate for each byte of it.
const perByte = 8

// fittingPack returns a pack whose size is what its directory says, as no other is taken.
func fittingPack(rng *rand.Rand) *pack.Pack {
	p := randomPack(rng, randomPool(rng, 9))
	p.Frames = p.Frames[:min(3, len(p.Frames))]
	packtest.Fit(rng, p)
	return p
}

// readIndexBody parses an index object's body into its packs.
func readIndexBody(body []byte) (instance string, packs []*pack.Pack, err error) {
	instance, err = parseObject(body, func(p *pack.Pack) error { packs = append(packs, p); return nil })
	return instance, packs, err
}

func FuzzIndex(f *testing.F) {
	parse := func(b []byte) error { _, _, err := readIndexBody(b); return err }
	rng := rand.New(rand.NewPCG(3, 3))
	real := fittingPack(rng)
	fuzzing.Seed(f, parse, EncodeObject("social.example", []*pack.Pack{real}), EncodeObject("", []*pack.Pack{fittingPack(rng), fittingPack(rng)}))
	f.Fuzz(func(t *testing.T, body []byte) {
		var instance string
		var packs []*pack.Pack
		var err error
		fuzzing.Bound(t, perByte*len(body), func() { instance, packs, err = readIndexBody(body) })
		if err != nil {
			return
		}
		if again := EncodeObject(instance, packs); !bytes.Equal(again, body) {
			t.Errorf("%x\n is read and written as\n%x", body, again)
		}
		if len(body) < 8<<10 {
			indexed(t, &listed{tableObject: tableObject{name: store.Name{1}, instance: instance}, packs: packs, live: true})
		}
	})
}

// indexed puts an index object that was parsed into a table, and demands that every blob is found where it is listed.
func indexed(t *testing.T, o *listed) {
	t.Helper()
	var pool []chunk.ID
	for _, p := range o.packs {
		for _, f := range p.Frames {
			for _, b := range f.Blobs {
				pool = append(pool, b.ID)
			}
		}
	}
	x := testIndex(t, []*table{makeTable(t, "", 100, addObjects([]*listed{o}))}, func(store.Name) bool { return true })
	for _, id := range pool {
		places, err := x.Find(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, pl := range places {
			info, err := x.Frame(pl.Pack, pl.Frame)
			if err != nil || int(pl.Offset+pl.Length) > info.Length || info.Offset+int64(info.Stored) > x.Packs[pl.Pack].Size {
				t.Fatalf("place %+v, frame %+v, %v", pl, info, err)
			}
		}
	}
}

func FuzzTable(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 5))
	pool := randomPool(rng, 40)
	good := tableBytes(f, makeTable(f, "", 50, addObjects(randomObjects(rng, pool))))
	clear(good[pageFile:pageNumber]) // what is random in a table: each process must make the same
	good = prove(good)
	if t, err := openTable("", bytes.NewReader(good), int64(len(good)), testKey); err != nil || t.verify() != nil || t.entries.n == 0 {
		f.Fatal(err)
	}
	f.Add(good, false)
	f.Add(good, true)
	f.Fuzz(func(t *testing.T, data []byte, proven bool) {
		if proven {
			data = prove(data)
		}
		var tb *table
		var err error
		fuzzing.Bound(t, perByte*len(data), func() { tb, err = openTable("", bytes.NewReader(data), int64(len(data)), testKey) })
		if err != nil {
			return
		}
		if err := tb.verify(); err == nil && !proven && !bytes.Equal(data, good) {
			t.Error("a table that nobody wrote is believed")
		}
		useTable(tb, pool)
	})
}

func tableBytes(tb testing.TB, t *table) []byte {
	tb.Helper()
	b := make([]byte, int64(t.packs.first+uint32(t.packs.pages()))*pageSize)
	if _, err := t.f.ReadAt(b, 0); err != nil {
		tb.Fatal(err)
	}
	return b
}

// prove makes each page of a table one that the key's holder wrote, so that what lies beneath the proof is tried.
func prove(data []byte) []byte {
	data = slices.Clone(data)
	for n := range len(data) / pageSize {
		var p page
		copy(p.body(), data[n*pageSize:])
		copy(p.body()[pageFile:], data[pageFile:pageNumber])
		binary.LittleEndian.PutUint32(p.body()[pageNumber:], uint32(n))
		copy(p.body()[pageSum:], p.sum(testKey))
		copy(data[n*pageSize:], p.body())
	}
	return data
}

// useTable looks everything up and merges the table into another.
func useTable(tb *table, pool []chunk.ID) {
	x := &Index{cache: new(pageCache), damage: &tableDamage{files: new(tableFiles), note: func() {}}}
	live := func(o *tableObject) Object { return Object{Instance: o.instance, Live: true} }
	if x.attach(tb, live) == nil {
		x.settle(ledger.New(new(keys.Keyring)))
		for _, id := range pool {
			places, _ := x.Find(id, nil)
			for _, pl := range places {
				x.Frame(pl.Pack, pl.Frame)
			}
		}
	}
	w, err := newTableWriter(tablePlace{inMemory: true}, testKey)
	if err == nil && w.table(tb, func(store.Name) bool { return true }) == nil {
		w.finish("")
	}
}

// What lies of its length is refused before the memory is there.
func TestLyingLengths(t *testing.T) {
	fuzzing.Bound(t, 0, func() {
		if _, _, err := readIndexBody([]byte("\x00\xff\xff\x3f")); err == nil {
			t.Error("it is taken")
		}
	})
}
