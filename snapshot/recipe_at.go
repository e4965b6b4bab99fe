package snapshot

import (
	"context"
)

// around calls f for the chunks that have bytes from offset from up to offset to of the stream, and with where each begins, until
// it returns false. A ref tells the bytes below it, so that no other branch is fetched.
func (r *Recipe) around(ctx context.Context, get BlobGetter, from, to int64, f func(at int64, c Chunk) bool) error {
	pos, stopped := int64(0), false
	each := func(c Chunk) bool {
		at := pos
		if pos += c.Length; pos <= from {
			return true
		}
		stopped = at >= to || !f(at, c)
		return !stopped
	}
	if r.Depth == 0 {
		return eachChunk(r.Root, r.Size, each)
	}
	t := treeReader{kind: kindRecipe, get: get,
		enter: func(x ref, _ int, _ string) bool {
			if pos+x.weight > from && pos < to {
				return true
			}
			pos += x.weight
			return false
		},
		leaf: func(x ref, records []byte) (bool, error) {
			err := eachChunk(records, x.weight, each)
			return !stopped, err
		}}
	return t.walk(ctx, r.Depth, r.Root, r.Size)
}

// bytes returns the content of a chunk that is no hole. They are not the caller's to change.
func (c *Chunk) bytes(ctx context.Context, rd blobReader) ([]byte, error) {
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
