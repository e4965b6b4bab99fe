package pack

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"permafrost/chunk"
	"permafrost/internal/parts"
	"permafrost/internal/storetest"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// A shelf takes packs, each once it is told to.
type shelf struct {
	store.Store
	gate chan struct{} // one object may pass for each value
	mu   sync.Mutex
	size map[string]int64
}

func (s *shelf) Put(ctx context.Context, name string, data ...[]byte) error {
	select {
	case <-s.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size[name] = parts.Size(data)
	return nil
}

func (*shelf) RoundTrip() time.Duration { return 0 }

// Packs of every component are filled at once, slowly taken: the memory is enough, nothing stands still, and each blob
// is in one pack.
func TestPackingBound(t *testing.T) {
	owner, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	st := &shelf{gate: make(chan struct{}), size: make(map[string]int64)}
	packed := make(map[chunk.ID]int)
	made := 0
	g := NewPipeline(t.Context(), st, owner.CurrentEpoch(), "social.example", func(p *Pack) error {
		made++
		for _, f := range p.Frames {
			for _, b := range f.Blobs {
				packed[b.ID]++
			}
		}
		return nil
	})
	const size, blobs = 700 << 10, 40 // of each component
	var adders sync.WaitGroup
	for c := range Components {
		adders.Go(func() {
			data := storetest.Random(uint64(c), size)
			for i := range blobs {
				id := chunk.ID{byte(c), byte(i), 1}
				if err := g.Add(t.Context(), Component(c), Blob{id, size}, data); err != nil {
					t.Error(err)
				}
			}
		})
	}
	flushed := make(chan error)
	go func() {
		adders.Wait()
		flushed <- g.Flush()
	}()
	for passed := 0; ; passed++ {
		select {
		case st.gate <- struct{}{}:
			continue
		case err := <-flushed:
			if err != nil {
				t.Fatal(err)
			}
		}
		if made != passed || len(st.size) != passed {
			t.Errorf("%d packs passed, %d are noted, %d are there", passed, made, len(st.size))
		}
		break
	}
	for _, n := range packed {
		if n != 1 {
			t.Errorf("a blob is packed %d times", n)
		}
	}
	if len(packed) != blobs*int(Components) {
		t.Errorf("%d blobs are packed, want %d", len(packed), blobs*int(Components))
	}
	for name, size := range st.size {
		if size > Size+Size/16 {
			t.Errorf("%s has %d bytes", name, size)
		}
	}
	if err := g.Add(t.Context(), Media, Blob{chunk.ID{1}, 1}, []byte{1}); err == nil {
		t.Error("a blob is taken after the flush")
	}
	// A short segment that took the place of a whole one would leave too little for a large pack in the end.
	if len(g.segments) != segments {
		t.Errorf("%d segments of %d are back", len(g.segments), segments)
	}
	for range len(g.segments) {
		if s := <-g.segments; s != nil && cap(s) != segmentSize {
			t.Errorf("a segment of %d bytes is kept", cap(s))
		}
	}
}

// What a pack is built of, segments, is what is read back from it.
func TestPackBuilderSegments(t *testing.T) {
	owner, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no more")
	for _, room := range []int{1 << 10, 64 << 10, 1 << 20} {
		b, err := newBuilder(func() ([]byte, error) { return make([]byte, 0, room), nil }, owner.CurrentEpoch(), "social.example", Media)
		if err != nil {
			t.Fatal(err)
		}
		data := storetest.Random(3, 300<<10)
		f := Frame{Codec: Raw, Stored: len(data), Blobs: []Blob{{chunk.ID{1}, len(data)}}}
		if err := b.add(f, data); err != nil {
			t.Fatal(err)
		}
		p, out, err := b.finish()
		if err != nil {
			t.Fatal(err)
		}
		if parts.Size(out) != p.Size {
			t.Errorf("%d bytes, the pack says %d", parts.Size(out), p.Size)
		}
		r, err := age.Decrypt(parts.Reader(out), owner.DataIdentities()...)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(plain)) != PlainSize(p.Size, p.Header) || string(plain[len(Magic):len(Magic)+len(data)]) != string(data) {
			t.Error("the pack does not hold what was put into it")
		}
	}
	if _, err := newBuilder(func() ([]byte, error) { return nil, broken }, owner.CurrentEpoch(), "social.example", Media); !errors.Is(err, broken) {
		t.Errorf("no segment: %v", err)
	}
}
