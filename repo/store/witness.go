package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	looksAtOnce   = 64        // questions under way, what an object is
	removesAtOnce = 16        // removals under way
	maxUnseen     = 256       // objects that may wait to be looked at: some 16 bytes more than their names
	maxReadBack   = 256 << 10 // bytes of an object that is read back: a night's index has some 10 KiB, a key at most 64
)

// A FalseReportError says that the storage reported success for something that it has not done.
type FalseReportError struct {
	Object string
	Found  string // what the object is instead
}

func (e *FalseReportError) Error() string {
	return fmt.Sprintf("the storage reported success for %s, but %s", e.Object, e.Found)
}

// A Witness is a Store in front of another one, and does not take its word. There are servers that answer yes and do nothing, and
// gateways that keep a part. So it looks at each object that was put, its name and size, before anything is published that refers
// to it. It looks at many at a time, so that a distance costs little, and at few enough to note them in little memory. Small keys,
// manifests and index objects, which lead to all else, it reads back.
//
// It does not look at leases, since nothing refers to them, nor at log entries, which their publisher reads back. Its methods may be
// called from several goroutines at once.
type Witness struct {
	Store
	mu     sync.Mutex
	unseen map[string]int64 // objects that were put and not looked at yet, with their sizes
}

// NewWitness returns a Witness in front of st.
func NewWitness(st Store) *Witness { return &Witness{Store: st, unseen: make(map[string]int64)} }

// RoundTrip returns that of the other Store, at most 120 ms: it bounds what is under way at once, and so memory.
func (w *Witness) RoundTrip() time.Duration { return min(w.Store.RoundTrip(), maxRoundTrip) }

// Put implements Store.
func (w *Witness) Put(ctx context.Context, name string, data ...[]byte) error {
	if err := w.Store.Put(ctx, name, data...); err != nil {
		return err
	}
	if kind, _ := Parse(name); kind == Lease || kind == Log {
		return nil
	}
	size := int64(0)
	for _, p := range data {
		size += int64(len(p))
	}
	w.mu.Lock()
	w.unseen[name] = size
	many := len(w.unseen) >= maxUnseen
	w.mu.Unlock()
	if many {
		return w.Confirm(ctx)
	}
	return nil
}

// Remove implements Store.
func (w *Witness) Remove(ctx context.Context, name string) error {
	w.mu.Lock()
	delete(w.unseen, name)
	w.mu.Unlock()
	return w.Store.Remove(ctx, name)
}

// Forget passes over the objects for which removed returns true: the next Confirm does not look for them.
func (w *Witness) Forget(removed func(name string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.unseen, func(name string, _ int64) bool { return removed(name) })
}

// Confirm returns an error unless all that was put is there, as a rule a FalseReportError. The next call looks again at what this one
// could not find.
func (w *Witness) Confirm(ctx context.Context) error {
	w.mu.Lock()
	unseen := w.unseen
	w.unseen = make(map[string]int64)
	w.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(looksAtOnce)
	for _, name := range slices.Sorted(maps.Keys(unseen)) {
		size := unseen[name]
		g.Go(func() error {
			err := w.look(ctx, name, size)
			if err != nil {
				w.mu.Lock()
				w.unseen[name] = size
				w.mu.Unlock()
			}
			return err
		})
	}
	return g.Wait()
}

// look returns an error unless the object is there with that size and, where it is read back, is what its name says.
func (w *Witness) look(ctx context.Context, name string, size int64) error {
	var o Object
	var err error
	same := true
	if kind, want := Parse(name); !want.IsZero() && kind != Pack && size <= maxReadBack {
		data, n := make([]byte, size+1), 0
		if n, err = w.ReadAt(ctx, name, data, 0); err == io.EOF {
			err = nil
		}
		o.Size, same = int64(n), NameOf(data[:n]) == want
	} else {
		o, err = w.Stat(ctx, name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &FalseReportError{name, "there is no such object"}
	case err != nil:
		return fmt.Errorf("looking whether %s was stored: %w", name, err)
	case o.Size != size:
		return &FalseReportError{name, fmt.Sprintf("it has %d of %d bytes", o.Size, size)}
	case !same:
		return &FalseReportError{name, "it holds something else"}
	}
	return nil
}

// RemoveAll removes objects, and looks whether they are there no more. One that was not there before counts as removed.
func (w *Witness) RemoveAll(ctx context.Context, names []string, progress func(done int)) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(removesAtOnce)
	for i, name := range names {
		progress(i)
		g.Go(func() error {
			if err := w.Remove(gctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("deleting %s: %w", name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(looksAtOnce)
	for _, name := range names {
		g.Go(func() error {
			_, err := w.Stat(gctx, name)
			switch {
			case err == nil:
				return &FalseReportError{name, "the object that was to be deleted is still there"}
			case !errors.Is(err, fs.ErrNotExist):
				return fmt.Errorf("looking whether %s was deleted: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}
