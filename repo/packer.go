package repo

import (
	"context"
	"errors"
	"slices"
	"sync"

	"permafrost/chunk"
)

// A packer makes one component's blobs into frames and these into packs. Blobs are copied into the open frame; full
// frames are compressed side by side and go into the open pack in their order; full packs are uploaded side by side.
type packer struct {
	in        *packing
	component Component
	open      *job
	jobs      chan *job // to the goroutine that builds packs
	closed    bool
}

// A job is a frame on its way into a pack.
type job struct {
	frame
	plain  []byte // as it is; nobody's once ready is closed
	bytes  []byte // as it is stored, once ready is closed
	weight int64  // of packing.memory
	ready  chan struct{}
}

// add appends a blob to the open frame, and sends the frame off when it is full.
func (p *packer) add(ctx context.Context, b blobRef, data []byte) error {
	if p.closed {
		return errors.New("a blob was added after the flush")
	}
	size := p.component.frameSize()
	if p.open != nil && len(p.open.plain)+len(data) > size {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	if p.open == nil {
		p.open = &job{plain: getBuffer(max(size, len(data))), ready: make(chan struct{})}
	}
	p.open.plain = append(p.open.plain, data...)
	p.open.blobs = append(p.open.blobs, b)
	if len(p.open.plain) >= size {
		return p.send(ctx)
	}
	return nil
}

// send hands the open frame on, once there is room for it.
func (p *packer) send(ctx context.Context) error {
	j := p.open
	p.open = nil
	j.weight = 2 * int64(cap(j.plain)) // it is held twice: as it is, and as it is stored
	if err := p.in.memory.Acquire(p.in.ctx, j.weight); err != nil {
		return context.Cause(p.in.ctx)
	}
	var scratch []byte
	select {
	case scratch = <-p.in.encode:
	case <-p.in.ctx.Done():
		p.in.memory.Release(j.weight)
		return context.Cause(p.in.ctx)
	}
	go func() {
		defer close(j.ready)
		room := getBuffer(len(j.plain))
		stored, codec, err := encodeFrame(room, j.plain, &scratch)
		p.in.encode <- scratch
		if err != nil {
			p.in.fail(err)
		}
		if codec == codecRaw {
			putBuffer(room)
		} else {
			putBuffer(j.plain)
		}
		j.bytes, j.codec, j.stored = stored, codec, len(stored)
	}()
	select {
	case p.jobs <- j:
		return nil
	case <-p.in.ctx.Done():
		p.in.memory.Release(j.weight)
		return context.Cause(p.in.ctx)
	}
}

// close sends the last frame; the packer's goroutine then finishes the last pack.
func (p *packer) close() {
	if p.closed {
		return
	}
	p.closed = true
	if p.open != nil {
		if err := p.send(p.in.ctx); err != nil {
			p.in.fail(err)
		}
	}
	close(p.jobs)
}

// build puts frames into packs, in order, until there are no more.
func (p *packer) build() {
	var b *packBuilder
	for j := range p.jobs {
		<-j.ready
		err := context.Cause(p.in.ctx)
		if err == nil && b != nil && b.full(len(j.bytes)) {
			err = p.ship(b)
			b = nil
		}
		if err == nil && b == nil {
			b, err = p.start()
		}
		if err == nil {
			err = b.add(j.frame, j.bytes)
		}
		putBuffer(j.bytes)
		p.in.memory.Release(j.weight)
		if err != nil {
			p.in.fail(err)
		}
	}
	if b != nil && context.Cause(p.in.ctx) == nil {
		if err := p.ship(b); err != nil {
			p.in.fail(err)
		}
	}
}

// start waits for a pack buffer.
func (p *packer) start() (*packBuilder, error) {
	select {
	case buf := <-p.in.buffers:
		if buf == nil {
			buf = make([]byte, 0, PackSize+PackSize/16)
		}
		return newPackBuilder(buf, p.in.epoch, p.component)
	case <-p.in.ctx.Done():
		return nil, context.Cause(p.in.ctx)
	}
}

// ship finishes a pack and starts its upload, once fewer than uploads are under way.
func (p *packer) ship(b *packBuilder) error {
	data, err := b.finish()
	if err != nil {
		return err
	}
	select {
	case p.in.uploads <- struct{}{}:
	case <-p.in.ctx.Done():
		return context.Cause(p.in.ctx)
	}
	np := b.pack // the builder's own buffers are not to live as long
	p.in.tasks.Go(func() {
		defer func() { <-p.in.uploads; p.in.buffers <- data }()
		if err := p.in.put(&np, data); err != nil {
			p.in.fail(err)
		}
	})
	return nil
}

// frameBuffers holds the buffers of frames, plain and stored, by size: those of small frames must not keep large
// ones from the garbage collector.
var frameBuffers [5]sync.Pool

// bufferSizes are the room in the buffers of each pool: for a stream's frame, one of media, and long blobs.
var bufferSizes = [len(frameBuffers)]int{130 << 10, 1040 << 10, 2080 << 10, 4160 << 10, chunk.MaxSize + chunk.MaxSize/64}

// getBuffer returns an empty buffer with room for n bytes and for what zstd may add to them.
func getBuffer(n int) []byte {
	for i, size := range bufferSizes {
		if n <= size-size/128 {
			if b, ok := frameBuffers[i].Get().(*[]byte); ok {
				return (*b)[:0]
			}
			return make([]byte, 0, size)
		}
	}
	return make([]byte, 0, n)
}

func putBuffer(b []byte) {
	if i := slices.Index(bufferSizes[:], cap(b)); i >= 0 {
		frameBuffers[i].Put(&b)
	}
}
