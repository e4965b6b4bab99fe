package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/localdir"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"
)

// nights stores one stream night after night as a sealed host does.
type nights struct {
	*world
	dir      *localdir.Dir // the cache
	previous store.Name
	fresh    int64 // bytes that the last night stored of the stream
	wasted   int64
}

func newNights(t testing.TB) *nights {
	return &nights{world: newWorld(t), dir: openCache(t, t.TempDir())}
}

func openCache(t testing.TB, path string) *localdir.Dir {
	t.Helper()
	dir, err := localdir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// store stores a night's stream, and sees that it comes back.
func (n *nights) store(data []byte) snapshot.Stream {
	n.t.Helper()
	wr, err := n.Open(n.Writer).NewWriter(n.t.Context(), "mastodon.example")
	if err != nil {
		n.t.Fatal(err)
	}
	defer wr.Abort()
	sigs := newSketches(n.dir, "mastodon.example", wr)
	defer sigs.drop()
	near, err := sigs.levelTwo("postgres", n.previous)
	if err != nil {
		n.t.Fatal(err)
	}
	defer near.close()
	var s snapshot.Stream
	s, n.wasted, err = (&ingester{w: wr}).stream(n.t.Context(), repo.Postgres, io.NopCloser(bytes.NewReader(data)), near, func(int64) {})
	if err != nil {
		n.t.Fatal(err)
	}
	ref, err := wr.Commit(n.t.Context(), []byte("{}"), ledger.SnapshotInfo{Instance: "mastodon.example"})
	if err != nil {
		n.t.Fatal(err)
	}
	n.fresh = wr.Stats()[repo.Postgres].Fresh
	if err := sigs.keep(ref.ID); err != nil {
		n.t.Fatal(err)
	}
	n.previous = ref.ID
	n.same(&s, data)
	return s
}

// same sees that a stream reads as data.
func (n *nights) same(s *snapshot.Stream, data []byte) {
	n.t.Helper()
	var got bytes.Buffer
	if err := n.copy(s, &got); err != nil {
		n.t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		n.t.Fatal("the stream is not what it was")
	}
}

// extents returns the number of chunks with extents, and of these.
func (n *nights) extents(s *snapshot.Stream) (chunks, extents int) {
	n.t.Helper()
	for c, err := range s.Recipe.Chunks(n.t.Context(), n.reader()) {
		if err != nil {
			n.t.Fatal(err)
		}
		if c.Extents != nil {
			chunks++
			extents += len(c.Extents)
		}
	}
	return chunks, extents
}

// Whatever becomes of a stream, it comes back; and small changes cost little, wherever they are.
func TestMatch(t *testing.T) {
	base := storetest.Random(1, 3<<20)
	at := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	scattered := bytes.Clone(base)
	for i := range 30 {
		copy(scattered[i*100_000:], fmt.Sprintf("changed %d", i))
	}
	for _, test := range []struct {
		name string
		next []byte
		most int64 // bytes stored
	}{
		{"unchanged", base, 0},
		{"scattered changes", scattered, 60 << 10},
		{"inserted", at(base[:1<<20], []byte("something"), base[1<<20:]), 4 << 10},
		{"deleted", at(base[:1<<20], base[1<<20+5000:]), 4 << 10},
		{"two halves swapped", at(base[1<<20:], base[:1<<20]), 8 << 10},
		{"a part twice", at(base, base[1<<20:2<<20]), 8 << 10},
		{"every second half MiB", at(base[:1<<19], base[2<<19:3<<19], base[4<<19:5<<19]), 16 << 10},
		{"in front of new", at(storetest.Random(2, 1<<20), base), 1<<20 + 8<<10},
		{"something else", storetest.Random(3, 2<<20), 2 << 20},
		{"a byte", base[:1], 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNights(t)
			n.store(base)
			n.store(test.next)
			if n.fresh > test.most {
				t.Errorf("%d bytes were stored", n.fresh)
			}
			n.store(test.next)
			if n.fresh > int64(3*chunk.Stream.Max) { // what it uses of thin blobs
				t.Errorf("the same again: %d bytes were stored", n.fresh)
			}
			n.store(base)
			if n.fresh > 64<<10 {
				t.Errorf("back again: %d bytes were stored", n.fresh)
			}
		})
	}
}

