package repo

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

// A core is what an open repository consists of. Its methods are for one goroutine at a time.
type core struct {
	store      *store.Witness
	key        *keys.Keyring // as it was opened with
	machine    *machine.Memory
	indexes    *index.Loader
	log        *logbook.Log
	index      *index.Index // nil until it is needed
	acceptHead bool         // the log is taken as it is

	hear   func(note string)
	noting sync.Mutex
}

// newCore returns the core of a repository whose log is yet to be read.
func newCore(st *store.Witness, key *keys.Keyring, m *machine.Memory, o logbook.Options, hear func(note string)) *core {
	c := &core{store: st, key: key, machine: m, acceptHead: o.AcceptHead, hear: hear}
	c.indexes = index.NewLoader(st, key, m, o.Envelopes.Unseal, c.note)
	o.Note, o.Changed = c.note, func() { c.index = nil }
	c.log = logbook.New(st, key, m, o)
	return c
}

func (c *core) note(format string, args ...any) {
	if c.hear != nil {
		c.noting.Lock()
		defer c.noting.Unlock()
		c.hear(fmt.Sprintf(format, args...))
	}
}

// newLease tells others that somebody is at work, until it is released.
func (c *core) newLease(ctx context.Context, what string) (*lease.Lease, error) {
	return lease.Take(ctx, c.store, c.log, c.note, what)
}

// catchUp takes what others have added to the log since it was read, and reports whether a prune is among it: what was
// missing may only have been moved.
func (c *core) catchUp(ctx context.Context) (pruned bool, err error) {
	before := c.log.Prunes
	err = c.log.CatchUp(ctx)
	return c.log.Prunes != before, err
}

// loadIndex returns the index as the log says it is. An index object that is missing or damaged is passed over with a
// note: what it alone lists is not found, and everything else is.
func (c *core) loadIndex(ctx context.Context) (*index.Index, error) {
	if c.index == nil || c.index.Damaged() {
		x, err := c.indexes.Load(ctx, c.log.History, func(err error) error {
			c.note("%v", err)
			return nil
		})
		if err != nil {
			return nil, err
		}
		c.index = x
	}
	return c.index, nil
}

// writersIndex returns the index that a snapshot may rely on: what index objects list that the storage has lost is not
// trusted. This machine may know still what they said, but no other would find what references it.
func (c *core) writersIndex(ctx context.Context) (*index.Index, error) {
	for {
		x, err := c.loadIndex(ctx)
		if err != nil {
			return nil, err
		}
		lost, err := c.indexes.Lost(ctx, c.log.History)
		if err != nil || len(lost) == 0 {
			return x, err
		}
		if c.log.HasGrown(ctx) {
			continue // a prune may have removed them
		}
		for i := range x.Objects {
			if name := x.Objects[i].Name; lost[name] {
				c.note("%s is missing: content of its packs that this snapshot needs is stored again", store.Index.Object(name))
			}
		}
		return x.Distrust(lost), nil
	}
}

// removeAll removes objects here and from the storage.
func (c *core) removeAll(ctx context.Context, names []string, progress func(done int)) error {
	for _, name := range names {
		c.machine.Drop(name)
	}
	return c.store.RemoveAll(ctx, names, progress)
}

// supposing returns the repository as it would be if the next log entry forgot some snapshots. It is for planning alone.
func (c *core) supposing(forgotten []store.Name) *core {
	h := c.log.Clone()
	for _, id := range forgotten {
		h.Forgotten[id] = h.Next
	}
	then := &core{store: c.store, key: c.key, machine: c.machine, indexes: c.indexes, acceptHead: c.acceptHead, hear: c.hear}
	then.log = c.log.Supposing(h)
	return then
}
