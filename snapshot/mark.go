package snapshot

import (
	"context"
	"fmt"
	"iter"

	"permafrost/chunk"
	"permafrost/repo"
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

// Marker returns a function that yields every blob which the snapshot of a manifest needs, and an error as the last.
// It remembers the listing and recipe blobs that it has seen: what is below one is not yielded again for the
// snapshots that come after. What is malformed is a DamageError.
func Marker(rd *repo.Reader) repo.Mark {
	return marker(rd.Instance(), rd)
}

func marker(instance string, from BlobGetter) repo.Mark {
	get := &watched{BlobGetter: from}
	seen := again()
	return func(ctx context.Context, manifest []byte) iter.Seq2[chunk.ID, error] {
		return func(yield func(chunk.ID, error) bool) {
			m, err := parseManifestOf(instance, manifest)
			if err != nil {
				yield(chunk.ID{}, get.blame("manifest", err))
				return
			}
			for name, r := range m.recipes() {
				for id, err := range r.blobs(ctx, get, seen) {
					if err != nil {
						err = fmt.Errorf("%s: %w", name, get.blame("recipe", err))
					}
					if !yield(id, err) || err != nil {
						return
					}
				}
			}
			m.Media.mark(ctx, get, seen, yield)
		}
	}
}

// recipes yields the recipe of each stream of the snapshot, with its name as Dump takes it.
func (m *Manifest) recipes() iter.Seq2[string, *Recipe] {
	return func(yield func(string, *Recipe) bool) {
		for i := range m.Secrets.Files {
			if f := &m.Secrets.Files[i]; !yield("secrets"+string(f.Path), &f.Recipe) {
				return
			}
		}
		if m.Postgres.State == Captured && !yield("postgres", &m.Postgres.Recipe) {
			return
		}
		for name, r := range m.Redises {
			if r.State == Captured && !yield(name, &r.Recipe) {
				return
			}
		}
	}
}

// mark yields the listing's blobs and those of its files.
func (m *Media) mark(ctx context.Context, get *watched, seen func(chunk.ID) bool, yield func(chunk.ID, error) bool) {
	stopped := false
	enter := func(x ref, _ int, _ string) bool {
		stopped = stopped || !yield(x.id, nil)
		return !stopped && !seen(x.id)
	}
	for e, err := range m.Listing.entries(ctx, get, enter) {
		if stopped {
			return
		}
		if err != nil {
			yield(chunk.ID{}, fmt.Errorf("media: %w", get.blame("listing", err)))
			return
		}
		for id, err := range e.Content.blobs(ctx, get, seen) {
			if err != nil {
				err = fmt.Errorf("media/%s: %w", e.Path, get.blame("recipe", err))
			}
			if !yield(id, err) || err != nil {
				return
			}
		}
	}
}
