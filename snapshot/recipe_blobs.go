package snapshot

import (
	"context"
	"iter"

	"permafrost/chunk"
)

// blobs yields every blob that the recipe refers to, its own among them, and an error as the last. A recipe blob
// for which seen is true is yielded without what is below it.
func (r *Recipe) blobs(ctx context.Context, get BlobGetter, seen func(chunk.ID) bool) iter.Seq2[chunk.ID, error] {
	return func(yield func(chunk.ID, error) bool) {
		stopped := false
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
			err = eachChunk(r.Root, r.Size, each)
		} else {
			t := treeReader{kind: kindRecipe, get: get,
				enter: func(x ref, _ int, _ string) bool { return emit(x.id) && !seen(x.id) },
				leaf: func(x ref, records []byte) (bool, error) {
					err := eachChunk(records, x.weight, each)
					return !stopped, err
				}}
			err = t.walk(ctx, r.Depth, r.Root, r.Size)
		}
		if err != nil && !stopped {
			yield(chunk.ID{}, err)
		}
	}
}

// again returns a function that tells whether it was asked about a blob before. What is stored may name one blob endlessly
// often, so that whoever walks it looks below each blob once.
func again() func(chunk.ID) bool {
	visited := make(map[chunk.ID]struct{})
	return func(id chunk.ID) bool {
		_, ok := visited[id]
		visited[id] = struct{}{}
		return ok
	}
}
