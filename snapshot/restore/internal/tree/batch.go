package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"permafrost/chunk"
	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/stream"
	"permafrost/source/media"
)

const (
	// Media are restored in batches of so many files, whose blobs are fetched together, pack by pack. Content goes
	// to its file as it comes and is held nowhere.
	batchFiles = 2048

	// openFiles bounds the files of a batch that consist of several blobs and so may be open at once.
	openFiles = 128

	// scatterChunks is how many chunks of a large file are fetched together. The same blob may be all of them.
	scatterChunks = 1024
)

// A batch is a part of the listing: files whose content is to come.
type batch struct {
	files []*pending
	uses  map[chunk.ID][]use
	open  int // files of several blobs
	large []*snapshot.Entry
}

// A pending file waits for its blobs.
type pending struct {
	*snapshot.Entry
	mu      sync.Mutex
	f       *media.TargetFile
	left    int  // blobs to come
	refused bool // by the target
}

// A use is a place that a blob goes to.
type use struct {
	file *pending
	off  int64
	n    int64 // bytes that the blob must have
}

func newBatch() *batch { return &batch{uses: make(map[chunk.ID][]use)} }

func (b *batch) full() bool {
	return len(b.files) >= batchFiles || b.open >= openFiles || len(b.large) >= openFiles
}

// add plans a file with content.
func (b *batch) add(ctx context.Context, e *snapshot.Entry) error {
	if id, ok := e.Content.Blob(); ok {
		p := &pending{Entry: e, left: 1}
		b.files = append(b.files, p)
		b.uses[id] = append(b.uses[id], use{p, 0, e.Size})
		return nil
	}
	if e.Content.Depth > 0 {
		b.large = append(b.large, e)
		return nil
	}
	var chunks []stream.Chunk
	simple := true
	for c, err := range e.Content.Chunks(ctx, nil) { // which are all in the root
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		chunks = append(chunks, c)
		simple = simple && c.Extents == nil
	}
	p := &pending{Entry: e}
	for i := range chunks {
		if simple && !chunks[i].Hole() {
			p.left++
		}
	}
	if p.left == 0 { // nothing but holes, or parts of blobs
		b.large = append(b.large, e)
		return nil
	}
	off := int64(0)
	for i := range chunks {
		if c := &chunks[i]; !c.Hole() {
			b.uses[c.ID] = append(b.uses[c.ID], use{p, off, c.Length})
		}
		off += chunks[i].Length
	}
	b.files = append(b.files, p)
	b.open++
	return nil
}

