package snapshot

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/hostfs"
	"permafrost/internal/hostile"
	"permafrost/source"
	"permafrost/source/media"
)

// recipe returns a recipe as an attacker would write it: most are in order as far as one looks at the root, and many lead to much
// from little, since each node may name the same blob over and over.
func (h *hostileCase) recipe() Recipe {
	r := h.r
	records, weight := h.leaf()
	depth := r.IntN(4)
	if r.IntN(8) == 0 {
		depth = r.IntN(maxDepth + 2)
	}
	for level := 0; level < depth; level++ {
		blob := append([]byte{pick[byte](r, kindRecipe, kindRecipe, kindRecipe, kindListing), byte(level)}, records...)
		if r.IntN(30) == 0 {
			blob[r.IntN(len(blob))] ^= byte(1 << r.IntN(8))
		}
		id := h.blob(blob)
		records = nil
		sum := int64(0)
		for range 1 + r.IntN(pick(r, 1, 3, maxRootRefs)) {
			if weight > maxWeight-sum {
				break
			}
			n := node{buf: records, last: ""}
			n.addRef(ref{id: id, weight: weight})
			records, sum = n.buf, sum+weight
		}
		weight = sum
	}
	if r.IntN(20) == 0 {
		weight += pick[int64](r, 1, -1, math.MaxInt64-weight)
	}
	return Recipe{Size: weight, Depth: depth, Root: records}
}

// leaf returns records of chunks, and of how many bytes.
func (h *hostileCase) leaf() (records []byte, weight int64) {
	r := h.r
	for range 1 + r.IntN(pick(r, 1, 4, 200)) {
		data := []byte(hostile.Name(r))
		c := Chunk{Length: int64(len(data)), ID: h.blob(data)}
		switch r.IntN(8) {
		case 0:
			c = Chunk{Length: pick[int64](r, 1, 1, 4096, 1<<20, 1<<50)}
		case 1:
			c.Length += pick[int64](r, 1, -1, chunk.MaxSize)
		case 2:
			c.ID[0]++ // is nowhere
		case 3:
			other := []byte(hostile.Name(r))
			x := Extent{h.blob(other), r.IntN(len(other)), 1 + r.IntN(len(other))}
			c.Length, c.Extents = int64(x.Length), []Extent{x}
		}
		if c.Length < 1 || c.Length > maxWeight-weight {
			continue
		}
		records, weight = appendChunk(records, &c), weight+c.Length
	}
	return records, weight
}

// A recipe that is small and leads to endlessly much: each node names the same one below it so many times.
func endless(blobs hostileBlobs, leaf []byte, weight int64) Recipe {
	for level := 0; ; level++ {
		id, _ := blobs.put(append([]byte{kindRecipe, byte(level)}, leaf...))
		n := 1000
		if level == 4 {
			n = maxRootRefs
		}
		leaf = nil
		for range n {
			leaf = binary.AppendUvarint(append(leaf, id[:]...), uint64(weight))
			leaf = append(leaf, 0, 0) // no path
		}
		if weight *= int64(n); level == 4 {
			return Recipe{Size: weight, Depth: level + 1, Root: leaf}
		}
	}
}

// What leads to endlessly much takes no memory for that, ends when it is to, and, where it writes nothing, by itself.
func TestEndlessRecipes(t *testing.T) {
	b := hostileBlobs{make(blobs)}
	id := func(text string) chunk.ID { id, _ := b.put([]byte(text)); return id }
	byID := appendChunk(nil, &Chunk{Length: 1, ID: id("x")})
	hole := appendChunk(nil, &Chunk{Length: 1})
	parts := appendChunk(nil, &Chunk{Length: 2, ID: id("yy"), Extents: []Extent{{id("x"), 0, 1}, {id("y"), 0, 1}}})
	for name, c := range map[string]struct {
		leaf   []byte
		weight int64
		alone  bool // it ends by itself
	}{
		"one blob": {byID, 1, false}, "holes": {hole, 1, true}, "parts of blobs": {parts, 2, false}, "blob and hole": {append(byID, hole...), 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			content := endless(b, c.leaf, c.weight)
			e := &Entry{Entry: source.Entry{Path: "f", Type: source.File, Mode: 0o644, Size: content.Size}, Content: content}
			inTime(t, c.alone, func(ctx context.Context) error {
				dir, err := hostfs.MakeDir(filepath.Join(t.TempDir(), "media"))
				if err != nil {
					t.Fatal(err)
				}
				defer dir.Close()
				mr := &mediaRestore{rd: b, target: media.NewTarget(dir, media.TargetOptions{}), m: &Manifest{}, told: func(_, _ int64) {}, lose: func(string, error) {}, gone: make(map[string]bool)}
				return mr.large(ctx, e)
			})
			inTime(t, false, func(ctx context.Context) error {
				return writeStream(ctx, b, content.chunks(ctx, b), io.Discard, func(int64) {})
			})
			inTime(t, true, func(ctx context.Context) error {
				need := room{}
				rs := &restorer{rd: b, m: &Manifest{Media: Media{Listing: oneFile(t, b, e)}}}
				rs.mediaRoom(ctx, &need, room{64 << 10, 100}, 4096)
				return nil
			})
		})
	}
}

// oneFile returns the listing of a file alone.
func oneFile(t *testing.T, b hostileBlobs, e *Entry) Listing {
	return writeListing(t, b.blobs, []*Entry{{Entry: source.Entry{Path: ".", Type: source.Dir, Mode: 0o755}}, e})
}

// inTime runs what may go on for ever: soon after its context has ended it has, and it never takes much memory. If alone, it ends
// before.
func inTime(t *testing.T, alone bool, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	runtime.GC() // what tests before this one have left
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	most := uint64(0)
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		if most = max(most, m.HeapAlloc); most > 200<<20 {
			t.Fatalf("it takes %d MiB after %v", most>>20, time.Since(begun))
		}
		select {
		case err := <-done:
			if alone && ctx.Err() != nil {
				t.Errorf("it goes on until it is ended: %v", err)
			}
			return
		default:
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatal("it does not end")
		}
	}
}
