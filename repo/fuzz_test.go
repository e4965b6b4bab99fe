package repo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/internal/parts"
	"permafrost/internal/wire"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// perByte bounds what a parser of binary input may allocate for each byte of it.
const perByte = 8

// A packed is a pack as a writer makes it, and its plaintext.
type packed struct {
	*pack
	plain []byte
}

// newPacked returns a pack of a compressed frame of several blobs and one that is stored as it is.
func newPacked(tb testing.TB, k *keys.Keyring) packed {
	tb.Helper()
	b, err := newPackBuilder(func() ([]byte, error) { return make([]byte, 0, 64<<10), nil }, k.CurrentEpoch(), "social.example", Media)
	if err != nil {
		tb.Fatal(err)
	}
	out := []byte(packMagic)
	var scratch []byte
	for i, data := range [][]byte{text(600), random(1, 50)} {
		stored, c, err := encodeFrame(nil, data, &scratch)
		if err != nil || int(c) != 1-i {
			tb.Fatalf("frame %d: codec %d, %v", i, c, err)
		}
		f := frame{codec: c, stored: len(stored)}
		for blob := range slices.Chunk(data, 1+len(data)/2) {
			f.blobs = append(f.blobs, blobRef{k.CurrentEpoch().DataKey.Sum(blob), len(blob)})
		}
		if err := b.add(f, stored); err != nil {
			tb.Fatal(err)
		}
		out = append(out, stored...)
	}
	p, sealed, err := b.finish()
	if err != nil || parts.Size(sealed) != p.size {
		tb.Fatal(err)
	}
	return packed{p, appendFooter(out, p.directory.append(nil))}
}

// appendFooter ends a pack's plaintext.
func appendFooter(plain, dir []byte) []byte {
	plain = append(plain, dir...)
	return append(binary.LittleEndian.AppendUint64(plain, uint64(len(dir))), packEnd...)
}

// fuzzKeyring returns a keyring that is the same in every process, as a corpus that was found with it needs it.
func fuzzKeyring(tb testing.TB, file string) *keys.Keyring {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("keys", "testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	k, err := keys.ParseFile(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func fuzzOwner(tb testing.TB) *keys.Keyring { return fuzzKeyring(tb, "recovery.txt") }

func FuzzFrame(f *testing.F) {
	decoder() // its own memory is not the frames'
	for _, plain := range [][]byte{text(1), text(5000), random(1, 300), append(random(2, 200), text(3000)...), make([]byte, 1<<20)} {
		var scratch []byte
		stored, c, err := encodeFrame(nil, plain, &scratch)
		if err != nil || len(stored) == 0 {
			f.Fatal(err)
		}
		f.Add(stored, byte(c), uint32(len(plain)))
	}
	f.Fuzz(func(t *testing.T, stored []byte, c byte, length uint32) {
		n := int(length % (maxFrame + 1))
		var plain []byte
		var err error
		fuzzing.Bound(t, n+perByte*len(stored), func() { plain, err = decodeFrame(nil, stored, codec(c)%codecCount, n) })
		if err != nil {
			return
		}
		if len(plain) != n {
			t.Fatalf("%d bytes, want %d", len(plain), n)
		}
		var scratch []byte
		if _, _, err := encodeFrame(nil, plain, &scratch); err != nil {
			t.Error(err)
		}
	})
}

func FuzzDirectory(f *testing.F) {
	parse := func(b []byte) error { _, err := parseDirectory(b); return err }
	var seeds [][]byte
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		seeds = append(seeds, fittingPack(rng).directory.append(nil))
	}
	fuzzing.Seed(f, parse, seeds...)
	f.Fuzz(func(t *testing.T, b []byte) {
		var d *directory
		var err error
		fuzzing.Bound(t, perByte*len(b), func() { d, err = parseDirectory(b) })
		if err == nil {
			checkDirectory(t, d, b)
		}
	})
}

// checkDirectory demands of a directory that was read what its readers rely on.
func checkDirectory(t *testing.T, d *directory, b []byte) {
	t.Helper()
	if again := d.append(nil); !bytes.Equal(again, b) {
		t.Errorf("%x\n is read and written as\n%x", b, again)
	}
	if d.epoch == 0 || d.epoch > maxEpoch || d.component >= componentCount || len(d.frames) == 0 {
		t.Errorf("epoch %d, component %d, %d frames", d.epoch, d.component, len(d.frames))
	}
	for _, f := range d.frames {
		if f.length() > maxFrame || f.stored > maxFrame || f.codec >= codecCount || len(f.blobs) == 0 {
			t.Errorf("frame of %d bytes, %d stored, codec %d", f.length(), f.stored, f.codec)
		}
		for _, b := range f.blobs {
			if b.length < 1 || b.length > chunk.MaxSize || b.id.IsZero() {
				t.Errorf("blob %v of %d bytes", b.id, b.length)
			}
		}
	}
}

// fittingPack returns a pack whose size is what its directory says, as no other is taken.
func fittingPack(rng *rand.Rand) *pack {
	p := randomPack(rng, randomPool(rng, 9))
	p.frames = p.frames[:min(3, len(p.frames))]
	plain := int64(len(packMagic) + packFooter)
	for i := range p.frames {
		f := &p.frames[i]
		f.stored = 1 + rng.IntN(f.length())
		if f.codec == codecRaw {
			f.stored = f.length()
		}
		plain += int64(f.stored)
	}
	plain += int64(len(p.directory.append(nil)))
	p.size = int64(p.header) + plain + (plain+ageChunk-1)/ageChunk*ageOverhead
	return p
}

// FuzzPack reads the plaintext of a whole pack: footer, directory and each frame where the directory says it is.
func FuzzPack(f *testing.F) {
	decoder()
	k := fuzzOwner(f)
	read := func(b []byte) (plain int, err error) {
		d, err := readDirectory(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return 0, err
		}
		at := len(packMagic)
		for _, f := range d.frames {
			data, err := decodeFrame(nil, b[at:at+f.stored], f.codec, f.length())
			if err != nil {
				return 0, err
			}
			at, plain = at+f.stored, plain+len(data)
		}
		if end := appendFooter(b[:at:at], d.append(nil)); !bytes.Equal(end, b) {
			return 0, errors.New("what was read is not what would be written")
		}
		return plain, nil
	}
	good := newPacked(f, k).plain
	fuzzing.Seed(f, func(b []byte) error { _, err := read(b); return err }, good)
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := readDirectory(bytes.NewReader(b), int64(len(b))); err == nil {
			dir := b[len(b)-packFooter-len(d.append(nil)) : len(b)-packFooter]
			checkDirectory(t, d, dir)
			read(b)
		}
		fuzzing.Bound(t, perByte*len(b), func() { readDirectory(bytes.NewReader(b), int64(len(b))) })
	})
}

