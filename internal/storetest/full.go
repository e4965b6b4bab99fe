package storetest

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"permafrost/internal/parts"
	"permafrost/repo/store"
)

// A Full is a store of so many bytes.
type Full struct {
	store.Store
	mu    sync.Mutex
	limit int64
}

// NewFull returns a view of st that takes no more than what is there and so many bytes more.
func NewFull(ctx context.Context, st store.Store, free int64) (*Full, error) {
	used, err := Used(ctx, st)
	return &Full{Store: st, limit: used + free}, err
}

// Used returns how many bytes the objects of a store have, unpublished ones too.
func Used(ctx context.Context, st store.Store) (bytes int64, err error) {
	for _, prefix := range []string{"", "tmp/"} {
		for o, err := range st.List(ctx, prefix) {
			if err != nil {
				return 0, err
			}
			bytes += o.Size
		}
	}
	return bytes, nil
}

// Put implements store.Store.
func (f *Full) Put(ctx context.Context, name string, data ...[]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	used, err := Used(ctx, f.Store)
	if err != nil {
		return err
	}
	if used+parts.Size(data) > f.limit {
		return fmt.Errorf("putting %s: %w", name, store.ErrNoSpace)
	}
	return f.Store.Put(ctx, name, data...)
}

// A ReadOnly is a view of a store whose account may not change anything.
type ReadOnly struct{ store.Store }

// Put implements store.Store.
func (r ReadOnly) Put(_ context.Context, name string, _ ...[]byte) error {
	return fmt.Errorf("putting %s: %w", name, fs.ErrPermission)
}

// Remove implements store.Store.
func (r ReadOnly) Remove(_ context.Context, name string) error {
	return fmt.Errorf("removing %s: %w", name, fs.ErrPermission)
}
