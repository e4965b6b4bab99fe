package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"permafrost/chunk"
	"permafrost/repo/store"
)

const (
	// A stream is read in windows of so many bytes: while one is written the next is fetched.
	windowBytes  = 8 << 20
	windowSlack  = 512 << 10 // by which the last chunk may exceed that, as a rule
	windowChunks = 1 << 16
)

// Blobs are those of a repository, and what verifies the chunks that several of them make.
type Blobs interface {
	Getter

	// Fetch reads blobs, each distinct one once, and calls f with each, from several goroutines. Data is valid until f returns.
	Fetch(ctx context.Context, ids []chunk.ID, f func(id chunk.ID, data []byte) error) error

	// Verify reports whether data is what a chunk ID names.
	Verify(id chunk.ID, data []byte) bool
}

// A part of a blob and where it goes: in a window's memory, or in a file.
type part struct {
	from, n int // in the blob
	to      int64
	whole   bool // the blob has no more
}

// of returns the part's bytes of its blob.
func (p *part) of(id chunk.ID, blob []byte) ([]byte, error) {
	if p.from+p.n > len(blob) || p.whole && p.n != len(blob) {
		return nil, &store.DamageError{Object: "blob " + id.String()[:8],
			Err: fmt.Errorf("it has %d bytes, a recipe wants %d from %d on", len(blob), p.n, p.from)}
	}
	return blob[p.from : p.from+p.n], nil
}

// A window is a run of a stream's chunks, and the parts of blobs that they consist of.
type window struct {
	chunks []Chunk
	parts  map[chunk.ID][]part
	size   int // bytes of all chunks that are no holes
	mem    []byte
}

func newWindow() *window { return &window{parts: make(map[chunk.ID][]part)} }

// take adds a chunk to the window.
func (w *window) take(c Chunk) {
	w.chunks = append(w.chunks, c)
	switch {
	case c.Hole():
		return
	case c.Extents == nil:
		w.parts[c.ID] = append(w.parts[c.ID], part{0, int(c.Length), int64(w.size), true})
	}
	to := w.size
	for _, x := range c.Extents {
		w.parts[x.Blob] = append(w.parts[x.Blob], part{x.Offset, x.Length, int64(to), false})
		to += x.Length
	}
	w.size += int(c.Length)
}

// fetch puts the window's chunks together in mem, which it may replace by a larger one.
func (w *window) fetch(ctx context.Context, rd Blobs, mem []byte) error {
	if cap(mem) < w.size {
		n := w.size
		if n >= windowBytes { // as those to come are, more or less
			n = max(n, windowBytes+windowSlack)
		}
		mem = make([]byte, n)
	}
	w.mem = mem[:w.size]
	return rd.Fetch(ctx, slices.Collect(maps.Keys(w.parts)), func(id chunk.ID, data []byte) error {
		for _, p := range w.parts[id] {
			b, err := p.of(id, data)
			if err != nil {
				return err
			}
			copy(w.mem[p.to:], b)
		}
		return nil
	})
}

// verify returns an error where data, put together from parts, is not what the chunk was. A blob is verified by who
// reads it.
func (c *Chunk) verify(rd Blobs, data []byte) error {
	if c.Extents != nil && !rd.Verify(c.ID, data) {
		return &store.DamageError{Object: "chunk " + c.ID.String()[:8], Err: errors.New("its parts do not make what it was")}
	}
	return nil
}

// each yields the chunks with their bytes: none for a hole.
func (w *window) each() iter.Seq2[*Chunk, []byte] {
	return func(yield func(*Chunk, []byte) bool) {
		rest := w.mem
		for i := range w.chunks {
			c, n := &w.chunks[i], int64(0)
			if !c.Hole() {
				n = c.Length
			}
			if !yield(c, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

var zeros [64 << 10]byte

// writeZeros writes a hole as n zeros.
func writeZeros(w io.Writer, n int64) error {
	for n > 0 {
		m, err := w.Write(zeros[:min(n, int64(len(zeros)))])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

// Write writes a stream to w, or what chunks yield of one, and calls told with the number of bytes after each write, holes left out.
// An error of w comes back as it is; a store.DamageError where what is stored is not what it was. While one window is written the next
// is fetched, and the recipe read for the one after that.
func Write(ctx context.Context, rd Blobs, chunks iter.Seq2[Chunk, error], w io.Writer, told func(bytes int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	plans, windows, memory := make(chan *window), make(chan *window), make(chan []byte, 2)
	memory <- nil
	memory <- nil
	g.Go(func() error {
		defer close(plans)
		return planWindows(ctx, chunks, plans)
	})
	g.Go(func() error {
		defer close(windows)
		for win := range plans {
			var mem []byte
			select {
			case mem = <-memory:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := win.fetch(ctx, rd, mem); err != nil {
				return err
			}
			if err := sendWindow(ctx, windows, win); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		for win := range windows {
			for c, data := range win.each() {
				if err := writeChunk(rd, c, data, w); err != nil {
					return err
				}
				told(int64(len(data)))
			}
			memory <- win.mem
		}
		return nil
	})
	return g.Wait()
}

// writeChunk writes a chunk that verifies.
func writeChunk(rd Blobs, c *Chunk, data []byte, w io.Writer) error {
	if err := c.verify(rd, data); err != nil {
		return err
	}
	var err error
	if c.Hole() {
		err = writeZeros(w, c.Length)
	} else {
		_, err = w.Write(data)
	}
	return err
}

// planWindows sends the windows of a stream, not yet fetched.
func planWindows(ctx context.Context, chunks iter.Seq2[Chunk, error], plans chan<- *window) error {
	win := newWindow()
	for c, err := range chunks {
		if err != nil {
			return err
		}
		win.take(c)
		if win.size >= windowBytes || len(win.chunks) >= windowChunks {
			if err := sendWindow(ctx, plans, win); err != nil {
				return err
			}
			win = newWindow()
		}
	}
	if len(win.chunks) > 0 {
		return sendWindow(ctx, plans, win)
	}
	return nil
}

// sendWindow sends win, unless ctx ends before.
func sendWindow(ctx context.Context, to chan<- *window, win *window) error {
	select {
	case to <- win:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
