// Package resume writes what a file is to hold where that may hold a part of it: what of the file verifies stays.
package resume

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"iter"
	"os"

	"golang.org/x/sys/unix"

	"permafrost/chunk"
	"permafrost/internal/durable"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/stream"
)

// Stream writes a stream to a file that may hold a part of it, from its beginning on: what of it verifies, chunk by chunk,
// stays, and is told to kept. An error says so if what is written is not, in the end, what the source gave.
func Stream(ctx context.Context, rd stream.Blobs, s *snapshot.Stream, f *os.File, kept, told func(int64)) error {
	next, stop := iter.Pull2(s.Recipe.Chunks(ctx, rd))
	defer stop()
	h := sha256.New()
	old := Checker{Blobs: rd}
	var size int64
	info, err := f.Stat()
	if err == nil {
		size = info.Size()
	}
	var behind stream.Chunk // the first chunk that is not there
	more := false
	for off := int64(0); ; off += behind.Length {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if behind, err, more = next(); err != nil {
			return err
		}
		if more && off+behind.Length <= size && old.holds(f, &behind, off, h) {
			kept(behind.Length)
			continue
		}
		if _, err := f.Seek(off, io.SeekStart); err != nil {
			return fault.OfTarget(err)
		}
		if err := f.Truncate(off); err != nil {
			return fault.OfTarget(err)
		}
		break
	}
	rest := func(yield func(stream.Chunk, error) bool) {
		for c, err, ok := behind, error(nil), more; ok && yield(c, err); {
			c, err, ok = next()
		}
	}
	if err := stream.Write(ctx, rd, rest, io.MultiWriter(&blamed{durable.Early(f)}, h), told); err != nil {
		return err
	}
	return s.Verify(snapshot.SHA256(h.Sum(nil)))
}

// A blamed writer is one whose errors are the target's fault.
type blamed struct{ w io.Writer }

func (b *blamed) Write(p []byte) (int, error) {
	n, err := b.w.Write(p)
	if err != nil {
		err = fault.OfTarget(err)
	}
	return n, err
}

// A Checker reads files that are there and may hold what is to be written, one at a time.
type Checker struct {
	Blobs stream.Blobs
	buf   []byte
}

// holds reports whether a chunk lies in a file from off on, and writes it to w if it does.
func (o *Checker) holds(f *os.File, c *stream.Chunk, off int64, w io.Writer) bool {
	if c.Hole() {
		return o.isHole(f, off, c.Length) && writeHole(w, c.Length) == nil
	}
	data := o.memory()[:c.Length]
	if _, err := f.ReadAt(data, off); err != nil || !o.Blobs.Verify(c.ID, data) {
		return false
	}
	_, err := w.Write(data)
	return err == nil
}

func (o *Checker) memory() []byte {
	if o.buf == nil {
		o.buf = make([]byte, chunk.MaxSize)
	}
	return o.buf
}

// hole is what a hole reads as, a block of it.
var hole [64 << 10]byte

// writeHole writes what a hole of n bytes reads as.
func writeHole(w io.Writer, n int64) error {
	for n > 0 {
		m, err := w.Write(hole[:min(n, int64(len(hole)))])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

// isHole reports whether a range of a file reads as zeros. Where it has no data there it is not read.
func (o *Checker) isHole(f *os.File, off, n int64) bool {
	for end := off + n; off < end; {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		switch {
		case err == unix.ENXIO || err == nil && data >= end:
			return true
		case err != nil:
			data = off
		}
		got := o.memory()[:min(end-data, int64(len(hole)))]
		if _, err := f.ReadAt(got, data); err != nil || !bytes.Equal(got, hole[:len(got)]) {
			return false
		}
		off = data + int64(len(got))
	}
	return true
}

// Matches reports whether a file that is there has the content of an entry, and copies that to w, unless that is nil, as far as it
// goes.
func (o *Checker) Matches(ctx context.Context, f *os.File, e *snapshot.Entry, w io.WriterAt) (bool, error) {
	off, wasHole := int64(0), false
	for c, err := range e.Content.Chunks(ctx, o.Blobs) {
		switch {
		case fault.IsDamage(err):
			return false, nil
		case err != nil:
			return false, err
		case c.Hole() && wasHole: // there could be endlessly many
			return false, nil
		}
		var to io.Writer = io.Discard
		if w != nil && !c.Hole() {
			to = io.NewOffsetWriter(w, off)
		}
		if c.Hole() && !o.isHole(f, off, c.Length) || !c.Hole() && !o.holds(f, &c, off, to) {
			return false, nil
		}
		off, wasHole = off+c.Length, c.Hole()
	}
	return off == e.Size, nil
}
