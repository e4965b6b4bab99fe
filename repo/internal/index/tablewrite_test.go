package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/localdir"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"
)

// fullDisk takes so many bytes.
type fullDisk struct {
	memFile
	room int
}

func (f *fullDisk) WriteAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > f.room {
		return 0, errors.New("no space left on device")
	}
	return f.memFile.WriteAt(p, off)
}

// A disk that fills up while a table is written, or its runs, is a localError at whatever write.
func TestTableOnFullDisk(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	pool := randomPool(rng, 300)
	objects := randomObjects(rng, pool)
	for room, done := 0, false; !done; room += 3000 {
		for _, what := range []string{"table", "runs"} {
			disk := &fullDisk{room: room}
			w := &tableWriter{room: 20, scratch: func() pageBytes { return new(memFile) }}
			w.pages = newPageWriter(disk, testKey)
			if what == "runs" {
				w.scratch = func() pageBytes { return disk }
				w.pages = newPageWriter(new(memFile), testKey)
			}
			w.pages.begin(frameSize)
			err := addObjects(objects)(w)
			if err == nil {
				_, err = w.finish("")
			}
			var local *localError
			if done = err == nil; !done && !errors.As(err, &local) {
				t.Fatalf("%s, room for %d: %v", what, room, err)
			}
		}
	}
}

// A merge reads every source to its end and no further, one with nothing in it included.
func TestMerger(t *testing.T) {
	var want []byte
	var sources []source
	for i := range 7 {
		s := new(bufferSource)
		for j := i; j < 200 && i != 3; j += 1 + i*3 {
			var e entry
			e[0] = byte(j)
			*s = append(*s, e)
			want = append(want, e[0])
		}
		sources = append(sources, s)
	}
	slices.Sort(want)
	m, err := newMerger(sources)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for m.len() > 0 {
		got = append(got, m.top()[0])
		if err := m.pop(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if _, err := newMerger([]source{failing{}}); err == nil {
		t.Error("a source that fails is passed over")
	}
}

type failing struct{}

func (failing) read() ([]byte, error) { return nil, io.ErrUnexpectedEOF }

// BenchmarkTable makes, opens and asks a table of five million blobs in 20,000 packs.
func BenchmarkTable(b *testing.B) {
	const packs, each = 20_000, 250
	dir := b.TempDir()
	rng := rand.NewChaCha8([32]byte{})
	ids := make([]chunk.ID, 0, 1<<16)
	var path string
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			ids = ids[:0] // of the table that is asked
			tb := makeTable(b, dir, runEntries, func(w *tableWriter) error {
				w.object(tableObject{name: store.Name{1}, instance: "bench.example"})
				for i := range packs {
					p := &pack.Pack{Size: 16 << 20, Header: 1700}
					p.Epoch = 1
					binary.BigEndian.PutUint64(p.Name[:], uint64(i)*0x9e3779b97f4a7c15)
					for range 10 {
						f := pack.Frame{Stored: 1 << 20}
						for range each / 10 {
							var id chunk.ID
							rng.Read(id[:])
							f.Blobs = append(f.Blobs, pack.Blob{ID: id, Length: 40_000})
							if len(ids) < cap(ids) && rng.Uint64()%64 == 0 {
								ids = append(ids, id)
							}
						}
						p.Frames = append(p.Frames, f)
					}
					if err := w.pack(p); err != nil {
						return err
					}
				}
				return nil
			})
			path = tb.path
		}
	})
	cache, err := localdir.Open(filepath.Dir(path))
	if err != nil {
		b.Fatal(err)
	}
	var x *Index
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			tb, err := openTableFile(cache, filepath.Base(path), testKey)
			if err != nil {
				b.Fatal(err)
			}
			x = testIndex(b, []*table{tb}, func(store.Name) bool { return true })
		}
	})
	pick := rand.New(rand.NewPCG(1, 1))
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			if _, ok, err := x.Length(ids[pick.IntN(len(ids))]); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("miss", func(b *testing.B) {
		var id chunk.ID
		for b.Loop() {
			rng.Read(id[:])
			if _, ok, err := x.Length(id); ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d MB on disk", info.Size()/1e6)
}
