package repo

import (
	"context"

	"permafrost/repo/store"
)

// loadIndex returns the index as the log says it is. An index object that is missing or damaged is passed over with a
// note: what it alone lists is not found, and everything else is.
func (r *Repo) loadIndex(ctx context.Context) (*index, error) {
	if r.index == nil || r.index.damaged() {
		x, err := r.indexes.load(ctx, r.log.History, func(err error) error {
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
func (r *Repo) writersIndex(ctx context.Context) (*index, error) {
	for {
		x, err := r.loadIndex(ctx)
		if err != nil {
			return nil, err
		}
		lost, err := r.indexes.lost(ctx, r.log.History)
		if err != nil || len(lost) == 0 {
			return x, err
		}
		if r.log.HasGrown(ctx) {
			continue // a prune may have removed them
		}
		for i := range x.objects {
			if name := x.objects[i].name; lost[name] {
				r.note("%s is missing: content of its packs that this snapshot needs is stored again", store.Index.Object(name))
			}
		}
		return x.distrust(lost), nil
	}
}
