package snapshot

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/source"
)

// store commits a stream and returns it with a reader of the owner's.
func (w *world) stream(src io.ReadCloser) (Stream, error) {
	w.t.Helper()
	wr, err := w.open(w.writer).NewWriter(w.t.Context(), "mastodon.example")
	if err != nil {
		w.t.Fatal(err)
	}
	defer wr.Abort()
	s, _, err := (&ingester{w: wr}).stream(w.t.Context(), repo.Postgres, src, new(levelTwo), func(int64) {})
	if err != nil {
		return s, err
	}
	if _, err := wr.Commit(w.t.Context(), []byte("{}"), repo.SnapshotInfo{Instance: "mastodon.example"}); err != nil {
		w.t.Fatal(err)
	}
	return s, nil
}

func (w *world) reader() *reader {
	w.t.Helper()
	rd, err := newReader(w.t.Context(), w.open(w.owner), "mastodon.example")
	if err != nil {
		w.t.Fatal(err)
	}
	return rd
}

func TestStreamRoundTrip(t *testing.T) {
	w := newWorld(t)
	for i, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 9 << 20, 70 << 20} {
		data := storetest.Random(uint64(i), size)
		var src io.Reader = bytes.NewReader(data)
		if size < 1<<20 {
			src = iotest.HalfReader(src)
		}
		s, err := w.stream(io.NopCloser(src))
		if err != nil {
			t.Fatal(err)
		}
		if s.Size != int64(size) || s.SHA256 != sumOf(data) || s.check() != nil {
			t.Errorf("%d bytes: %+v", size, s)
		}
		var b bytes.Buffer
		if err := copyStream(t.Context(), w.reader(), &s, &b, func(int64) {}); err != nil || !bytes.Equal(b.Bytes(), data) {
			t.Errorf("%d bytes: %d come back: %v", size, b.Len(), err)
		}
		s.SHA256[0]++
		if err := copyStream(t.Context(), w.reader(), &s, io.Discard, func(int64) {}); !isDamage(err) {
			t.Errorf("another SHA-256: %v", err)
		}
	}
}

// A source's error is the stream's, whatever came before it: only io.EOF is an end.
func TestStreamFails(t *testing.T) {
	w := newWorld(t)
	for _, want := range []error{errors.New("pg_dump failed"), io.ErrUnexpectedEOF} {
		for _, size := range []int{0, 100, 3 << 20} {
			src := io.MultiReader(bytes.NewReader(storetest.Random(1, size)), iotest.ErrReader(want))
			if s, err := w.stream(io.NopCloser(src)); !errors.Is(err, want) {
				t.Errorf("after %d bytes: %+v, %v", size, s, err)
			}
		}
	}
	full := errors.New("full")
	s, err := w.stream(io.NopCloser(bytes.NewReader(storetest.Random(1, 70<<20))))
	if err != nil {
		t.Fatal(err)
	}
	err = copyStream(t.Context(), w.reader(), &s, &failingWriter{n: 40 << 20, err: full}, func(int64) {})
	if !errors.Is(err, full) || isDamage(err) {
		t.Errorf("a full disk: %v", err)
	}
}

type failingWriter struct {
	n   int
	err error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, w.err
	}
	return len(p), nil
}

