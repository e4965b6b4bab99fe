package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"permafrost/repo/store"
)

// ErrInjected is the error of an operation that a Fault made fail.
var ErrInjected = errors.New("injected fault")

// An Op is one call of a store.Store.
type Op struct {
	Kind string // the method's name: "Put", "ReadAt", "Stat", "List" or "Remove"
	Name string // the object, or List's prefix
}

// Changes tells whether the operation may change the store.
func (o Op) Changes() bool { return o.Kind == "Put" || o.Kind == "Remove" }

// A Fault is what befalls an operation.
type Fault int

const (
	// None lets it pass.
	None Fault = iota
	// NotDone makes it fail, and do nothing.
	NotDone
	// Done lets it do all of its work, then fail.
	Done
	// Part makes it fail halfway: Put leaves half of the data below tmp/ (where the store is a Mem), ReadAt reads
	// half, List yields one object. Stat and Remove do nothing.
	Part
	// Claimed makes Put or Remove report success, and do nothing.
	Claimed
	// Cut makes Put report success for half of the data, and Remove as Claimed does.
	Cut
)

// A Hook is a store in front of another one that can make operations fail. Its functions may be nil, and are called
// from the goroutines that call the store.
type Hook struct {
	Store  store.Store
	Before func(Op) Fault
	After  func(Op, error) // err is what the caller gets; List's is nil, after the last object
}

var _ store.Store = (*Hook)(nil)

func (h *Hook) before(op Op) Fault {
	if h.Before == nil {
		return None
	}
	return h.Before(op)
}

func (h *Hook) after(op Op, err error) {
	if h.After != nil {
		h.After(op, err)
	}
}

// do runs one operation; part is what it does where it ends halfway, and lie where it reports success all the same.
func (h *Hook) do(op Op, whole, part, lie func() error) (err error) {
	defer func() { h.after(op, err) }()
	switch h.before(op) {
	case None:
		return whole()
	case Done:
		whole()
	case Part:
		part()
	case Claimed:
		return nil
	case Cut:
		return lie()
	}
	return fmt.Errorf("%s %s: %w", op.Kind, op.Name, ErrInjected)
}

func nothing() error { return nil }

// Put implements store.Store.
func (h *Hook) Put(ctx context.Context, name string, data ...[]byte) error {
	half := func() []byte {
		whole := bytes.Join(data, nil)
		return whole[:len(whole)/2]
	}
	m, isMem := h.Store.(*Mem)
	return h.do(Op{"Put", name}, func() error { return h.Store.Put(ctx, name, data...) }, func() error {
		if isMem {
			m.leaveTemp(half())
		}
		return nil
	}, func() error {
		if isMem {
			m.Set(name, half()) // which does not watch
			return nil
		}
		return h.Store.Put(ctx, name, half())
	})
}

// ReadAt implements store.Store.
func (h *Hook) ReadAt(ctx context.Context, name string, p []byte, off int64) (n int, err error) {
	read := func(p []byte) func() error {
		return func() (err error) {
			n, err = h.Store.ReadAt(ctx, name, p, off)
			return err
		}
	}
	err = h.do(Op{"ReadAt", name}, read(p), read(p[:len(p)/2]), nothing)
	return n, err
}

// Stat implements store.Store.
func (h *Hook) Stat(ctx context.Context, name string) (o store.Object, err error) {
	err = h.do(Op{"Stat", name}, func() (err error) {
		o, err = h.Store.Stat(ctx, name)
		return err
	}, nothing, nothing)
	return o, err
}

// List implements store.Store.
func (h *Hook) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		op := Op{"List", prefix}
		defer h.after(op, nil)
		fault, yielded := h.before(op), 0
		for o, err := range h.Store.List(ctx, prefix) {
			if fault == NotDone || fault == Part && yielded == 1 {
				break
			}
			if !yield(o, err) {
				return
			}
			yielded++
		}
		if fault != None {
			yield(store.Object{}, fmt.Errorf("List %s: %w", prefix, ErrInjected))
		}
	}
}

// RoundTrip implements store.Store.
func (h *Hook) RoundTrip() time.Duration { return h.Store.RoundTrip() }

// Remove implements store.Store.
func (h *Hook) Remove(ctx context.Context, name string) error {
	return h.do(Op{"Remove", name}, func() error { return h.Store.Remove(ctx, name) }, nothing, nothing)
}

// CrashAt returns a view of st on which a process dies: the change number n, counted from 0, meets the fault, and no
// operation after it is done. A test runs with n = 0, 1, 2 ... until crashed tells that n was not reached.
func CrashAt(st store.Store, n int, fault Fault) (view *Hook, crashed func() bool) {
	var mu sync.Mutex
	dead := false
	before := func(op Op) Fault {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return NotDone
		}
		if !op.Changes() {
			return None
		}
		n--
		dead = n < 0
		if dead {
			return fault
		}
		return None
	}
	return &Hook{Store: st, Before: before}, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return dead
	}
}
