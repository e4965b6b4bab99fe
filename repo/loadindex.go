package repo

import (
	"context"

	"permafrost/repo/internal/index"
	"permafrost/repo/store"
)

// loadIndex returns the index as the log says it is. An index object that is missing or damaged is passed over with a
// note: what it alone lists is not found, and everything else is.
func (r *Repo) loadIndex(ctx context.Context) (*index.Index, error) {
	if r.index == nil || r.index.Damaged() {
		x, err := r.indexes.Load(ctx, r.log.History, func(err error) error {
			r.note("%v", err)
			return nil
		})
		if err != nil {
			return nil, err
		}
		r.index = x
	}
	return r.index, nil
}

// writersIndex returns the index that a snapshot may rely on: what index objects list that the storage has lost is not
// trusted. This machine may know still what they said, but no other would find what references it.
func (r *Repo) writersIndex(ctx context.Context) (*index.Index, error) {
	for {
		x, err := r.loadIndex(ctx)
		if err != nil {
			return nil, err
		}
		lost, err := r.indexes.Lost(ctx, r.log.History)
		if err != nil || len(lost) == 0 {
			return x, err
		}
		if r.log.HasGrown(ctx) {
			continue // a prune may have removed them
		}
		for i := range x.Objects {
			if name := x.Objects[i].Name; lost[name] {
				r.note("%s is missing: content of its packs that this snapshot needs is stored again", store.Index.Object(name))
			}
		}
		return x.Distrust(lost), nil
	}
}
