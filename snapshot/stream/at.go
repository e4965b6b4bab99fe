package stream

import (
	"context"
	"io"
	"sync"

	"permafrost/snapshot/internal/blobtree"
)

// A ReaderAt reads a stream at any offset. It is an io.ReaderAt, which may be called from several goroutines at once. Every byte is
// verified before it is given out: what lies at that place, and nothing else of the stream. A call fetches the recipe's blobs that
// lead to what is read, and its chunks. It takes memory for a recipe's blob a level and for a chunk, which is kept for the next call.
type ReaderAt struct {
	ctx     context.Context
	rd      Blobs
	content *Recipe

	mu   sync.Mutex
	last placed
}

// placed is a chunk of a stream with its bytes.
type placed struct {
	at   int64
	data []byte
}

// NewReaderAt returns a ReaderAt of the stream of a recipe that passes its Check. It reads during ctx.
func NewReaderAt(ctx context.Context, rd Blobs, content *Recipe) *ReaderAt {
	return &ReaderAt{ctx: ctx, rd: rd, content: content}
}

// ReadAt implements io.ReaderAt, for offsets that are not negative. It returns io.EOF at the stream's end; a store.DamageError, or an
// error of the recipe, where what is stored is not what it was.
func (f *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case off >= f.content.Size:
		return 0, io.EOF
	}
	n, err := f.fill(p[:min(int64(len(p)), f.content.Size-off)], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// fill reads len(p) bytes of the stream, which has so many.
func (f *ReaderAt) fill(p []byte, off int64) (n int, err error) {
	if c := f.lately(off); c != nil {
		if n = copy(p, c.data[off-c.at:]); n == len(p) {
			return n, nil
		}
	}
	from := off + int64(n)
	walked := f.content.around(f.ctx, f.rd, from, off+int64(len(p)), func(at int64, c Chunk) bool {
		skip := max(from-at, 0)
		if c.Hole() {
			m := min(int64(len(p)-n), c.Length-skip)
			clear(p[n : n+int(m)])
			n += int(m)
			return true
		}
		var data []byte
		if data, err = c.Bytes(f.ctx, f.rd); err != nil {
			return false
		}
		f.keep(placed{at, data})
		n += copy(p[n:], data[skip:])
		return true
	})
	if err == nil {
		err = walked
	}
	if err == nil && n < len(p) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// lately returns the chunk read last if it has the byte at off.
func (f *ReaderAt) lately(off int64) *placed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.last; off >= c.at && off-c.at < int64(len(c.data)) {
		return &c
	}
	return nil
}

func (f *ReaderAt) keep(c placed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = c
}

// around calls f for the chunks that have bytes from offset from up to offset to of the stream, and with where each begins, until
// it returns false. A ref tells the bytes below it, so that no other branch is fetched.
func (r *Recipe) around(ctx context.Context, get Getter, from, to int64, f func(at int64, c Chunk) bool) error {
	pos, stopped := int64(0), false
	each := func(c Chunk) bool {
		at := pos
		if pos += c.Length; pos <= from {
			return true
		}
		stopped = !f(at, c) || pos >= to // what follows is not looked at
		return !stopped
	}
	if r.Depth == 0 {
		return EachChunk(r.Root, r.Size, each)
	}
	t := blobtree.Reader{Kind: blobtree.Recipe, Get: get,
		Enter: func(x blobtree.Ref, _ int, _ string) bool {
			if pos+x.Weight > from && pos < to {
				return true
			}
			pos += x.Weight
			return false
		},
		Leaf: func(x blobtree.Ref, records []byte) (bool, error) {
			err := EachChunk(records, x.Weight, each)
			return !stopped, err
		}}
	return t.Walk(ctx, r.Depth, r.Root, r.Size)
}

// Bytes returns the content of a chunk that is no hole, verified. They are not the caller's to change.
func (c *Chunk) Bytes(ctx context.Context, rd Blobs) ([]byte, error) {
	if c.Extents == nil {
		data, err := rd.Blob(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		return (&part{0, int(c.Length), 0, true}).of(c.ID, data)
	}
	win := newWindow()
	win.take(*c)
	if err := win.fetch(ctx, rd, nil); err != nil {
		return nil, err
	}
	return win.mem, c.verify(rd, win.mem)
}
