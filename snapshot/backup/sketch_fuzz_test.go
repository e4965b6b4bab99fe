package backup

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/repo/store"
	"permafrost/snapshot/stream"
)

// FuzzSketch reads files as they come and, with the key's proof renewed, what is beneath.
func FuzzSketch(f *testing.F) {
	s := &sketches{dir: openCache(f, f.TempDir()), instance: "social.example", key: chunk.IDKey{1}}
	of := store.Name{7}
	w := s.create("postgres")
	w.add(&sketchedChunk{stream.Chunk{Length: 3, ID: chunk.ID{1}}, []chunk.Piece{{Length: 3}}})
	w.add(&sketchedChunk{stream.Chunk{Length: 500, ID: chunk.ID{2}, Extents: []stream.Extent{{Blob: chunk.ID{3}, Offset: 4, Length: 200}, {Blob: chunk.ID{5}, Length: 300}}},
		[]chunk.Piece{{Length: 400, Sum: chunk.PieceSum{1}}, {Length: 100}}})
	w.finish([]chunk.ID{{9}})
	if err := s.keep(of); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(s.dir.Path("postgres"))
	if err != nil {
		f.Fatal(err)
	}
	read := func(tb testing.TB, data []byte) (chunks, thin int, err error) {
		if err := os.WriteFile(s.dir.Path("postgres"), data, 0o600); err != nil {
			tb.Fatal(err)
		}
		r, err := s.open("postgres", of)
		if err != nil {
			return 0, 0, err
		}
		defer r.close()
		for {
			c, err := r.next()
			if c == nil || err != nil {
				return chunks, len(r.thin), err
			}
			if chunks++; len(c.pieces) == 0 || len(c.Extents) > stream.MaxExtents || c.Length > int64(chunk.Stream.Max) {
				tb.Fatalf("chunk of %d bytes, %d pieces, %d extents", c.Length, len(c.pieces), len(c.Extents))
			}
		}
	}
	if chunks, thin, err := read(f, good); chunks != 2 || thin != 1 || err != nil {
		f.Fatal(chunks, thin, err)
	}
	f.Add(good, false)
	f.Add(good, true)
	f.Fuzz(func(t *testing.T, data []byte, proven bool) {
		if proven && len(data) >= sketchTail {
			mac := s.key.Hash()
			at := len(data) - sketchTail + 8
			data = slices.Concat(data[:at], of[:])
			mac.Write(data)
			data = mac.Sum(data)
		}
		// Buffers for reading, and a record's lists before it is seen that they lie.
		fuzzing.Bound(t, 1<<20+16*len(data), func() {
			if _, _, err := read(t, data); err == nil && !proven && !bytes.Equal(data, good) {
				t.Error("a sketch that nobody made is believed")
			}
		})
	})
}
