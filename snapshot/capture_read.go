package snapshot

import (
	"context"
	"io"
	"math/bits"
	"os"

	"permafrost/chunk"
	"permafrost/repo"
	"permafrost/source"
	"permafrost/source/media"
)

// readWhole reads a file that one blob holds.
func (c *capture) readWhole(it *item) ([]byte, error) {
	f, err := c.tree.Open(&it.Entry.Entry)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := c.buffer(it.Size)
	n, err := io.ReadFull(f, buf[:it.Size])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil // it has become shorter: what is read is what is kept
	}
	if err != nil {
		return nil, err
	}
	it.moved, err = changed(f, &it.Entry.Entry, int64(n))
	return buf[:n], err
}

// changed reports whether a file of which size bytes were read is another than its entry says.
func changed(f *os.File, e *source.Entry, size int64) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return info.Size() != size || e.Size != size || info.ModTime().UnixNano() != e.MTime, nil
}

// readLarge cuts a file into chunks as it reads it. Holes stay holes.
func (c *capture) readLarge(ctx context.Context, it *item) (failed, unreadable error) {
	f, err := c.tree.Open(&it.Entry.Entry)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	segments := []media.Segment{{Len: info.Size()}}
	if it.Alloc < it.Size {
		if segments, err = media.Segments(f, info.Size()); err != nil {
			return nil, err
		}
	}
	rec := newRecipeWriter(c.in.sink(ctx), entryExtents)
	if failed, unreadable = c.readSegments(ctx, f, segments, info.Size(), rec); failed != nil || unreadable != nil {
		return failed, unreadable
	}
	if it.Content, err = rec.finish(); err != nil {
		return err, nil
	}
	it.moved, err = changed(f, &it.Entry.Entry, it.Content.Size)
	it.Size = it.Content.Size
	return nil, err
}

// readSegments adds a file's chunks, and the holes between its segments, to a recipe. One that has become shorter
// than size ends where it ends.
func (c *capture) readSegments(ctx context.Context, f *os.File, segments []media.Segment, size int64, rec *recipeWriter) (failed, unreadable error) {
	for _, s := range append(segments, media.Segment{Off: size}) {
		if s.Off > rec.size {
			if err := rec.add(&Chunk{Length: s.Off - rec.size}); err != nil {
				return err, nil
			}
		}
		src := &faultReader{r: io.NewSectionReader(f, s.Off, s.Len)}
		if c.split == nil {
			c.split = chunk.NewSplitter(src, c.in.w.Polynomial(), chunk.File)
		}
		c.split.Reset(src)
		if err := c.in.split(ctx, repo.Media, c.split, rec); err != nil {
			if src.err != nil {
				return nil, src.err
			}
			return err, nil
		}
		if rec.size < s.Off+s.Len {
			break
		}
	}
	return nil, nil
}

// A faultReader keeps the error of a file's Read, to tell it from those of the repository.
type faultReader struct {
	r   io.Reader
	err error
}

func (r *faultReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// sizeClass returns the exponent of the pooled buffer size that holds size bytes.
func sizeClass(size int64) int { return max(minPooled, bits.Len64(uint64(size-1))) }

// buffer returns a buffer for size bytes.
func (c *capture) buffer(size int64) []byte {
	class := sizeClass(size)
	if b, ok := c.buffers[class].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 1<<class)
}

// release gives back what an item holds.
func (c *capture) release(it *item) {
	if it.data != nil {
		b := it.data[:cap(it.data)]
		c.buffers[bits.Len(uint(len(b)))-1].Put(&b)
		it.data = nil
	}
	if it.held > 0 {
		c.budget.Release(it.held)
		it.held = 0
	}
}
