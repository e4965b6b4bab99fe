// Package core holds together what an open repository consists of: the storage, the keyring, the log, the index, and what this machine
// remembers. Package repo offers it to the world, and package upkeep keeps it in order.
package core

import (
	"context"
	"fmt"
	"sync"

	"permafrost/repo/internal/index"
	"permafrost/repo/internal/logbook"
	"permafrost/repo/internal/machine"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/store"
)

// A Core is what an open repository consists of. Its methods are for one goroutine at a time.
type Core struct {
	Store      *store.Witness
	Key        *keys.Keyring // as it was opened with
	Machine    *machine.Memory
	Indexes    *index.Loader
	Log        *logbook.Log
	Index      *index.Index // nil until it is needed
	AcceptHead bool         // the log is taken as it is

	hear   func(note string)
	noting sync.Mutex
}

// New returns the core of a repository whose log is yet to be read.
func New(st *store.Witness, key *keys.Keyring, m *machine.Memory, o logbook.Options, hear func(note string)) *Core {
	c := &Core{Store: st, Key: key, Machine: m, AcceptHead: o.AcceptHead, hear: hear}
	c.Indexes = index.NewLoader(st, key, m, o.Envelopes.Unseal, c.Note)
	o.Note, o.Changed = c.Note, func() { c.Index = nil }
	c.Log = logbook.New(st, key, m, o)
	return c
}

// Note tells the person at hand, one note at a time. It may be called from any goroutine.
func (c *Core) Note(format string, args ...any) {
	if c.hear != nil {
		c.noting.Lock()
		defer c.noting.Unlock()
		c.hear(fmt.Sprintf(format, args...))
	}
}

// NewLease tells others that somebody is at work, until it is released.
func (c *Core) NewLease(ctx context.Context, what string) (*lease.Lease, error) {
	return lease.Take(ctx, c.Store, c.Log, c.Note, what)
}

// CatchUp takes what others have added to the log since it was read, and reports whether a prune is among it: what was
// missing may only have been moved.
func (c *Core) CatchUp(ctx context.Context) (pruned bool, err error) {
	before := c.Log.Prunes
	err = c.Log.CatchUp(ctx)
	return c.Log.Prunes != before, err
}

// LoadIndex returns the index as the log says it is. An index object that is missing or damaged is passed over with a
// note: what it alone lists is not found, and everything else is.
func (c *Core) LoadIndex(ctx context.Context) (*index.Index, error) {
	if c.Index == nil || c.Index.Damaged() {
		x, err := c.Indexes.Load(ctx, c.Log.History, func(err error) error {
			c.Note("%v", err)
			return nil
		})
		if err != nil {
			return nil, err
		}
		c.Index = x
	}
	return c.Index, nil
}

// WritersIndex returns the index that a snapshot may rely on: what index objects list that the storage has lost is not
// trusted. This machine may know still what they said, but no other would find what references it.
func (c *Core) WritersIndex(ctx context.Context) (*index.Index, error) {
	for {
		x, err := c.LoadIndex(ctx)
		if err != nil {
			return nil, err
		}
		lost, err := c.Indexes.Lost(ctx, c.Log.History)
		if err != nil || len(lost) == 0 {
			return x, err
		}
		before := c.Log.Head
		if err := c.Log.CatchUp(ctx); err != nil {
			return nil, err // it may say that the keys were rotated, and this key got none
		}
		if c.Log.Head != before {
			continue // a prune may have removed them
		}
		for i := range x.Objects {
			if name := x.Objects[i].Name; lost[name] {
				c.Note("%s is missing: content of its packs that this snapshot needs is stored again", store.Index.Object(name))
			}
		}
		return x.Distrust(lost), nil
	}
}

// RemoveAll removes objects here and from the storage.
func (c *Core) RemoveAll(ctx context.Context, names []string, progress func(done int)) error {
	for _, name := range names {
		c.Machine.Drop(name)
	}
	return c.Store.RemoveAll(ctx, names, progress)
}

// Supposing returns the repository as it would be if the next log entry forgot some snapshots. It is for planning alone.
func (c *Core) Supposing(forgotten []store.Name) *Core {
	h := c.Log.Clone()
	for _, id := range forgotten {
		h.Snapshots.Forgotten[id] = h.Next
	}
	then := &Core{Store: c.Store, Key: c.Key, Machine: c.Machine, Indexes: c.Indexes, AcceptHead: c.AcceptHead, hear: c.hear}
	then.Log = c.Log.Supposing(h)
	return then
}
