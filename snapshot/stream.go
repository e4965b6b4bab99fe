package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"permafrost/chunk"
	"permafrost/repo"
)

const (
	// A stream is read in windows of so many bytes of blobs: while one is written the next is fetched.
	windowBytes  = 8 << 20
	windowSlack  = 512 << 10 // by which the last chunk may exceed that, as a rule
	windowChunks = 1 << 16
)

// A blobReader reads stored blobs: the part of repo.Reader that this package needs.
type blobReader interface {
	BlobGetter
	Length(id chunk.ID) (int, bool)
	Fetch(ctx context.Context, ids []chunk.ID, f func(id chunk.ID, data []byte) error) error
	Verify(c repo.Component, id chunk.ID, data []byte) bool
}

// A span is a blob's place in a window's memory, or in a file.
type span struct {
	off int64
	len int
}

func (s span) in(mem []byte) []byte { return mem[s.off : s.off+int64(s.len)] }

// A window is a run of a stream's chunks with the blobs that they need.
type window struct {
	chunks []Chunk
	ids    []chunk.ID
	spans  map[chunk.ID]span
	size   int // bytes of all blobs
	mem    []byte
}

func newWindow() *window { return &window{spans: make(map[chunk.ID]span)} }

// take adds a chunk to the window, and its blobs.
func (w *window) take(rd blobReader, c Chunk) error {
	w.chunks = append(w.chunks, c)
	if c.Hole() {
		return nil
	}
	if c.Extents == nil {
		return w.need(rd, c.ID, 0, int(c.Length), true)
	}
	for _, x := range c.Extents {
		if err := w.need(rd, x.Blob, x.Offset, x.Length, false); err != nil {
			return err
		}
	}
	return nil
}

// need adds a blob of which n bytes from off on, or the whole, are used.
func (w *window) need(rd blobReader, id chunk.ID, off, n int, whole bool) error {
	length, err := blobLength(rd, id, off, n, whole)
	if err != nil {
		return err
	}
	if _, ok := w.spans[id]; !ok {
		w.ids = append(w.ids, id)
		w.spans[id] = span{int64(w.size), length}
		w.size += length
	}
	return nil
}

// blobLength returns the length of a blob, which must be known and hold n bytes from off on: exactly these if whole.
func blobLength(rd interface{ Length(chunk.ID) (int, bool) }, id chunk.ID, off, n int, whole bool) (int, error) {
	length, ok := rd.Length(id)
	switch {
	case !ok:
		return 0, &repo.DamageError{Object: "blob " + id.String()[:8], Err: errors.New("no index lists it")}
	case off+n > length || whole && n != length:
		return 0, &repo.DamageError{Object: "blob " + id.String()[:8], Err: fmt.Errorf("it has %d bytes, a recipe wants %d from %d on", length, n, off)}
	}
	return length, nil
}

// fetch reads the window's blobs into mem, which it may replace by a larger one.
func (w *window) fetch(ctx context.Context, rd blobReader, mem []byte) error {
	if cap(mem) < w.size {
		n := w.size
		if n >= windowBytes { // as those to come are, more or less
			n = max(n, windowBytes+windowSlack)
		}
		mem = make([]byte, n)
	}
	w.mem = mem[:w.size]
	return rd.Fetch(ctx, w.ids, func(id chunk.ID, data []byte) error {
		s := w.spans[id]
		if len(data) != s.len {
			return fmt.Errorf("blob %v has %d bytes, want %d", id, len(data), s.len)
		}
		copy(s.in(w.mem), data)
		return nil
	})
}

// bytes returns a chunk's bytes, put together in buf where they lie apart.
func (w *window) bytes(rd blobReader, comp repo.Component, c *Chunk, buf []byte) ([]byte, error) {
	if c.Extents == nil {
		return w.spans[c.ID].in(w.mem), nil
	}
	buf = buf[:0]
	for _, x := range c.Extents {
		buf = append(buf, w.spans[x.Blob].in(w.mem)[x.Offset:x.Offset+x.Length]...)
	}
	if !rd.Verify(comp, c.ID, buf) {
		return nil, &repo.DamageError{Object: "chunk " + c.ID.String()[:8], Err: errors.New("its parts do not make what it was")}
	}
	return buf, nil
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

// writeStream writes a component's stream to w. An error of w comes back as a writeError.
func writeStream(ctx context.Context, rd blobReader, comp repo.Component, r *Recipe, w io.Writer, told func(bytes int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	windows, memory := make(chan *window), make(chan []byte, 2)
	memory <- nil
	memory <- nil
	g.Go(func() error {
		defer close(windows)
		return fetchWindows(ctx, rd, r, windows, memory)
	})
	g.Go(func() error {
		var buf []byte
		for win := range windows {
			for i := range win.chunks {
				c := &win.chunks[i]
				if c.Hole() {
					if err := writeZeros(w, c.Length); err != nil {
						return &writeError{err}
					}
					continue
				}
				data, err := win.bytes(rd, comp, c, buf)
				if err != nil {
					return err
				}
				if c.Extents != nil {
					buf = data
				}
				if _, err := w.Write(data); err != nil {
					return &writeError{err}
				}
				told(c.Length)
			}
			memory <- win.mem
		}
		return nil
	})
	return g.Wait()
}

// fetchWindows sends the windows of a recipe, fetched into one of the pieces of memory.
func fetchWindows(ctx context.Context, rd blobReader, r *Recipe, windows chan<- *window, memory <-chan []byte) error {
	win := newWindow()
	flush := func() error {
		var mem []byte
		select {
		case mem = <-memory:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := win.fetch(ctx, rd, mem); err != nil {
			return err
		}
		select {
		case windows <- win:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		win = newWindow()
		return nil
	}
	for c, err := range r.chunks(ctx, rd) {
		if err != nil {
			return err
		}
		if err := win.take(rd, c); err != nil {
			return err
		}
		if win.size >= windowBytes || len(win.chunks) >= windowChunks {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(win.chunks) > 0 {
		return flush()
	}
	return nil
}

// A writeError is a failure of the place that data is restored to, not of the repository.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }
