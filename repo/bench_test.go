package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
)

// sink is a store that keeps everything but packs, so that a benchmark measures what is done before they leave.
type sink struct{ *storetest.Mem }

func (s sink) Put(ctx context.Context, name string, data ...[]byte) error {
	if bytes.HasPrefix([]byte(name), []byte("packs/")) {
		return nil
	}
	return s.Mem.Put(ctx, name, data...)
}

// BenchmarkWriter measures ID, compression, encryption and pack assembly of blobs that are all new.
func BenchmarkWriter(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 150<<10)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	var text []byte
	for len(text) < 64<<10 {
		text = fmt.Appendf(text, "%d\t2026-06-%02d 12:%02d:%02d\tA status about the %d winters of a small town\t\\N\tf\n",
			rng.Uint64(), rng.IntN(30), rng.IntN(60), rng.IntN(60), rng.IntN(100))
	}
	for _, k := range []struct {
		name string
		c    repo.Component
		data []byte
	}{{"media-150K-incompressible", repo.Media, random}, {"stream-64K-text", repo.Postgres, text}} {
		b.Run(k.name, func(b *testing.B) {
			st := sink{storetest.NewMem(b)}
			owner, err := keys.NewOwner()
			if err != nil {
				b.Fatal(err)
			}
			writer, err := owner.NewWriter("bench")
			if err != nil {
				b.Fatal(err)
			}
			if err := initRepo(b.Context(), st, owner, writer, repo.InitOptions{}); err != nil {
				b.Fatal(err)
			}
			r, err := openFresh(b.Context(), st, writer)
			if err != nil {
				b.Fatal(err)
			}
			w, err := r.NewWriter(b.Context(), instance)
			if err != nil {
				b.Fatal(err)
			}
			defer w.Abort()
			b.SetBytes(int64(len(k.data)))
			b.ReportAllocs()
			data := bytes.Clone(k.data)
			for i := 0; b.Loop(); i++ {
				data[0], data[1], data[2], data[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
				if _, err := w.Add(b.Context(), k.c, w.Sum(k.c, data), data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
