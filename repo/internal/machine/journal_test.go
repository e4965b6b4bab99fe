package machine

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/repo/internal/pack"
	"permafrost/repo/internal/pack/packtest"
	"permafrost/repo/store"
)

// perByte bounds what the parser of records may allocate for each byte of them.
const perByte = 8

// newPack returns a pack whose size is what its directory says, as no other is taken.
func newPack(rng *rand.Rand) *pack.Pack {
	p := &pack.Pack{Header: 1 + rng.IntN(pack.MaxAgeHeader)}
	for i := range p.Name {
		p.Name[i] = byte(rng.Uint32())
	}
	p.Epoch, p.Component = 1+uint32(rng.IntN(3)), pack.Component(rng.IntN(int(pack.Components)))
	for range 1 + rng.IntN(3) {
		f := pack.Frame{Codec: pack.Codec(rng.IntN(2))}
		for range 1 + rng.IntN(9) {
			var id chunk.ID
			for i := range id {
				id[i] = byte(rng.Uint32())
			}
			f.Blobs = append(f.Blobs, pack.Blob{ID: id, Length: 1 + rng.IntN(chunk.MaxSize/8)})
		}
		p.Frames = append(p.Frames, f)
	}
	packtest.Fit(rng, p)
	return p
}

func FuzzJournal(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	good := slices.Concat(newRecord(newPack(rng)), newRecord(newPack(rng)))
	fuzzing.Seed(f, func(b []byte) error {
		if packs, end, err := readRecords(b); err != nil || len(packs) != 2 || end != int64(len(b)) {
			return errors.Join(errors.New("not whole"), err)
		}
		return nil
	}, good)
	f.Add(good[:len(good)-1])
	f.Add([]byte("\xff\xff\xff\x03\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var packs []*pack.Pack
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
func readRecords(b []byte) (packs []*pack.Pack, end int64, err error) {
	for r, err := range readJournal(bytes.NewReader(b)) {
		if err != nil {
			return nil, 0, err
		}
		packs, end = append(packs, r.pack), r.end
	}
	return packs, end, nil
}

// A record that lies of its length is refused before the memory is there.
func TestLyingRecord(t *testing.T) {
	fuzzing.Bound(t, 0, func() {
		packs, end, err := readRecords([]byte("\xff\xff\xff\x03\x00\x00\x00\x00record"))
		if err != nil || len(packs) > 0 || end > 0 {
			t.Errorf("%d packs, %v", len(packs), err)
		}
	})
}

// A journal whose last record a process was writing when it died has all records before it, and what is added then follows these.
func TestTornJournal(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	state := t.TempDir()
	repository := store.Name{1}
	add := func(want []store.Name, more ...*pack.Pack) {
		t.Helper()
		j, left, err := Open(state, "", repository).Journal("social.example")
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		if got := packNames(left); !slices.Equal(got, want) {
			t.Fatalf("%d packs are left, want %d", len(got), len(want))
		}
		for _, p := range more {
			if err := j.Add(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	a, b, c := newPack(rng), newPack(rng), newPack(rng)
	add(nil, a, b)
	files, err := filepath.Glob(filepath.Join(state, "*", "journal-social.example"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], int64(len(whole)-1)); err != nil {
		t.Fatal(err)
	}
	add(packNames([]*pack.Pack{a}), c)
	add(packNames([]*pack.Pack{a, c}))
}

// What a journal is asked for comes in its order, whether it lies in a file or in memory; what it lacks is an error.
func TestJournalPacks(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	a, b, c := newPack(rng), newPack(rng), newPack(rng)
	for name, m := range map[string]*Memory{"in memory": new(Memory), "on disk": Open(t.TempDir(), "", store.Name{1})} {
		t.Run(name, func(t *testing.T) {
			j, err := m.Spool()
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			for _, p := range []*pack.Pack{a, b} {
				if err := j.Add(p); err != nil {
					t.Fatal(err)
				}
			}
			ask := func(names ...store.Name) (got []store.Name, err error) {
				for p, err := range j.Packs(names) {
					if err != nil {
						return got, err
					}
					got = append(got, p.Name)
				}
				return got, nil
			}
			if got, err := ask(b.Name, a.Name); err != nil || !slices.Equal(got, []store.Name{a.Name, b.Name}) {
				t.Errorf("%d packs, %v", len(got), err)
			}
			if got, err := ask(b.Name); err != nil || !slices.Equal(got, []store.Name{b.Name}) {
				t.Errorf("%d packs, %v", len(got), err)
			}
			if _, err := ask(a.Name, c.Name); err == nil {
				t.Error("a pack that is not there is not missed")
			}
		})
	}
}

func packNames(packs []*pack.Pack) (names []store.Name) {
	for _, p := range packs {
		names = append(names, p.Name)
	}
	return names
}
