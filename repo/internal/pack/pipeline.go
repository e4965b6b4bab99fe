package pack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"permafrost/internal/freelist"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

const (
	// The memory of packs, in segments: those that are open, and those under way to the storage.
	segmentSize  = 1 << 20
	firstSegment = 64 << 10 // of a pack, since many are small; unless a whole one is free again
	segments     = 36

	// Over a distance more packs have to be under way to fill a gigabit, and more memory goes into them: one segment for
	// so much of a round trip, and one pack.
	segmentRTT = 1400 * time.Microsecond
	packRTT    = 25 * time.Millisecond

	// openSegments bounds what open packs hold, so that others can be under way meanwhile: a frame that would exceed it
	// sends the fullest one off as it is.
	openSegments = 20

	packUploads    = 4       // packs under way at once, to a store nearby
	framesInFlight = 6 << 20 // bytes of frames between add and the pack, plain and stored
	encoders       = 2       // frames being compressed at once
)

// A Pipeline turns blobs into packs in the store. Blobs are copied into the open frame of their component; full frames
// are compressed side by side; one goroutine puts them, in their order, into the open pack of their component; full packs
// are uploaded side by side. Its memory is segments and framesInFlight, whatever goes through it. The first error is
// sticky.
type Pipeline struct {
	store    store.Store
	epoch    *keys.Epoch
	instance string            // that the packs are for
	note     func(*Pack) error // hears of each pack when it is durable; one call at a time

	ctx    context.Context
	cancel context.CancelCauseFunc

	frames   [Components]*job    // open
	memory   *semaphore.Weighted // bytes of frames between add and their pack
	buffers  *freelist.List      // of frames
	scratch  chan []byte         // room to decode in, for each frame that may be compressed at once
	jobs     chan *job           // to the goroutine that builds packs
	built    chan struct{}       // closed when that has ended
	segments chan []byte         // free ones; a nil one is yet to be made
	uploads  chan struct{}       // a place for each pack under way
	sending  sync.WaitGroup
	packed   atomic.Int64 // bytes of frames that were put into packs
	sent     atomic.Int64 // bytes of packs that are durable
	noting   sync.Mutex
	flushed  bool
}

func NewPipeline(ctx context.Context, st store.Store, epoch *keys.Epoch, instance string, note func(*Pack) error) *Pipeline {
	rtt := st.RoundTrip()
	room, uploads := segments+int(rtt/segmentRTT), packUploads+int(rtt/packRTT)
	g := &Pipeline{
		store: st, epoch: epoch, instance: instance, note: note,
		buffers:  frameBuffers(),
		memory:   semaphore.NewWeighted(framesInFlight),
		scratch:  make(chan []byte, encoders),
		jobs:     make(chan *job, 256),
		built:    make(chan struct{}),
		segments: make(chan []byte, room),
		uploads:  make(chan struct{}, uploads),
	}
	for range room {
		g.segments <- nil
	}
	for range encoders {
		g.scratch <- nil
	}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	go g.build()
	return g
}

// Fail makes err the error of every later call.
func (g *Pipeline) Fail(err error) { g.cancel(err) }

// Err returns the first error.
func (g *Pipeline) Err() error { return context.Cause(g.ctx) }

// Flush sends what is open and waits until every blob is in a pack that is durable. Nothing can be added after it.
func (g *Pipeline) Flush() error {
	if !g.flushed {
		g.flushed = true
		for c := range g.frames {
			if g.frames[c] != nil {
				g.send(Component(c)) // its error is g's
			}
		}
		close(g.jobs)
	}
	<-g.built
	g.sending.Wait()
	return g.Err()
}

// Abort drops what is open and waits until nothing is under way.
func (g *Pipeline) Abort() {
	g.Fail(errors.New("aborted"))
	_ = g.Flush() // the error is the one just given, or an earlier one that the caller has
}

// build puts frames into packs until there are no more.
func (g *Pipeline) build() {
	defer close(g.built)
	var open [Components]*builder
	for j := range g.jobs {
		<-j.ready
		if g.Err() == nil {
			if err := g.place(&open, j); err != nil {
				g.Fail(err)
			}
		}
		g.buffers.Put(j.bytes)
		g.memory.Release(j.weight)
	}
	for c := range open {
		if err := g.ship(&open, c); err != nil {
			g.Fail(err)
		}
	}
}

// place puts a frame into its component's pack.
func (g *Pipeline) place(open *[Components]*builder, j *job) (err error) {
	c := int(j.component)
	if open[c] != nil && open[c].full(len(j.bytes)) {
		if err := g.ship(open, c); err != nil {
			return err
		}
	}
	for {
		held, fullest := 0, 0
		for i, b := range open {
			if b != nil {
				held += len(b.out)
			}
			if b != nil && (open[fullest] == nil || len(b.out) > len(open[fullest].out)) {
				fullest = i
			}
		}
		need := len(j.bytes)/segmentSize + 1
		if open[c] == nil {
			need++ // its first one is short
		}
		if held == 0 || held+need <= openSegments {
			break
		}
		if err := g.ship(open, fullest); err != nil {
			return err
		}
	}
	if open[c] == nil {
		if open[c], err = newBuilder(g.giver(), g.epoch, g.instance, j.component); err != nil {
			return err
		}
	}
	g.packed.Add(int64(len(j.bytes)))
	return open[c].add(j.Frame, j.bytes)
}

// Traffic returns how many bytes of packs are durable, and how many there are so far.
func (g *Pipeline) Traffic() (sent, packed int64) {
	sent = g.sent.Load()
	return sent, max(sent, g.packed.Load())
}

// giver returns what gives a new pack its segments. It waits for a free one. There is always one to come: what open packs hold
// leaves some to those under way.
func (g *Pipeline) giver() func() ([]byte, error) {
	size := firstSegment
	return func() ([]byte, error) {
		select {
		case s := <-g.segments:
			if s == nil {
				s = make([]byte, 0, size)
			}
			size = segmentSize
			return s[:0], nil
		case <-g.ctx.Done():
			return nil, g.Err()
		}
	}
}

// ship finishes the open pack of a component, if there is one, and starts its upload once there is a place for it.
func (g *Pipeline) ship(open *[Components]*builder, c int) error {
	b := open[c]
	open[c] = nil
	if err := g.Err(); b == nil || err != nil {
		return err
	}
	p, parts, err := b.finish()
	if err != nil {
		return err
	}
	select {
	case g.uploads <- struct{}{}:
	case <-g.ctx.Done():
		return g.Err()
	}
	g.sending.Go(func() {
		err := g.put(p, parts)
		for _, s := range parts {
			if cap(s) < segmentSize {
				s = nil
			}
			g.segments <- s
		}
		<-g.uploads
		if err != nil {
			g.Fail(err)
		}
	})
	return nil
}

// put makes a pack durable and notes it.
func (g *Pipeline) put(p *Pack, parts [][]byte) error {
	if err := g.store.Put(g.ctx, store.Pack.Object(p.Name), parts...); err != nil {
		if cause := g.Err(); cause != nil {
			return cause
		}
		return fmt.Errorf("putting a pack: %w", err)
	}
	g.sent.Add(p.Size)
	g.noting.Lock()
	defer g.noting.Unlock()
	return g.note(p)
}