// Chunks that are put together from parts of blobs are verified as a whole, and extents must lie in their blobs.
func TestStreamExtents(t *testing.T) {
	w := newWorld(t)
	wr, err := w.open(w.writer).NewWriter(t.Context(), "mastodon.example")
	if err != nil {
		t.Fatal(err)
	}
	defer wr.Abort()
	r := rand.New(rand.NewPCG(1, 1))
	in := &ingester{w: wr}
	var pool [][]byte
	var ids []chunk.ID
	for i := range 50 {
		data := storetest.Random(uint64(i), 1000+r.IntN(200_000))
		id, err := in.blob(t.Context(), repo.Postgres, data)
		if err != nil {
			t.Fatal(err)
		}
		pool, ids = append(pool, data), append(ids, id)
	}
	var chunks []Chunk
	var want []byte
	for range 3000 {
		var c Chunk
		start := len(want)
		for range 1 + r.IntN(5) {
			k := r.IntN(len(pool))
			off := r.IntN(len(pool[k]))
			n := 1 + r.IntN(min(20_000, len(pool[k])-off))
			c.Extents = append(c.Extents, Extent{ids[k], off, n})
			want = append(want, pool[k][off:off+n]...)
		}
		c.Length, c.ID = int64(len(want)-start), wr.Sum(repo.Postgres, want[start:])
		chunks = append(chunks, c)
	}
	build := func(cs []Chunk) Recipe {
		rec := newRecipeWriter(in.sink(t.Context()), rootExtents)
		for i := range cs {
			if err := rec.add(&cs[i]); err != nil {
				t.Fatal(err)
			}
		}
		out, err := rec.finish()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	// A hole, a chunk that is a blob, and the same one again.
	chunks = append(chunks, Chunk{Length: 70_000})
	want = append(want, make([]byte, 70_000)...)
	for range 2 {
		chunks = append(chunks, Chunk{ID: ids[3], Length: int64(len(pool[3]))})
		want = append(want, pool[3]...)
	}
	good := build(chunks)
	bad := map[string]Recipe{}
	spoil := func(name string, f func(c *Chunk)) {
		c := chunks[7]
		c.Extents = append([]Extent(nil), c.Extents...)
		f(&c)
		bad[name] = build([]Chunk{chunks[0], c})
	}
	spoil("another chunk", func(c *Chunk) { c.ID[0]++ })
	spoil("beyond the blob", func(c *Chunk) { c.Extents[0].Offset = len(pool[0]) + 1<<18 })
	spoil("no such blob", func(c *Chunk) { c.Extents[0].Blob[0]++ })
	spoil("a part for the whole", func(c *Chunk) { *c = Chunk{Length: c.Length, ID: c.Extents[0].Blob} })
	if _, err := wr.Commit(t.Context(), []byte("{}"), repo.SnapshotInfo{Instance: "mastodon.example"}); err != nil {
		t.Fatal(err)
	}
	rd := w.reader()
	insp := newInspector(rd.Instance(), rd)
	var b bytes.Buffer
	if err := writeStream(t.Context(), rd, good.chunks(t.Context(), rd), &b, func(int64) {}); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%d bytes of %d: %v", b.Len(), len(want), err)
	}
	file := filepath.Join(t.TempDir(), "media")
	target := newTarget(t, file)
	told := int64(0)
	mr := &mediaRestore{rd: rd, target: target, told: func(_, n int64) { told += n }, gone: make(map[string]bool)}
	e := &Entry{Entry: source.Entry{Path: "large", Type: source.File, Mode: 0o644, Size: good.Size}, Content: good}
	if err := mr.large(t.Context(), e); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(file, "large")); err != nil || !bytes.Equal(got, want) || told != int64(len(want)-70_000) {
		t.Errorf("a file of parts has %d bytes, %d told: %v", len(got), told, err)
	}
	if err := insp.inspectRecipe(t.Context(), &good, rd); err != nil {
		t.Error(err)
	}
	for name, r := range bad {
		if err := writeStream(t.Context(), rd, r.chunks(t.Context(), rd), io.Discard, func(int64) {}); !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
		lost := 0
		mr.lose = func(string, error) { lost++ }
		e := &Entry{Entry: source.Entry{Path: "bad", Type: source.File, Mode: 0o644, Size: r.Size}, Content: r}
		if err := mr.large(t.Context(), e); err != nil || lost != 1 {
			t.Errorf("%s: as a file: %v, %d lost", name, err, lost)
		}
		if _, err := os.Stat(filepath.Join(file, "bad")); err == nil {
			t.Errorf("%s: a damaged file was left", name)
		}
		if err := insp.inspectRecipe(t.Context(), &r, rd); (err == nil) != (name == "another chunk") {
			t.Errorf("%s: verified: %v", name, err)
		}
	}
}

// A repeated dump costs next to nothing.
func TestStreamDeduplicates(t *testing.T) {
	w := newWorld(t)
	data := storetest.Random(9, 20<<20)
	if _, err := w.stream(io.NopCloser(bytes.NewReader(data))); err != nil {
		t.Fatal(err)
	}
	size := func() (n int) {
		for _, name := range w.store.Names() {
			if strings.HasPrefix(name, "packs/") {
				n += len(w.store.Bytes(name))
			}
		}
		return n
	}
	before := size()
	changed := append(append(bytes.Clone(data[:5<<20]), "inserted"...), data[5<<20:]...)
	if _, err := w.stream(io.NopCloser(bytes.NewReader(changed))); err != nil {
		t.Fatal(err)
	}
	if n := size() - before; n > 3*chunk.Stream.Max+64<<10 { // a chunk or two, and the recipe
		t.Errorf("8 bytes inserted cost %d", n)
	}
}

func BenchmarkIngest(b *testing.B) {
	w := newWorld(b)
	data := storetest.Random(1, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		wr, err := w.open(w.writer).NewWriter(b.Context(), "mastodon.example")
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := (&ingester{w: wr}).stream(b.Context(), repo.Postgres, io.NopCloser(bytes.NewReader(data)), new(levelTwo), func(int64) {}); err != nil {
			b.Fatal(err)
		}
		wr.Abort()
	}
}
