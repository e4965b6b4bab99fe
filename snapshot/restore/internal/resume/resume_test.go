package resume

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/stream"
)

// A meter counts what is fetched of a made-up repository.
type meter struct {
	snaptest.Blobs
	bytes atomic.Int64
}

func (m *meter) Fetch(ctx context.Context, ids []chunk.ID, f func(id chunk.ID, data []byte) error) error {
	return m.Blobs.Fetch(ctx, ids, func(id chunk.ID, data []byte) error {
		m.bytes.Add(int64(len(data)))
		return f(id, data)
	})
}

// A dump that is there in part goes on behind the last chunk that verifies, whatever follows.
func TestContinueStream(t *testing.T) {
	m := &meter{Blobs: snaptest.Blobs{}}
	w := stream.NewWriter(m.Put, 4)
	r := rand.New(rand.NewPCG(1, 2))
	var want []byte
	var ends []int // of chunks
	for i := range 300 {
		data := storetest.Random(uint64(i), 1000+r.IntN(60_000))
		c := stream.Chunk{Length: int64(len(data))}
		if i%9 == 5 {
			clear(data)
		} else {
			id, _ := m.Put(data)
			c.ID = id
		}
		if err := w.Add(&c); err != nil {
			t.Fatal(err)
		}
		want = append(want, data...)
		ends = append(ends, len(want))
	}
	rec, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	s := &snapshot.Stream{Size: int64(len(want)), SHA256: sha256.Sum256(want), Recipe: rec}
	flip := func(at int) []byte {
		b := bytes.Clone(want)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		there []byte
		good  int // bytes that stay
	}{
		"nothing":            {nil, 0},
		"all":                {want, len(want)},
		"more than all":      {append(bytes.Clone(want), "more"...), len(want)},
		"to a chunk's end":   {want[:ends[99]], ends[99]},
		"into a chunk":       {want[:ends[99]+1], ends[99]},
		"zeros behind":       {append(bytes.Clone(want[:ends[99]]), make([]byte, len(want)-ends[99])...), ends[99]},
		"a hole that is not": {flip(ends[4] + 1), ends[4]},
		"the first byte":     {flip(0), 0},
		"the last byte":      {flip(len(want) - 1), ends[298]},
		"something else":     {storetest.Random(7, len(want)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "part")
			if err := os.WriteFile(path, c.there, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			kept, told := int64(0), int64(0)
			m.bytes.Store(0)
			if err := Stream(t.Context(), m, s, f, func(n int64) { kept += n }, func(n int64) { told += n }); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d: %v", len(got), len(want), err)
			}
			if kept != int64(c.good) || m.bytes.Load() > int64(len(want)-c.good) {
				t.Errorf("%d bytes stayed, want %d; %d were fetched", kept, c.good, m.bytes.Load())
			}
		})
	}
	s.SHA256[0]++
	path := filepath.Join(t.TempDir(), "part")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Stream(t.Context(), m, s, f, func(int64) {}, func(int64) {}); !fault.IsDamage(err) {
		t.Errorf("a wrong sum: %v", err)
	}
}