// readIndexBody parses an index object's body into its packs.
func readIndexBody(body []byte) (instance string, packs []*pack, err error) {
	instance, err = parseIndex(body, func(p *pack) error { packs = append(packs, p); return nil })
	return instance, packs, err
}

func FuzzIndex(f *testing.F) {
	parse := func(b []byte) error { _, _, err := readIndexBody(b); return err }
	rng := rand.New(rand.NewPCG(3, 3))
	real := newPacked(f, fuzzOwner(f)).pack
	fuzzing.Seed(f, parse, encodeIndex("social.example", []*pack{real}), encodeIndex("", []*pack{fittingPack(rng), fittingPack(rng)}))
	f.Fuzz(func(t *testing.T, body []byte) {
		var instance string
		var packs []*pack
		var err error
		fuzzing.Bound(t, perByte*len(body), func() { instance, packs, err = readIndexBody(body) })
		if err != nil {
			return
		}
		if again := encodeIndex(instance, packs); !bytes.Equal(again, body) {
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
		for _, f := range p.frames {
			for _, b := range f.blobs {
				pool = append(pool, b.id)
			}
		}
	}
	x := testIndex(t, []*table{makeTable(t, "", 100, addObjects([]*listed{o}))}, func(store.Name) bool { return true })
	for _, id := range pool {
		places, err := x.find(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, pl := range places {
			info, err := x.frame(pl.pack, pl.frame)
			if err != nil || int(pl.offset+pl.length) > info.length || info.offset+int64(info.stored) > x.packs[pl.pack].size {
				t.Fatalf("place %+v, frame %+v, %v", pl, info, err)
			}
		}
	}
}

func FuzzJournal(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	good := slices.Concat(newRecord(newPacked(f, fuzzOwner(f)).pack), newRecord(fittingPack(rng)))
	fuzzing.Seed(f, func(b []byte) error {
		if packs, end, err := readRecords(b); err != nil || len(packs) != 2 || end != int64(len(b)) {
			return errors.Join(errors.New("not whole"), err)
		}
		return nil
	}, good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("\xff\xff\xff\x03\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var packs []*pack
		var end int64
		var err error
		fuzzing.Bound(t, perByte*len(b), func() { packs, end, err = readRecords(b) })
		if err != nil || end > int64(len(b)) {
			t.Fatalf("%d of %d bytes, %v", end, len(b), err)
		}
		var again []byte
		for _, p := range packs {
			again = append(again, newRecord(p)...)
		}
		if !bytes.Equal(again, b[:end]) {
			t.Errorf("%x\n is read and written as\n%x", b[:end], again)
		}
	})
}

// readRecords reads a journal's bytes as far as they are whole.
func readRecords(b []byte) (packs []*pack, end int64, err error) {
	for r, err := range readJournal(bytes.NewReader(b)) {
		if err != nil {
			return nil, 0, err
		}
		packs, end = append(packs, r.pack), r.end
	}
	return packs, end, nil
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
	x := &index{cache: new(pageCache), damage: &tableDamage{local: new(local), note: func() {}}}
	live := func(o *tableObject) indexedObject { return indexedObject{instance: o.instance, live: true} }
	if x.attach(tb, live) == nil {
		x.settle(newHistory(new(keys.Keyring)))
		for _, id := range pool {
			places, _ := x.find(id, nil)
			for _, pl := range places {
				x.frame(pl.pack, pl.frame)
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
	decoder()
	lie := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 1), 0), maxFrames)
	foot := append(append([]byte(packMagic), "\xff\xff\xff\x03\x00\x00\x00\x00"...), packEnd...)
	for name, read := range map[string]func() error{
		"directory": func() error { _, err := parseDirectory(lie); return err },
		"blobs":     func() error { _, err := parseDirectory(append(lie[:2:2], 1, 1, 9, 0xff, 0xff, 0xff, 7)); return err },
		"footer":    func() error { _, err := readDirectory(bytes.NewReader(foot), int64(len(foot))); return err },
		"index":     func() error { _, _, err := readIndexBody([]byte("\x00\xff\xff\x3f")); return err },
		"pack": func() error {
			r := wire.NewReader(append(make([]byte, 32), 9, 9, 0xff, 0xff, 0xff, 0x1f))
			parsePack(r)
			return r.Err()
		},
		"journal": func() error {
			packs, end, err := readRecords([]byte("\xff\xff\xff\x03\x00\x00\x00\x00record"))
			if err != nil || len(packs) > 0 || end > 0 {
				t.Errorf("%d packs, %v", len(packs), err)
			}
			return errors.New("no record")
		},
	} {
		t.Run(name, func(t *testing.T) {
			fuzzing.Bound(t, 0, func() {
				if read() == nil {
					t.Error("it is taken")
				}
			})
		})
	}
}

// bomb returns 128 MiB of zeros, compressed: with its length in front or without.
func bomb(tb testing.TB) (announced, silent []byte) {
	tb.Helper()
	zeros := make([]byte, 1<<20)
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(1<<20))
	if err != nil {
		tb.Fatal(err)
	}
	for range 128 {
		if _, err := w.Write(zeros); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	// The same with a header that is a single segment of 128 MiB: descriptor, and four bytes of length.
	silent = out.Bytes()
	announced = append([]byte("\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x08"), silent[6:]...)
	return announced, silent
}

// A frame or a manifest that would decompress to more than it may is refused without the memory for it.
func TestBombs(t *testing.T) {
	decoder()
	k := fuzzOwner(t)
	r := &Repo{key: k, log: newHistory(k)}
	announced, silent := bomb(t)
	for name, b := range map[string][]byte{"announced": announced, "silent": silent} {
		fuzzing.Bound(t, 100_000+perByte*len(b), func() {
			if _, err := decodeFrame(nil, b, codecZstd, 100_000); err == nil {
				t.Errorf("%s: a frame of 128 MiB is taken", name)
			}
		})
		stored, err := seal(k, k.CurrentEpoch(), keys.KindManifest, b)
		if err != nil {
			t.Fatal(err)
		}
		fuzzing.Bound(t, 8*maxManifest, func() {
			if _, err := openManifest(r.Key(), SnapshotRef{signer: k.VerifyKey()}, stored); err == nil {
				t.Errorf("%s: a manifest of 128 MiB is taken", name)
			}
		})
	}
}
