package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/snapshot/internal/blobtree"
)

// What is read from an offset on is what was there, whatever the chunks are; and no more of the recipe is read than leads there.
func TestReadAt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := &snaptest.Counted{Blobs: snaptest.Blobs{}}
	pool := storetest.Random(7, 64<<10)
	poolID, _ := b.Put(pool)
	for _, chunks := range []int{1, 3, 20, 5000} {
		t.Run(fmt.Sprint(chunks), func(t *testing.T) {
			rec := NewWriter(b.Put, InManifest)
			var want []byte
			for range chunks {
				n := 1 + r.IntN(300)
				data := make([]byte, n)
				c := Chunk{Length: int64(n)}
				switch r.IntN(4) {
				case 0: // a hole
				case 1:
					at := r.IntN(len(pool) - n)
					half := r.IntN(n)
					data = pool[at : at+n]
					c.ID, _ = b.Put(data)
					c.Extents = []Extent{{poolID, at + half, n - half}}
					if half > 0 {
						c.Extents = slices.Insert(c.Extents, 0, Extent{poolID, at, half})
					}
				default:
					data = storetest.Random(r.Uint64(), n)
					c.ID, _ = b.Put(data)
				}
				want = append(want, data...)
				if err := rec.Add(&c); err != nil {
					t.Fatal(err)
				}
			}
			content, err := rec.Finish()
			if err != nil {
				t.Fatal(err)
			}
			f := NewReaderAt(t.Context(), b, &content)
			for range 500 {
				off := r.IntN(len(want) + 10)
				p := make([]byte, r.IntN(1000))
				b.Gets = 0
				n, err := f.ReadAt(p, int64(off))
				end := min(off+len(p), len(want))
				switch {
				case n != max(0, end-off) || !bytes.Equal(p[:n], want[min(off, end):end]):
					t.Fatalf("%d bytes at %d: %d other ones", len(p), off, n)
				case n == len(p) && err != nil || n < len(p) && err != io.EOF:
					t.Fatalf("%d bytes of %d at %d: %v", n, len(p), off, err)
				case b.Gets > 40+len(p):
					t.Fatalf("%d bytes at %d took %d blobs", len(p), off, b.Gets)
				}
			}
			var all bytes.Buffer
			if err := Write(t.Context(), b, content.Chunks(t.Context(), b), &all, func(int64) {}); err != nil || !bytes.Equal(all.Bytes(), want) {
				t.Errorf("all of it: %d bytes of %d: %v", all.Len(), len(want), err)
			}
		})
	}
}

// canned blobs answer for any ID: with a node where its first byte is a node's number, else with content that its other bytes tell.
type canned struct {
	nodes [][]byte
	gets  int
}

func (c *canned) Blob(_ context.Context, id chunk.ID) ([]byte, error) {
	c.gets++
	if n := int(id[0]); n < len(c.nodes) {
		return c.nodes[n], nil
	}
	return bytes.Repeat(id[1:5], 1<<10)[:binary.LittleEndian.Uint16(id[5:])&0xfff], nil
}

