package snapshot

import (
	"context"
	"io"
	"os"
	"slices"

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
	buf := c.buffers.Get(int(it.Size))[:it.Size]
	n, err := io.ReadFull(f, buf)
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

// bufferSizes are those of the buffers for files, up to chunk.MaxSize.
var bufferSizes = []int{64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, chunk.MaxSize}

// bufferSize returns how long a buffer a file of size bytes is read into, at most chunk.MaxSize.
func bufferSize(size int64) int {
	i, _ := slices.BinarySearch(bufferSizes, int(size))
	return bufferSizes[i]
}

// release gives back what an item holds.
func (c *capture) release(it *item) {
	if it.data != nil {
		c.buffers.Put(it.data)
		it.data = nil
	}
	if it.held > 0 {
		c.budget.Release(it.held)
		it.held = 0
	}
}
