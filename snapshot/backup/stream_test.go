package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"permafrost/repo/ledger"
	"permafrost/snapshot"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/store"
	"permafrost/snapshot/stream"
)

// store commits a stream and returns it with a reader of the owner's.
func (w *world) stream(src io.ReadCloser) (snapshot.Stream, error) {
	w.t.Helper()
	wr, err := w.Open(w.Writer).NewWriter(w.t.Context(), "mastodon.example")
	if err != nil {
		w.t.Fatal(err)
	}
	defer wr.Abort()
	s, _, err := (&ingester{w: wr}).stream(w.t.Context(), repo.Postgres, src, new(levelTwo), func(int64) {})
	if err != nil {
		return s, err
	}
	if _, err := wr.Commit(w.t.Context(), []byte("{}"), ledger.SnapshotInfo{Instance: "mastodon.example"}); err != nil {
		w.t.Fatal(err)
	}
	return s, nil
}

func (w *world) reader() stream.Blobs {
	w.t.Helper()
	rd, err := snapshot.NewReader(w.t.Context(), w.Open(w.Owner), snaptest.Domain)
	if err != nil {
		w.t.Fatal(err)
	}
	return rd
}

// copy writes a stream to a writer, and verifies all of it.
func (w *world) copy(s *snapshot.Stream, to io.Writer) error {
	ctx, rd, h := w.t.Context(), w.reader(), sha256.New()
	if err := stream.Write(ctx, rd, s.Recipe.Chunks(ctx, rd), io.MultiWriter(to, h), func(int64) {}); err != nil {
		return err
	}
	return s.Verify(snapshot.SHA256(h.Sum(nil)))
}

// isLost reports whether an error says that what is stored is damaged.
func isLost(err error) bool {
	var damage *store.DamageError
	return errors.As(err, &damage)
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
		if s.Size != int64(size) || s.SHA256 != sha256.Sum256(data) || s.Recipe.Check() != nil || s.Recipe.Size != s.Size {
			t.Errorf("%d bytes: %+v", size, s)
		}
		var b bytes.Buffer
		if err := w.copy(&s, &b); err != nil || !bytes.Equal(b.Bytes(), data) {
			t.Errorf("%d bytes: %d come back: %v", size, b.Len(), err)
		}
		s.SHA256[0]++
		if err := w.copy(&s, io.Discard); !isLost(err) {
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
	err = w.copy(&s, &failingWriter{n: 40 << 20, err: full})
	if !errors.Is(err, full) || isLost(err) {
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

// A repeated dump costs next to nothing.
func TestStreamDeduplicates(t *testing.T) {
	w := newWorld(t)
	data := storetest.Random(9, 20<<20)
	if _, err := w.stream(io.NopCloser(bytes.NewReader(data))); err != nil {
		t.Fatal(err)
	}
	size := func() (n int) {
		for _, name := range w.Store.Names() {
			if strings.HasPrefix(name, "packs/") {
				n += len(w.Store.Bytes(name))
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
		wr, err := w.Open(w.Writer).NewWriter(b.Context(), "mastodon.example")
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := (&ingester{w: wr}).stream(b.Context(), repo.Postgres, io.NopCloser(bytes.NewReader(data)), new(levelTwo), func(int64) {}); err != nil {
			b.Fatal(err)
		}
		wr.Abort()
	}
}
