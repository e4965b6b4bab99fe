package storetest

import (
	"context"
	"fmt"
	"io/fs"
	"sync"

	"permafrost/repo/store"
)

// Alone returns a view of st on which nobody else's lease says anything: whoever works on it waits for no one, and
// removes stale ones. What keeps a repository whole must do without leases, so tests of that take them away.
func Alone(st store.Store) store.Store {
	return &alone{Store: st, own: make(map[string]bool)}
}

type alone struct {
	store.Store
	mu  sync.Mutex
	own map[string]bool // leases that were put through this view
}

// Put implements store.Store.
func (a *alone) Put(ctx context.Context, name string, data ...[]byte) error {
	if isLease(name) {
		a.mu.Lock()
		a.own[name] = true
		a.mu.Unlock()
	}
	return a.Store.Put(ctx, name, data...)
}

// ReadAt implements store.Store. A lease of somebody else is just then released.
func (a *alone) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	if isLease(name) && !a.isOwn(name) {
		return 0, fmt.Errorf("reading %s: %w", name, fs.ErrNotExist)
	}
	return a.Store.ReadAt(ctx, name, p, off)
}

func (a *alone) isOwn(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.own[name]
}

func isLease(name string) bool {
	kind, _ := store.Parse(name)
	return kind == store.Lease
}
