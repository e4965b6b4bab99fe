package backup

import (
	"context"
	"crypto/sha256"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"permafrost/chunk"
	"permafrost/repo"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"
)

// A blobWriter takes blobs: the part of repo.Writer that streams and files need.
type blobWriter interface {
	Sum(c repo.Component, data []byte) chunk.ID
	Has(ctx context.Context, id chunk.ID, length int) (bool, error)
	Length(id chunk.ID) (int, bool)
	Add(ctx context.Context, c repo.Component, id chunk.ID, data []byte) (fresh bool, err error)
	Polynomial() uint64
}

// An ingester puts streams into a repository.
type ingester struct {
	w    blobWriter
	meta sync.Mutex // recipes of several components are written at once
}

// sink returns where meta blobs go during ctx.
func (in *ingester) sink(ctx context.Context) func(data []byte) (chunk.ID, error) {
	return func(data []byte) (chunk.ID, error) {
		id := in.w.Sum(repo.Meta, data)
		in.meta.Lock()
		defer in.meta.Unlock()
		_, err := in.w.Add(ctx, repo.Meta, id, data)
		return id, err
	}
}

// blob stores one blob and returns its ID.
func (in *ingester) blob(ctx context.Context, c repo.Component, data []byte) (chunk.ID, error) {
	id := in.w.Sum(c, data)
	_, err := in.w.Add(ctx, c, id, data)
	return id, err
}

// split stores what the splitter cuts and adds it to a recipe.
func (in *ingester) split(ctx context.Context, c repo.Component, s *chunk.Splitter, rec *stream.Writer) error {
	for {
		data, err := s.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		id, err := in.blob(ctx, c, data)
		if err != nil {
			return err
		}
		if err := rec.Add(&stream.Chunk{Length: int64(len(data)), ID: id}); err != nil {
			return err
		}
	}
}

const (
	// A stream is read in blocks of this many bytes, of which so many are in memory: enough that neither the source
	// nor what comes behind waits for the other's moment.
	blockSize  = 256 << 10
	blockCount = 16
)

// A block is a part of a stream on its way to two readers.
type block struct {
	data  []byte
	users atomic.Int32
}

// A blockPool lends blockCount blocks.
type blockPool chan *block

func newBlockPool() blockPool {
	p := make(blockPool, blockCount)
	for range blockCount {
		p <- &block{data: make([]byte, 0, blockSize)}
	}
	return p
}

// done gives a block back once both readers are through.
func (p blockPool) done(b *block) {
	if b.users.Add(-1) == 0 {
		p <- b
	}
}

// A blockReader is an io.Reader over blocks.
type blockReader struct {
	ctx  context.Context
	in   <-chan *block
	pool blockPool
	b    *block
	rest []byte
}

func (r *blockReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.b != nil {
			r.pool.done(r.b)
			r.b = nil
		}
		select {
		case b, ok := <-r.in:
			if !ok {
				return 0, io.EOF
			}
			r.b, r.rest = b, b.data
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// stream stores everything that src gives up to io.EOF, and closes it. Reading, hashing and cutting each have a
// goroutine. told hears of bytes as they are read. wasted is what the stream does not use of the blobs that it refers to,
// in bytes.
func (in *ingester) stream(ctx context.Context, c repo.Component, src io.ReadCloser, near *levelTwo, told func(bytes int64)) (out snapshot.Stream, wasted int64, err error) {
	g, ctx := errgroup.WithContext(ctx)
	pool := newBlockPool()
	toHash, toSplit := make(chan *block, blockCount), make(chan *block, blockCount)
	g.Go(func() error {
		defer close(toSplit)
		defer close(toHash)
		return readBlocks(ctx, src, pool, func(b *block) {
			told(int64(len(b.data)))
			toHash <- b // neither waits: there are no more blocks than they hold
			toSplit <- b
		})
	})
	g.Go(func() error {
		h := sha256.New()
		for b := range toHash {
			h.Write(b.data)
			out.Size += int64(len(b.data))
			pool.done(b)
		}
		h.Sum(out.SHA256[:0])
		return nil
	})
	g.Go(func() error {
		m := newMatcher(in, c, stream.NewWriter(in.sink(ctx), stream.InManifest), near)
		s := chunk.NewSplitter(&blockReader{ctx: ctx, in: toSplit, pool: pool}, in.w.Polynomial(), chunk.Stream)
		for {
			data, err := s.Next()
			if err == io.EOF {
				break
			}
			if err == nil {
				err = m.add(ctx, data)
			}
			if err != nil {
				return err
			}
		}
		var err error
		out.Recipe, wasted, err = m.finish(ctx)
		return err
	})
	closeSource := sync.OnceValue(src.Close)
	context.AfterFunc(ctx, func() { closeSource() }) // ends a Read under way
	err = g.Wait()
	if closed := closeSource(); err == nil {
		err = closed
	}
	return out, wasted, err
}

// readBlocks reads src to its end and emits what it read. Only a clean io.EOF is an end.
func readBlocks(ctx context.Context, src io.Reader, pool blockPool, emit func(*block)) error {
	for {
		var b *block
		select {
		case b = <-pool:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b.data = b.data[:0]
		var err error
		for idle := 0; err == nil && len(b.data) < blockSize && idle < 100; idle++ {
			var n int
			n, err = src.Read(b.data[len(b.data):blockSize])
			b.data = b.data[:len(b.data)+n]
			if n > 0 {
				idle = -1
			}
		}
		switch {
		case err != nil && err != io.EOF:
			return err
		case err == nil && len(b.data) < blockSize:
			return io.ErrNoProgress
		}
		if len(b.data) > 0 {
			b.users.Store(2)
			emit(b)
		}
		if err == io.EOF {
			return nil
		}
	}
}
