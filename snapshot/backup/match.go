package backup

import (
	"context"
	"slices"

	"permafrost/chunk"
	"permafrost/repo"
	"permafrost/snapshot/stream"
)

const (
	// Literals of many chunks make a blob of this many bytes, or a little more.
	literalBytes = 64 << 10

	// Chunks whose literals are in no blob yet wait, at most so many, with so many extents.
	maxWaiting        = 2048
	maxWaitingExtents = 16 << 10

	// A chunk of which less than one in so many bytes is found is stored as it is.
	minFound = 32

	// A blob is thin where a stream uses less than one in so many of its bytes.
	thinShare = 3
)

// A matcher stores a stream chunk by chunk: as the blob that it is already, else as what the previous night's stream
// was put together from, else piece by piece of extents of that stream's blobs and of literals, which many chunks share
// a blob for.
//
// Nothing is matched into a thin blob, one of which the previous stream uses little: its live part is stored anew, so
// that the blob can go when older snapshots do. Otherwise a stream would reference, after a month, five bytes for each four
// that it has.
type matcher struct {
	in     *ingester
	comp   repo.Component
	rec    *stream.Writer
	past   *past
	sketch *sketchWriter // nil: no sketch is kept
	cutter *chunk.Cutter
	pieces []chunk.Piece

	literals []byte
	waiting  []*matched // in the stream's order
	extents  int        // of these

	blobs map[chunk.ID]*usage // that extents lie in
}

// levelTwo is what a stream is matched with, and where it leaves what the next one is matched with. Each may be absent.
type levelTwo struct {
	past   *sketchReader
	sketch *sketchWriter
	secret chunk.IDKey
}

func (l *levelTwo) close() {
	if l.past != nil {
		l.past.close()
	}
}

func newMatcher(in *ingester, comp repo.Component, rec *stream.Writer, l *levelTwo) *matcher {
	window := int64(pastWindow)
	if comp == repo.Redis {
		window = pastRedisWindow
	}
	return &matcher{in: in, comp: comp, rec: rec, past: newPast(l.past, window), sketch: l.sketch, cutter: chunk.NewCutter(l.secret),
		blobs: make(map[chunk.ID]*usage)}
}

// A matched chunk waits until its literals are in a blob. Until then the extents of these have no ID, and an offset in
// matcher.literals.
type matched struct{ sketchedChunk }

// A usage says how much of a blob the stream uses.
type usage struct {
	length  int
	used    int
	allowed bool // this snapshot may reference it
}

// add stores the next chunk of the stream.
func (m *matcher) add(ctx context.Context, data []byte) error {
	m.past.advance(int64(len(data)))
	id := m.in.w.Sum(m.comp, data)
	c := &matched{sketchedChunk{Chunk: stream.Chunk{Length: int64(len(data)), ID: id}}}
	old := m.past.chunk(id)
	stored, err := m.in.w.Has(ctx, id, len(data))
	switch {
	case err != nil:
		return err
	case stored:
		c.pieces = m.cut(old, data)
		return m.put(ctx, c)
	case old != nil && old.Extents != nil:
		all := true
		for _, x := range old.Extents {
			ok, err := m.mayReference(ctx, x)
			if err != nil {
				return err
			}
			all = all && ok
		}
		if all {
			c.Extents, c.pieces = slices.Clone(old.Extents), old.pieces
			return m.put(ctx, c)
		}
	}
	c.pieces = m.cut(old, data)
	if c.pieces != nil {
		if err := m.match(ctx, c, data); err != nil {
			return err
		}
	}
	if c.Extents == nil {
		if _, err := m.in.w.Add(ctx, m.comp, id, data); err != nil {
			return err
		}
	}
	return m.put(ctx, c)
}

// cut returns the pieces of a chunk, nil where nobody wants to know them. They are those of old, if that is the same.
func (m *matcher) cut(old *sketchedChunk, data []byte) []chunk.Piece {
	switch {
	case m.sketch == nil && m.past.src == nil:
		return nil
	case old != nil:
		return old.pieces
	}
	m.pieces = m.cutter.Cut(m.pieces[:0], data)
	return slices.Clone(m.pieces)
}

