package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	packBuffers    = 5        // packs in memory: open ones and those under way to the storage
	packUploads    = 3        // packs under way at once
	framesInFlight = 20 << 20 // bytes of frames between add and the pack, plain and stored
	encoders       = 2        // frames being compressed at once
)

// A packing turns blobs into packs in the store: a packer for each component, and the bounds that they share. Its
// memory is packBuffers packs and framesInFlight, whatever goes through it. The first error is sticky.
type packing struct {
	store Store
	epoch *Epoch
	note  func(*pack) error // hears of each pack when it is durable; one call at a time

	ctx    context.Context
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup

	buffers chan []byte         // free pack buffers; a nil one is yet to be made
	memory  *semaphore.Weighted // bytes of frames between add and their pack
	encode  chan []byte         // room to decode in, for each frame that may be compressed at once
	uploads chan struct{}       // a place for each pack under way

	mu      sync.Mutex
	packers [componentCount]*packer
}

func newPacking(ctx context.Context, st Store, epoch *Epoch, note func(*pack) error) *packing {
	g := &packing{
		store: st, epoch: epoch, note: note,
		buffers: make(chan []byte, packBuffers),
		memory:  semaphore.NewWeighted(framesInFlight),
		encode:  make(chan []byte, encoders),
		uploads: make(chan struct{}, packUploads),
	}
	for range packBuffers {
		g.buffers <- nil
	}
	for range encoders {
		g.encode <- nil
	}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// packer returns the one for a component, and starts it where this is its first blob.
func (g *packing) packer(c Component) *packer {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.packers[c] == nil {
		p := &packer{in: g, component: c, jobs: make(chan *job, 256)}
		g.packers[c] = p
		g.tasks.Go(p.build)
	}
	return g.packers[c]
}

// fail makes err the error of every later call.
func (g *packing) fail(err error) { g.cancel(err) }

// err returns the first error.
func (g *packing) err() error { return context.Cause(g.ctx) }

// flush sends what is open and waits until every blob is in a pack that is durable. Nothing can be added after it.
func (g *packing) flush() error {
	for _, p := range g.packers {
		if p != nil {
			p.close()
		}
	}
	g.tasks.Wait()
	return g.err()
}

// abort drops what is open and waits until nothing is under way.
func (g *packing) abort() {
	g.fail(errors.New("aborted"))
	_ = g.flush() // the error is the one just given, or an earlier one that the caller has
}

// put makes a pack durable and notes it.
func (g *packing) put(p *pack, data []byte) error {
	if err := g.store.Put(g.ctx, packObject(p.name), data); err != nil {
		if cause := g.err(); cause != nil {
			return cause
		}
		return fmt.Errorf("putting a pack: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.note(p)
}
