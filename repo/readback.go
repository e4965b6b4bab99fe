package repo

import (
	"context"
)

// removeAll removes objects here and from the storage.
func (r *Repo) removeAll(ctx context.Context, names []string, progress func(done int)) error {
	for _, name := range names {
		r.machine.Drop(name)
	}
	return r.store.RemoveAll(ctx, names, progress)
}
