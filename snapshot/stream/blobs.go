package stream

import (
	"context"
	"iter"

	"permafrost/chunk"
	"permafrost/snapshot/internal/blobtree"
)

// Blobs yields every blob that the recipe refers to, its own among them, and an error as the last. What is stored may name one
// blob endlessly often: below a blob of the recipe it looks once.
func (r *Recipe) Blobs(ctx context.Context, get Getter) iter.Seq2[chunk.ID, error] {
	return func(yield func(chunk.ID, error) bool) {
		stopped, visited := false, make(map[chunk.ID]bool)
		emit := func(id chunk.ID) bool {
			stopped = stopped || !yield(id, nil)
			return !stopped
		}
		each := func(c Chunk) bool {
			for _, x := range c.Extents {
				if !emit(x.Blob) {
					return false
				}
			}
			return c.Extents != nil || c.Hole() || emit(c.ID)
		}
		var err error
		if r.Depth == 0 {
			err = EachChunk(r.Root, r.Size, each)
		} else {
			t := blobtree.Reader{Kind: blobtree.Recipe, Get: get,
				Enter: func(x blobtree.Ref, _ int, _ string) bool {
					below := emit(x.ID) && !visited[x.ID]
					visited[x.ID] = true
					return below
				},
				Leaf: func(x blobtree.Ref, records []byte) (bool, error) {
					err := EachChunk(records, x.Weight, each)
					return !stopped, err
				}}
			err = t.Walk(ctx, r.Depth, r.Root, r.Size)
		}
		if err != nil && !stopped {
			yield(chunk.ID{}, err)
		}
	}
}