// fill fetches a batch's content.
func (t *Tree) fill(ctx context.Context, b *batch) error {
	ids := make([]chunk.ID, 0, len(b.uses))
	for id := range b.uses {
		ids = append(ids, id)
	}
	err := t.Blobs.Fetch(ctx, ids, func(id chunk.ID, data []byte) error { return t.deliver(b.uses[id], data) })
	if err != nil {
		defer t.discard(b)
		if !fault.IsDamage(err) {
			return err
		}
		if err := t.salvage(ctx, b); err != nil {
			return err
		}
	}
	for _, e := range b.large {
		if err := t.large(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// discard removes the files that an error left without all of their content.
func (t *Tree) discard(b *batch) {
	for _, p := range b.files {
		if p.f != nil {
			t.Target.Discard(p.f)
			p.f = nil
		}
	}
}

// deliver writes a blob to each of its places.
func (t *Tree) deliver(uses []use, data []byte) error {
	for _, u := range uses {
		if int64(len(data)) != u.n {
			return &store.DamageError{Object: u.file.Path, Err: errors.New("a blob is not as long as the listing says")}
		}
		if err := t.write(u, data); err != nil {
			return err
		}
	}
	return nil
}

// write writes a blob to one place and finishes the file with its last.
func (t *Tree) write(u use, data []byte) error {
	p := u.file
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused {
		return nil
	}
	done, err := t.writeAt(p, u.off, data)
	if err == nil {
		t.News.Wrote(done, int64(len(data)))
		return nil
	}
	if p.f != nil {
		t.Target.Discard(p.f)
		p.f = nil
	}
	p.refused, p.left = true, 0
	return t.settle(p.Entry, err)
}

// writeAt writes a part of a file, and returns how many files that has completed.
func (t *Tree) writeAt(p *pending, off int64, data []byte) (done int64, err error) {
	if p.f == nil {
		if p.f, err = t.Target.Create(&p.Entry.Entry); err != nil {
			return 0, err
		}
	}
	if _, err := p.f.WriteAt(data, off); err != nil {
		return 0, err
	}
	if p.left--; p.left > 0 {
		return 0, nil
	}
	f := p.f
	p.f = nil
	return 1, t.Target.Finish(f, &p.Entry.Entry)
}

// salvage completes the files of a batch one by one where fetching them together met damage.
func (t *Tree) salvage(ctx context.Context, b *batch) error {
	for _, p := range b.files {
		if p.left == 0 {
			continue
		}
		if p.f != nil {
			t.Target.Discard(p.f)
			p.f = nil
		}
		if err := t.large(ctx, p.Entry); err != nil {
			return err
		}
	}
	return nil
}

// large writes one file by itself. One that is damaged in the repository is lost, and no error.
func (t *Tree) large(ctx context.Context, e *snapshot.Entry) error {
	f, err := t.Target.Create(&e.Entry)
	if err != nil {
		return t.settle(e, err)
	}
	err = t.scatter(ctx, e, f)
	if err == nil {
		t.News.Wrote(1, 0)
		return t.settle(e, t.Target.Finish(f, &e.Entry))
	}
	t.Target.Discard(f)
	switch {
	case fault.IsOfTarget(err):
		return t.settle(e, err)
	case !fault.IsDamage(err):
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	t.lost(e, err)
	return nil
}

// A place is where a blob goes to in a large file.
type place struct{ off, n int64 }

// scatter writes a file's chunks to their places as they come, for some of them at once. Holes stay holes.
func (t *Tree) scatter(ctx context.Context, e *snapshot.Entry, f io.WriterAt) error {
	places, waiting := make(map[chunk.ID][]place), 0
	flush := func() error {
		err := t.Blobs.Fetch(ctx, slices.Collect(maps.Keys(places)), func(id chunk.ID, data []byte) error {
			for _, p := range places[id] {
				if int64(len(data)) != p.n {
					return &store.DamageError{Object: "blob " + id.String()[:8], Err: fmt.Errorf("it has %d bytes, a recipe wants %d", len(data), p.n)}
				}
				if _, err := f.WriteAt(data, p.off); err != nil {
					return fault.OfTarget(err)
				}
				t.News.Wrote(0, int64(len(data)))
			}
			return nil
		})
		clear(places)
		waiting = 0
		return err
	}
	off, wasHole := int64(0), false
	for c, err := range e.Content.Chunks(ctx, t.Blobs) {
		switch {
		case err != nil:
			return err
		case c.Hole() && wasHole:
			// Of these there could be endlessly many, and nothing would ever be written.
			return &store.DamageError{Object: "recipe", Err: errors.New("a hole follows upon a hole")}
		case c.Extents != nil:
			err = t.patch(ctx, c, f, off)
		case !c.Hole():
			places[c.ID] = append(places[c.ID], place{off, c.Length})
			waiting++
		}
		if err == nil && waiting >= scatterChunks {
			err = flush()
		}
		if err != nil {
			return err
		}
		off, wasHole = off+c.Length, c.Hole()
	}
	return flush()
}

// patch writes a chunk that consists of parts of blobs.
func (t *Tree) patch(ctx context.Context, c stream.Chunk, f io.WriterAt, off int64) error {
	data, err := c.Bytes(ctx, t.Blobs)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, off); err != nil {
		return fault.OfTarget(err)
	}
	t.News.Wrote(0, c.Length)
	return nil
}

// lost notes a file that can't be restored.
func (t *Tree) lost(e *snapshot.Entry, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(e, true)
	t.News.Lost(e.Path, err)
}

// maxGone is how many files that are not there are remembered.
const maxGone = 1 << 18

// forget notes that a file is not there, lost or refused, for who wants to make further names of it.
func (t *Tree) forget(e *snapshot.Entry, lost bool) {
	if len(t.gone) < maxGone {
		t.gone[e.Path] = lost
	}
}