func (c *canned) Fetch(ctx context.Context, ids []chunk.ID, f func(id chunk.ID, data []byte) error) error {
	for _, id := range ids {
		data, err := c.Blob(ctx, id)
		if err == nil {
			err = f(id, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *canned) Verify(id chunk.ID, _ []byte) bool { return id[31] == 0 }

// fromStart reads as a readerAt does, by all that comes before. It returns how many bytes of the range it found, and whether it came
// so far: no error and no great length before kept it from that.
func fromStart(rd Blobs, content *Recipe, p []byte, off int64) (n int, reached bool) {
	pos, chunks := int64(0), 0
	for c, err := range content.Chunks(context.Background(), rd) {
		if chunks++; err != nil || chunks > 10_000 {
			return n, pos >= off && err != nil
		}
		if end := pos + c.Length; end > off {
			var data []byte
			if !c.Hole() {
				if data, err = c.Bytes(context.Background(), rd); err != nil {
					return n, true
				}
			}
			for ; n < len(p) && off+int64(n) < end; n++ {
				p[n] = 0
				if !c.Hole() {
					p[n] = data[off+int64(n)-pos]
				}
			}
		}
		if pos += c.Length; n == len(p) {
			break
		}
	}
	return n, true
}

// FuzzReadAt reads a part of a stream whose recipe is anything: a root, a node and a leaf, which may stand in many places. What is read
// is what reading from the start gives; and work and memory are bounded by how much is read, not by what the recipe says.
func FuzzReadAt(f *testing.F) {
	const most = 4 << 10
	id := func(length uint16) chunk.ID {
		id := chunk.ID{0xff, 1, 2, 3, 4}
		binary.LittleEndian.PutUint16(id[5:], length)
		return id
	}
	leaf := snaptest.Chunk(nil, 100, id(100))
	leaf = snaptest.Chunk(leaf, 1<<40, chunk.ID{})
	leaf = snaptest.Chunk(leaf, 30, id(30), snaptest.Extent{Blob: id(900), Offset: 7, Length: 10}, snaptest.Extent{Blob: id(901), Length: 20})
	leaf = snaptest.Chunk(leaf, 2000, id(2000))
	const size = 100 + 1<<40 + 30 + 2000
	inner := snaptest.Ref(snaptest.Ref(nil, chunk.ID{1}, size), chunk.ID{1}, size)
	root := snaptest.Ref(snaptest.Ref(snaptest.Ref(nil, chunk.ID{0}, 2*size), chunk.ID{0}, 2*size), chunk.ID{0}, 2*size)
	inner, blob := append([]byte{blobtree.Recipe, 1}, inner...), append([]byte{blobtree.Recipe, 0}, leaf...)
	for _, off := range []int64{0, 50, 99, 1 << 40, 1<<40 + 110, size - 1, size, 2*size - 5, 5*size - 3} {
		f.Add(int64(6*size), byte(2), root, inner, blob, off, uint16(most))
		f.Add(int64(2*size), byte(1), inner[2:], inner, blob, off, uint16(300))
		f.Add(int64(size), byte(0), leaf, inner, blob, off, uint16(2100))
	}
	f.Add(int64(size), byte(1), snaptest.Ref(nil, chunk.ID{1}, size), inner, blob[:42], int64(0), uint16(100)) // damaged behind what is read
	f.Fuzz(func(t *testing.T, size int64, depth byte, root, inner, leaf []byte, off int64, length uint16) {
		content := &Recipe{Size: size, Depth: int(depth), Root: root}
		if content.Check() != nil || off < 0 {
			return
		}
		rd := &canned{nodes: [][]byte{inner, leaf}}
		at := NewReaderAt(t.Context(), rd, content)
		for range 2 { // the second time from the chunk that was read last
			got, want := make([]byte, length%(most+1)), make([]byte, length%(most+1))
			var n int
			var err error
			rd.gets = 0
			fuzzing.Bound(t, 2*chunk.MaxSize+(len(got)+2)*(1<<10)+int(depth)*(len(got)+2)*8*(len(root)+len(inner)+len(leaf)), func() { n, err = at.ReadAt(got, off) })
			if limit := (len(got) + 2) * (int(depth) + MaxExtents + 1); rd.gets > limit {
				t.Errorf("%d bytes took %d blobs", len(got), rd.gets)
			}
			m, reached := fromStart(rd, content, want[:max(0, min(int64(len(want)), size-off))], off)
			switch {
			case n < len(got) && err == nil, n == len(got) && err != nil:
				t.Errorf("%d bytes of %d: %v", n, len(got), err)
			case reached && (n != m || !bytes.Equal(got[:n], want[:m])):
				t.Errorf("%d bytes at %d: %d, and from the start %d other ones: %v", len(got), off, n, m, err)
			}
		}
	})
}
