package restore

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
	"permafrost/snapshot/stream"
)

// continueStream writes a stream to a file that may hold a part of it, from its beginning on: what of it verifies, chunk by chunk,
// stays, and is told to kept. An error says so if what is written is not, in the end, what the source gave.
func continueStream(ctx context.Context, rd stream.Blobs, s *snapshot.Stream, f *os.File, kept, told func(int64)) error {
	next, stop := iter.Pull2(s.Recipe.Chunks(ctx, rd))
	defer stop()
	h := sha256.New()
	old := oldFile{rd: rd, f: f}
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
		if more && off+behind.Length <= size && old.holds(&behind, off, h) {
			kept(behind.Length)
			continue
		}
		if _, err := f.Seek(off, io.SeekStart); err != nil {
			return &writeError{err}
		}
		if err := f.Truncate(off); err != nil {
			return &writeError{err}
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

// A blamed writer is one whose errors are a writeError.
type blamed struct{ w io.Writer }

func (b *blamed) Write(p []byte) (int, error) {
	n, err := b.w.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// An oldFile is one that is there and may hold what is to be written.
type oldFile struct {
	rd  stream.Blobs
	f   *os.File
	buf []byte
}

// holds reports whether a chunk lies in the file from off on, and writes it to w if it does.
func (o *oldFile) holds(c *stream.Chunk, off int64, w io.Writer) bool {
	if c.Hole() {
		return o.isHole(off, c.Length) && writeHole(w, c.Length) == nil
	}
	data := o.memory()[:c.Length]
	if _, err := o.f.ReadAt(data, off); err != nil || !o.rd.Verify(c.ID, data) {
		return false
	}
	_, err := w.Write(data)
	return err == nil
}

func (o *oldFile) memory() []byte {
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

// isHole reports whether a range of the file reads as zeros. Where the file has no data there it is not read.
func (o *oldFile) isHole(off, n int64) bool {
	for end := off + n; off < end; {
		data, err := unix.Seek(int(o.f.Fd()), off, unix.SEEK_DATA)
		switch {
		case err == unix.ENXIO || err == nil && data >= end:
			return true
		case err != nil:
			data = off
		}
		got := o.memory()[:min(end-data, int64(len(hole)))]
		if _, err := o.f.ReadAt(got, data); err != nil || !bytes.Equal(got, hole[:len(got)]) {
			return false
		}
		off = data + int64(len(got))
	}
	return true
}

// matches reports whether a file that is there has the content of an entry, and copies that to w, unless that is nil, as far as it
// goes.
func (o *oldFile) matches(ctx context.Context, e *snapshot.Entry, w io.WriterAt) (bool, error) {
	off, wasHole := int64(0), false
	for c, err := range e.Content.Chunks(ctx, o.rd) {
		switch {
		case isDamaged(err):
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
		if c.Hole() && !o.isHole(off, c.Length) || !c.Hole() && !o.holds(&c, off, to) {
			return false, nil
		}
		off, wasHole = off+c.Length, c.Hole()
	}
	return off == e.Size, nil
}
