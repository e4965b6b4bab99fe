package repo_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/store"
)

// A countingStore counts what is read of packs.
type countingStore struct {
	store.Store
	mu           sync.Mutex
	reads, bytes int
	heads        int // reads from the first byte on
}

func (s *countingStore) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	s.mu.Lock()
	s.reads++
	s.bytes += len(p)
	if off == 0 {
		s.heads++
	}
	s.mu.Unlock()
	return s.Store.ReadAt(ctx, name, p, off)
}

// A pack that is read part by part, in its order, is opened once and read once, though its parts lie across the units
// that it is encrypted in.
func TestPackReadInParts(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	data := content{repo.Postgres: nil}
	for i := range 120 { // stored as they are, 6 MB
		data[repo.Postgres] = append(data[repo.Postgres], storetest.Random(uint64(i), 50_000))
	}
	ref, _ := mustSnapshot(t, w.open(w.writer), data, 27)
	st := &countingStore{Store: w.store}
	r, err := openFresh(t.Context(), st, w.owner)
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := r.NewReader(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	st.reads, st.bytes, st.heads = 0, 0, 0
	ids := idsOf(text)
	for i := 0; i < len(ids); i += 6 {
		var got atomic.Int32
		if err := rd.Fetch(t.Context(), ids[i:i+6], func(chunk.ID, []byte) error { got.Add(1); return nil }); err != nil || got.Load() != 6 {
			t.Fatalf("part %d: %d blobs, %v", i, got.Load(), err)
		}
	}
	if st.heads != 1 {
		t.Errorf("the pack was opened %d times", st.heads)
	}
	if most := 6_000_000 + 2*64<<10; st.bytes > most { // the last unit is read twice
		t.Errorf("%d bytes were read, in %d reads; want at most %d", st.bytes, st.reads, most)
	}
}

// More packs than a Reader keeps open, read by several goroutines at once, in an order of each one's own.
func TestManyPacksAtOnce(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	writer := w.open(w.writer)
	var ids []chunk.ID
	for i := range 90 {
		ref, _ := mustSnapshot(t, writer, content{repo.Postgres: {storetest.Random(uint64(i), 1000)}}, 27)
		text, err := writer.Manifest(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, idsOf(text)...)
	}
	rd, err := w.open(w.owner).NewReader(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for k := range 4 {
		all.Go(func() {
			for i := range 2 * len(ids) {
				n := i * (2*k + 1) % len(ids)
				err := rd.Fetch(t.Context(), ids[n:n+1], func(id chunk.ID, data []byte) error {
					if id != ids[n] || !bytes.Equal(data, storetest.Random(uint64(n), 1000)) {
						t.Errorf("blob %d is another one", n)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
