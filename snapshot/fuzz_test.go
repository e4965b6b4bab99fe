package snapshot

import (
	"bytes"
	"permafrost/chunk"
	"permafrost/internal/wire"
	"testing"
	"time"
)

func FuzzListingLeaf(f *testing.F) {
	for _, entries := range [][]*Entry{oddEntries(), mastodonTree(4, 3)} {
		var coder entryCoder
		var records []byte
		for _, e := range entries {
			records = coder.append(records, e)
		}
		f.Add(records)
	}
	f.Fuzz(func(t *testing.T, records []byte) {
		first := new(entryCoder).read(wire.NewReader(records))
		for n := range int64(20) {
			checkLeaf(t, ref{weight: n, first: first.Path}, records)
		}
	})
}

func FuzzRecipe(f *testing.F) {
	var records []byte
	size := int64(0)
	for _, c := range randomChunks(4, 5) {
		records = appendChunk(records, &c)
		size += c.Length
	}
	f.Add(records, size)
	f.Add([]byte{4<<2 | recordHole}, int64(4))
	f.Fuzz(func(t *testing.T, records []byte, size int64) {
		checkChunks(t, records, size)
		if refs, err := readRefs(records, kindRecipe); err == nil {
			var n node
			for _, r := range refs {
				n.addRef(r)
			}
			if !bytes.Equal(n.buf, records) {
				t.Errorf("%x\n is read and written as\n%x", records, n.buf)
			}
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	data, err := sampleManifest().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			return
		}
		text, err := m.Encode()
		if err != nil {
			t.Fatalf("parsed and not encoded: %v", err)
		}
		again, err := ParseManifest(text)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, text) {
			t.Errorf("%s\n%s\n%v", text, twice, err)
		}
	})
}

func FuzzSignature(f *testing.F) {
	w := &signatureWriter{}
	var good bytes.Buffer
	w.to = newSignatureBuffer(&good)
	w.add(&signedChunk{Chunk{Length: 3, ID: chunk.ID{1}}, []chunk.Piece{{Length: 3}}})
	w.add(&signedChunk{Chunk{Length: 5, ID: chunk.ID{2}, Extents: []Extent{{chunk.ID{3}, 4, 2}, {chunk.ID{5}, 0, 3}}},
		[]chunk.Piece{{Length: 2, Sum: chunk.Fingerprint{1}}, {Length: 3}}})
	w.finish([]chunk.ID{{9}})
	w.to.Flush()
	f.Add(good.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newSignatureReader(bytes.NewReader(data))
		chunks := 0
		for {
			c, err := r.next()
			if err != nil {
				return
			}
			if c == nil {
				break
			}
			chunks++
			if len(c.pieces) == 0 || len(c.Extents) > maxExtents {
				t.Fatalf("%d pieces, %d extents", len(c.pieces), len(c.Extents))
			}
		}
		thin := r.readThin()
		if bytes.Equal(data, good.Bytes()) && (chunks != 2 || len(thin) != 1 || r.err != nil) {
			t.Fatalf("%d chunks, %d thin blobs, %v", chunks, len(thin), r.err)
		}
	})
}

func FuzzParseSpan(f *testing.F) {
	for _, s := range []string{"2y5m7d3h", "30d", "0h", "99999y99999m99999d99999h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		span, err := ParseSpan(s)
		if err != nil {
			return
		}
		if again, err := ParseSpan(span.String()); err != nil || again != span {
			t.Errorf("%q reads as %v, and that as %v, %v", s, span, again, err)
		}
		now := time.Date(2026, 6, 27, 3, 0, 0, 0, time.UTC)
		if before := span.Before(now); before.After(now) {
			t.Errorf("%v before %v is %v", span, now, before)
		}
	})
}

func FuzzPolicyLaws(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkLaws)
}
