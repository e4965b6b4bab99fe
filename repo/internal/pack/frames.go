package pack

import (
	"context"
	"errors"

	"permafrost/chunk"
	"permafrost/internal/freelist"
)

// A job is a frame on its way into a pack.
type job struct {
	component Component
	Frame
	plain  []byte // as it is; nobody's once ready is closed
	bytes  []byte // as it is stored, once ready is closed
	weight int64  // of packing.memory
	ready  chan struct{}
}

// Add appends a blob to its component's open frame, and sends the frame off when it is full. It is for one goroutine at a
// time for each component.
func (g *Pipeline) Add(ctx context.Context, c Component, b Blob, data []byte) error {
	if g.flushed {
		return errors.New("a blob was added after the flush")
	}
	size := c.frameSize()
	if j := g.frames[c]; j != nil && len(j.plain)+len(data) > size {
		if err := g.send(c); err != nil {
			return err
		}
	}
	if g.frames[c] == nil {
		g.frames[c] = &job{component: c, plain: g.buffer(max(size, len(data))), ready: make(chan struct{})}
	}
	j := g.frames[c]
	j.plain = append(j.plain, data...)
	j.Blobs = append(j.Blobs, b)
	if len(j.plain) >= size {
		return g.send(c)
	}
	return nil
}

// send hands a component's open frame on, once there is room for it.
func (g *Pipeline) send(c Component) error {
	j := g.frames[c]
	g.frames[c] = nil
	j.weight = 2 * int64(cap(j.plain)) // it is held twice: as it is, and as it is stored
	if err := g.memory.Acquire(g.ctx, min(j.weight, framesInFlight)); err != nil {
		return g.Err()
	}
	j.weight = min(j.weight, framesInFlight)
	var scratch []byte
	select {
	case scratch = <-g.scratch:
	case <-g.ctx.Done():
		g.memory.Release(j.weight)
		return g.Err()
	}
	go func() {
		defer close(j.ready)
		j.bytes, j.Codec = j.plain, Raw
		if j.component != Media || !looksRandom(j.plain) {
			if err := g.compress(j, &scratch); err != nil {
				g.Fail(err)
			}
		}
		j.Stored = len(j.bytes)
		g.scratch <- scratch
	}()
	select {
	case g.jobs <- j:
		return nil
	case <-g.ctx.Done():
		g.memory.Release(j.weight)
		return g.Err()
	}
}

// compress compresses a frame if that gains something.
func (g *Pipeline) compress(j *job, scratch *[]byte) (err error) {
	room := g.buffer(len(j.plain))
	j.bytes, j.Codec, err = encodeFrame(room, j.plain, scratch)
	if j.Codec == Raw {
		g.buffers.Put(room)
	} else {
		g.buffers.Put(j.plain)
	}
	return err
}

// frameBuffers returns the list of the frames' buffers, plain and stored: for a stream's frame, one of media, and long
// blobs.
func frameBuffers() *freelist.List {
	const kib = 1 << 10
	return freelist.New(maxBuffer, 130*kib, 1040*kib, 2080*kib, 4160*kib, maxBuffer)
}

// maxBuffer holds the longest blob and what zstd may add to it.
const maxBuffer = chunk.MaxSize + chunk.MaxSize/64

// buffer returns an empty buffer with room for n bytes and for what zstd may add to them.
func (g *Pipeline) buffer(n int) []byte { return g.buffers.Get(n + n/128) }