// mayReference reports whether this snapshot may reference an extent, and should.
func (m *matcher) mayReference(ctx context.Context, x stream.Extent) (bool, error) {
	if m.past.src.thin[x.Blob] {
		return false, nil
	}
	u := m.blobs[x.Blob]
	if u == nil {
		u = new(usage)
		m.blobs[x.Blob] = u
		var known bool
		if u.length, known = m.in.w.Length(x.Blob); known {
			var err error
			if u.allowed, err = m.in.w.Has(ctx, x.Blob, u.length); err != nil {
				return false, err
			}
		}
	}
	return u.allowed && x.Offset+x.Length <= u.length, nil
}

// match gives a chunk extents, where that is worth it.
func (m *matcher) match(ctx context.Context, c *matched, data []byte) error {
	var xs []stream.Extent // with offsets in data where they have no blob
	found, at := 0, 0
	for i := range c.pieces {
		p := &c.pieces[i]
		x, ok := m.past.piece(p)
		if ok {
			var err error
			if ok, err = m.mayReference(ctx, x); err != nil {
				return err
			}
		}
		if ok {
			found += p.Length
		} else {
			x = stream.Extent{Offset: at, Length: p.Length}
		}
		xs = appendExtent(xs, x)
		at += p.Length
	}
	m.past.follow()
	if found < len(data)/minFound || len(xs) > stream.MaxExtents {
		return nil
	}
	c.Extents = xs
	return m.takeLiterals(ctx, c, data)
}

// appendExtent appends x, or lengthens the last extent by it where it lies behind that.
func appendExtent(xs []stream.Extent, x stream.Extent) []stream.Extent {
	if n := len(xs); n > 0 {
		if l := &xs[n-1]; l.Blob == x.Blob && l.Offset+l.Length == x.Offset {
			l.Length += x.Length
			return xs
		}
	}
	return append(xs, x)
}

// takeLiterals moves a chunk's literals to those that wait for a blob.
func (m *matcher) takeLiterals(ctx context.Context, c *matched, data []byte) error {
	need := 0
	for _, x := range c.Extents {
		if x.Blob.IsZero() {
			need += x.Length
		}
	}
	if len(m.literals)+need > chunk.MaxSize {
		if err := m.flush(ctx); err != nil {
			return err
		}
	}
	for i := range c.Extents {
		if x := &c.Extents[i]; x.Blob.IsZero() {
			from := x.Offset
			x.Offset = len(m.literals)
			m.literals = append(m.literals, data[from:from+x.Length]...)
		}
	}
	return nil
}

// put adds a chunk to the recipe, once all before it are there.
func (m *matcher) put(ctx context.Context, c *matched) error {
	m.waiting = append(m.waiting, c)
	m.extents += len(c.Extents)
	if len(m.literals) > 0 && len(m.literals) < literalBytes && len(m.waiting) < maxWaiting && m.extents < maxWaitingExtents {
		return nil
	}
	return m.flush(ctx)
}

// flush stores the literals and adds the chunks that wait to the recipe.
func (m *matcher) flush(ctx context.Context) error {
	var blob chunk.ID
	if len(m.literals) > 0 {
		blob = m.in.w.Sum(m.comp, m.literals)
		if _, err := m.in.w.Add(ctx, m.comp, blob, m.literals); err != nil {
			return err
		}
		m.blobs[blob] = &usage{length: len(m.literals), allowed: true}
		m.literals = m.literals[:0]
	}
	for _, c := range m.waiting {
		for i := range c.Extents {
			x := &c.Extents[i]
			if x.Blob.IsZero() {
				x.Blob = blob
			}
			m.blobs[x.Blob].used += x.Length
		}
		if u := m.blobs[c.ID]; u != nil && c.Extents == nil {
			u.used = u.length
		}
		if err := m.rec.Add(&c.Chunk); err != nil {
			return err
		}
		if m.sketch != nil {
			m.sketch.add(&c.sketchedChunk)
		}
	}
	m.waiting, m.extents = m.waiting[:0], 0
	return nil
}

// finish returns the recipe, and how many bytes of the blobs that it refers to the stream does not use.
func (m *matcher) finish(ctx context.Context) (r stream.Recipe, wasted int64, err error) {
	if err := m.flush(ctx); err != nil {
		return stream.Recipe{}, 0, err
	}
	var thin []chunk.ID
	for id, u := range m.blobs {
		if u.used > 0 {
			wasted += int64(max(0, u.length-u.used))
		}
		if u.used < u.length/thinShare {
			thin = append(thin, id)
		}
	}
	if m.sketch != nil {
		m.sketch.finish(thin)
	}
	r, err = m.rec.Finish()
	return r, wasted, err
}
