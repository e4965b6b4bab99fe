package backup

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"permafrost/chunk"
	"permafrost/repo"
	"permafrost/snapshot/stream"
	"permafrost/source/media"
)

// A file that changes while it is read is read again, after waits that grow by waitFactor from firstWait to lastWait: 4 times.
// That finds the end of what writes a file as Mastodon does. What is written to all the time, such as a log, is left out.
const (
	firstWait  = 20 * time.Millisecond
	waitFactor = 4
	lastWait   = firstWait * waitFactor * waitFactor * waitFactor
)

// version opens an item's file and has it read, once more wherever it changes meanwhile. The item becomes what was read: one
// version, its attributes with it. Only unreadable is the file's own fault.
func (c *capture) version(ctx context.Context, it *item, read func(f *media.File) (failed, unreadable error)) (failed, unreadable error) {
	for wait := firstWait; ; wait *= waitFactor {
		failed, unreadable = c.versionNow(it, read)
		if failed != nil || !errors.Is(unreadable, media.ErrChanged) || wait > lastWait {
			return failed, unreadable
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx), nil
		}
	}
}

func (c *capture) versionNow(it *item, read func(f *media.File) (failed, unreadable error)) (failed, unreadable error) {
	f, err := c.tree.Open(it.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !f.Is(&it.Entry.Entry) {
		it.moved = true
		if it.Entry.Entry, err = f.Entry(); err != nil {
			return nil, err
		}
	}
	if err := it.CheckAttributes(); err != nil {
		return nil, err
	}
	if failed, unreadable = read(f); failed == nil && unreadable == nil {
		unreadable = f.Unchanged()
	}
	return failed, unreadable
}

// readWhole reads a file that one blob holds. One that has grown beyond the item's share of the budget is left to readLarge.
func (c *capture) readWhole(ctx context.Context, it *item) ([]byte, error) {
	var data []byte
	failed, unreadable := c.version(ctx, it, func(f *media.File) (failed, unreadable error) {
		if it.inline = it.Size > it.held; it.inline {
			return nil, nil
		}
		if data == nil {
			data = c.buffers.Get(int(it.held))
		}
		data = data[:it.Size]
		if _, err := io.ReadFull(f, data); err != nil {
			return nil, shorter(err)
		}
		return nil, nil
	})
	if it.inline && data != nil {
		c.buffers.Put(data)
		data = nil
	}
	return data, cmp.Or(failed, unreadable)
}

// shorter turns the end of a file before its size into what it means.
func shorter(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return media.ErrChanged
	}
	return err
}

// readLarge cuts a file into chunks as it reads it. Holes stay holes.
func (c *capture) readLarge(ctx context.Context, it *item) (failed, unreadable error) {
	return c.version(ctx, it, func(f *media.File) (failed, unreadable error) {
		segments := []media.Segment{{Len: it.Size}}
		if it.Alloc < it.Size {
			var err error
			if segments, err = media.Segments(f.File, it.Size); err != nil {
				return nil, err
			}
		}
		rec := stream.NewWriter(c.in.sink(ctx), stream.InListing)
		if failed, unreadable = c.readSegments(ctx, f, segments, it.Size, rec); failed != nil || unreadable != nil {
			return failed, unreadable
		}
		it.Content, failed = rec.Finish()
		return failed, nil
	})
}

// readSegments adds a file's chunks, and the holes between its segments, to a recipe.
func (c *capture) readSegments(ctx context.Context, f io.ReaderAt, segments []media.Segment, size int64, rec *stream.Writer) (failed, unreadable error) {
	for _, s := range append(segments, media.Segment{Off: size}) {
		if s.Off > rec.Size() {
			if err := rec.Add(&stream.Chunk{Length: s.Off - rec.Size()}); err != nil {
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
		if rec.Size() < s.Off+s.Len {
			return nil, media.ErrChanged // it has become shorter
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