// Over a month a stream that is changed each night neither costs more each night nor references much that it does not use.
func TestMatchAges(t *testing.T) {
	n := newNights(t)
	rng := rand.New(rand.NewPCG(1, 2))
	data := storetest.Random(1, 3<<20)
	n.store(data)
	var total int64
	for night := range 30 {
		for range 40 { // rows that are updated, an eighth of them in one place
			off := rng.IntN(len(data) - 100)
			if rng.IntN(8) == 0 {
				off = len(data)/2 + rng.IntN(1<<16)
			}
			copy(data[off:], storetest.Random(rng.Uint64(), 60))
		}
		data = append(data, storetest.Random(rng.Uint64(), 10<<10)...)
		s := n.store(data)
		total += n.fresh
		if n.wasted > s.Size*3/10 {
			t.Errorf("night %d: %d bytes of %d are wasted", night, n.wasted, s.Size)
		}
		if chunks, extents := n.extents(&s); extents > chunks*stream.MaxExtents*2/3 {
			t.Errorf("night %d: %d extents in %d chunks", night, extents, chunks)
		}
	}
	// Each night brings 10 KiB and changes 40 pieces of some 300 bytes, each with its neighbour now and then.
	if total > 30*70<<10 {
		t.Errorf("a month stored %d bytes", total)
	}
}

// Nothing is matched into what is not there any more.
func TestMatchMissing(t *testing.T) {
	n := newNights(t)
	data := storetest.Random(1, 2<<20)
	n.store(data)
	for _, name := range n.Store.Names() {
		if strings.HasPrefix(name, "packs/") {
			if err := n.Store.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	copy(data[1<<20:], "changed")
	n.store(data)
	if n.fresh != int64(len(data)) {
		t.Errorf("%d bytes of %d were stored", n.fresh, len(data))
	}
}

// A sketch that is damaged, or of something else, is refused.
func TestSketchRefused(t *testing.T) {
	n := newNights(t)
	n.store(storetest.Random(1, 1<<20))
	wr, err := n.Open(n.Writer).NewWriter(t.Context(), "mastodon.example")
	if err != nil {
		t.Fatal(err)
	}
	defer wr.Abort()
	sigs := newSketches(n.dir, "mastodon.example", wr)
	path := sigs.dir.Path("postgres")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	refused := func(what string, s *sketches, stream string, of store.Name) {
		t.Helper()
		if r, err := s.open(stream, of); err == nil {
			r.close()
			t.Errorf("%s is taken", what)
		}
	}
	for at := 0; at < len(good); at += max(1, len(good)/997) {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprintf("a sketch with byte %d flipped", at), sigs, "postgres", n.previous)
		if err := os.WriteFile(path, good[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprintf("a sketch of %d bytes", at), sigs, "postgres", n.previous)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a sketch of another snapshot", sigs, "postgres", store.Name{1})
	other := *sigs
	other.key[0]++
	refused("a sketch with another key", &other, "postgres", n.previous)
	other = *sigs
	other.instance = "other.example"
	refused("a sketch of another instance", &other, "postgres", n.previous)
	if err := os.Rename(path, sigs.dir.Path("redis")); err != nil {
		t.Fatal(err)
	}
	refused("a sketch of another stream", sigs, "redis", n.previous)
	if _, err := sigs.open("postgres", n.previous); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no sketch: %v", err)
	}
}

// What an interrupted run leaves goes, and a run that fails leaves the sketch as it was.
func TestSketchDropped(t *testing.T) {
	n := newNights(t)
	n.store(storetest.Random(1, 1<<20))
	for range 2 {
		wr, err := n.Open(n.Writer).NewWriter(t.Context(), "mastodon.example")
		if err != nil {
			t.Fatal(err)
		}
		sigs := newSketches(n.dir, "mastodon.example", wr)
		if _, err := sigs.levelTwo("postgres", n.previous); err != nil {
			t.Fatal(err)
		}
		if entries := sigs.dir.Names(); len(entries) != 2 {
			t.Errorf("%d files", len(entries))
		}
		wr.Abort() // and no drop
	}
	n.store(storetest.Random(1, 1<<20))
}

// A cache that can't be written costs thrift alone.
func TestSketchNowhere(t *testing.T) {
	n := newNights(t)
	if err := os.WriteFile(n.dir.Path("signatures"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.store(storetest.Random(1, 1<<20))
}

func BenchmarkMatch(b *testing.B) {
	for _, bench := range []struct {
		name    string
		changes int
	}{{"unchanged", 0}, {"a change each 100 KB", 640}} {
		b.Run(bench.name, func(b *testing.B) {
			n := newNights(b)
			data := storetest.Random(1, 64<<20)
			n.store(data)
			for i := range bench.changes {
				copy(data[i*100_000:], "changed")
			}
			wr, err := n.Open(n.Writer).NewWriter(b.Context(), "mastodon.example")
			if err != nil {
				b.Fatal(err)
			}
			defer wr.Abort()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				near, err := newSketches(n.dir, "mastodon.example", wr).levelTwo("postgres", n.previous)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := (&ingester{w: wr}).stream(b.Context(), repo.Postgres, io.NopCloser(bytes.NewReader(data)), near, func(int64) {}); err != nil {
					b.Fatal(err)
				}
				near.close()
			}
		})
	}
}
