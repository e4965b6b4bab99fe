package backup

import (
	"bufio"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"permafrost/chunk"
	"permafrost/internal/localdir"
	"permafrost/repo"
	"permafrost/repo/store"
	"permafrost/snapshot/stream"
)

// A sketch tells of one stream of a snapshot where its bytes lie and what its pieces are, in the stream's order, so
// that the next night's stream can be matched against it without reading a byte of what is stored. It is derived and
// disposable. The file is:
//
//	magic
//	length of the stream's name (a number), name: instance and component
//	records, one a chunk:
//	    length of the chunk, not 0; its ID; number of extents, 0 where the chunk is a blob of its own
//	    extents: ID of a blob, offset, length
//	    number of pieces, and of each its length and sum
//	0
//	number of thin blobs, of which the stream uses little, and their IDs
//	offset of that number, 8 bytes, little-endian
//	ID of the snapshot
//	keyed BLAKE3-256 of all that
//
// with numbers as package stream writes them.
const (
	sketchMagic = "PFSIGN\x00\x01"
	sketchTail  = 8 + len(store.Name{}) + chunk.Size
	maxSketch   = 64 << 30 // bytes
	maxThin     = 1 << 22

	sketchSecret = "permafrost: signatures of streams"
	cutterSecret = "permafrost: pieces of streams"
)

// A sketchedChunk is a chunk of a stream with its pieces.
type sketchedChunk struct {
	stream.Chunk
	pieces []chunk.Piece
}

// sketches are those of an instance's streams, in a directory of their own.
type sketches struct {
	dir      *localdir.Dir // nil keeps none
	instance string
	key      chunk.IDKey
	cutter   chunk.IDKey
	made     []*sketchWriter
}

// newSketches returns an instance's sketches below dir. What an interrupted run left there goes.
func newSketches(dir *localdir.Dir, instance string, w blobWriter) *sketches {
	s := &sketches{
		instance: instance,
		key:      chunk.IDKey(w.Sum(repo.Meta, []byte(sketchSecret))),
		cutter:   chunk.IDKey(w.Sum(repo.Meta, []byte(cutterSecret))),
	}
	if dir == nil {
		return s
	}
	own, err := dir.Sub(filepath.Join("signatures", s.key.Sum([]byte(instance)).String()[:16]))
	if err != nil {
		return s
	}
	s.dir = own
	for _, e := range own.Names() {
		if strings.HasPrefix(e.Name, localdir.TempPrefix) {
			_ = own.Remove(e.Name)
		}
	}
	return s
}

// open returns the sketch of a stream of a snapshot.
func (s *sketches) open(stream string, of store.Name) (*sketchReader, error) {
	if s.dir == nil {
		return nil, os.ErrNotExist
	}
	f, err := s.dir.OpenFile(stream, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	r, err := s.verify(f, stream, of)
	if err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// levelTwo returns what a stream is matched with: the sketch that it has as part of the snapshot previous, unless
// that is zero. Without it the run is less thrifty; err says why.
func (s *sketches) levelTwo(stream string, previous store.Name) (*levelTwo, error) {
	l := &levelTwo{secret: s.cutter, sketch: s.create(stream)}
	if previous.IsZero() {
		return l, nil
	}
	var err error
	l.past, err = s.open(stream, previous)
	return l, err
}

// name is what a stream's sketch says that it is of.
func (s *sketches) name(stream string) string { return s.instance + "/" + stream }

// verify reads a whole sketch, so that nothing of it is believed before.
func (s *sketches) verify(f *os.File, stream string, of store.Name) (*sketchReader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	body := info.Size() - int64(sketchTail)
	if !info.Mode().IsRegular() || body < int64(len(sketchMagic)) || info.Size() > maxSketch {
		return nil, errors.New("not a sketch")
	}
	h := s.key.Hash()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, body), make([]byte, 256<<10)); err != nil {
		return nil, err
	}
	tail := make([]byte, sketchTail)
	if _, err := f.ReadAt(tail, body); err != nil {
		return nil, err
	}
	bound, sum := tail[:8+len(of)], tail[8+len(of):]
	h.Write(bound)
	if subtle.ConstantTimeCompare(h.Sum(nil), sum) != 1 {
		return nil, errors.New("it is damaged, or of another repository")
	}
	if store.Name(bound[8:]) != of {
		return nil, errors.New("it is of another snapshot")
	}
	at := int64(min(binary.LittleEndian.Uint64(bound), uint64(body)))
	r := newSketchReader(io.NewSectionReader(f, at, body-at))
	thin := r.readThin()
	r.in.Reset(io.NewSectionReader(f, 0, at))
	r.begin(s.name(stream))
	r.file, r.thin = f, thin
	return r, r.err
}

// create starts the sketch of a stream of this run. It returns nil where none can be kept.
func (s *sketches) create(stream string) *sketchWriter {
	if s.dir == nil {
		return nil
	}
	f, err := s.dir.Temp()
	if err != nil {
		return nil
	}
	w := &sketchWriter{file: f, name: stream, mac: s.key.Hash()}
	w.to = newSketchBuffer(io.MultiWriter(f, w.mac))
	name := s.name(stream)
	w.buf = append(w.buf, sketchMagic...)
	w.buf = binary.AppendUvarint(w.buf, uint64(len(name)))
	w.write(append(w.buf, name...))
	s.made = append(s.made, w)
	return w
}

// keep makes the sketches of this run those of the snapshot that it has committed. One that can't be kept makes the
// next night less thrifty, and is no reason to fail.
func (s *sketches) keep(of store.Name) error {
	var failed error
	for _, w := range s.made {
		if err := w.keep(of); err != nil {
			failed = fmt.Errorf("writing the sketch for the next night: %w", err)
		}
	}
	s.made = nil
	return failed
}

// drop removes the sketches of a run that committed nothing.
func (s *sketches) drop() {
	for _, w := range s.made {
		w.file.Discard()
	}
	s.made = nil
}

func newSketchBuffer(to io.Writer) *bufio.Writer { return bufio.NewWriterSize(to, 256<<10) }

// A sketchWriter writes a sketch. An error of it comes back from keep.
type sketchWriter struct {
	file *localdir.File
	name string
	mac  hash.Hash
	to   *bufio.Writer
	size uint64 // bytes written
	thin uint64 // offset of the table behind the records; 0 before finish
	buf  []byte
}

// write writes b, which becomes room for the next record. An error stays in the bufio.Writer, for keep to return.
func (w *sketchWriter) write(b []byte) {
	w.to.Write(b)
	w.size += uint64(len(b))
	w.buf = b[:0]
}

// add appends a chunk.
func (w *sketchWriter) add(c *sketchedChunk) {
	b := binary.AppendUvarint(w.buf, uint64(c.Length))
	b = append(b, c.ID[:]...)
	b = binary.AppendUvarint(b, uint64(len(c.Extents)))
	for _, x := range c.Extents {
		b = append(b, x.Blob[:]...)
		b = binary.AppendUvarint(b, uint64(x.Offset))
		b = binary.AppendUvarint(b, uint64(x.Length))
	}
	b = binary.AppendUvarint(b, uint64(len(c.pieces)))
	for _, p := range c.pieces {
		b = binary.AppendUvarint(b, uint64(p.Length))
		b = append(b, p.Sum[:]...)
	}
	w.write(b)
}

// finish appends the thin blobs.
func (w *sketchWriter) finish(thin []chunk.ID) {
	thin = thin[:min(len(thin), maxThin)]
	w.thin = w.size + 1
	b := append(w.buf, 0)
	b = binary.AppendUvarint(b, uint64(len(thin)))
	for i := range thin {
		b = append(b, thin[i][:]...)
	}
	w.write(b)
}

func (w *sketchWriter) keep(of store.Name) error {
	defer w.file.Discard()
	if w.thin == 0 {
		return nil
	}
	w.write(append(binary.LittleEndian.AppendUint64(w.buf, w.thin), of[:]...))
	if err := w.to.Flush(); err != nil {
		return err
	}
	if _, err := w.file.Write(w.mac.Sum(nil)); err != nil {
		return err
	}
	return w.file.Replace(w.name)
}

// A sketchReader reads a sketch that is verified. What is wrong with it all the same ends it.
type sketchReader struct {
	file *os.File
	in   *bufio.Reader
	err  error
	thin map[chunk.ID]bool // blobs of which the stream uses little
}

func newSketchReader(src io.Reader) *sketchReader {
	return &sketchReader{in: bufio.NewReaderSize(src, 256<<10)}
}

func (r *sketchReader) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// begin reads what the sketch is of, which must be name.
func (r *sketchReader) begin(name string) {
	magic := make([]byte, len(sketchMagic))
	r.bytes(magic)
	got := make([]byte, r.number(1<<10))
	r.bytes(got)
	if string(magic) != sketchMagic || string(got) != name {
		r.fail("it is of another stream")
	}
}

func (r *sketchReader) number(max uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(r.in)
	if err == nil && n > max {
		err = fmt.Errorf("a number is %d, more than %d", n, max)
	}
	if err != nil {
		r.err = fmt.Errorf("sketch: %w", err)
		return 0
	}
	return n
}

func (r *sketchReader) bytes(b []byte) {
	if r.err != nil {
		return
	}
	if _, err := io.ReadFull(r.in, b); err != nil {
		r.err = fmt.Errorf("sketch: %w", err)
	}
}

// next returns the next chunk, or nil at the end.
func (r *sketchReader) next() (*sketchedChunk, error) {
	length := r.number(uint64(chunk.Stream.Max))
	if r.err != nil || length == 0 {
		return nil, r.err
	}
	c := &sketchedChunk{Chunk: stream.Chunk{Length: int64(length)}}
	r.bytes(c.ID[:])
	if n := r.number(stream.MaxExtents); n > 0 {
		c.Extents = make([]stream.Extent, n)
	}
	sum := int64(0)
	for i := range c.Extents {
		x := &c.Extents[i]
		r.bytes(x.Blob[:])
		x.Offset, x.Length = int(r.number(chunk.MaxSize)), int(r.number(chunk.MaxSize))
		sum += int64(x.Length)
	}
	if c.Extents != nil && sum != c.Length {
		r.fail("extents do not make their chunk")
	}
	c.pieces = make([]chunk.Piece, r.number(length/chunk.MinPiece+1))
	sum = 0
	for i := range c.pieces {
		p := &c.pieces[i]
		p.Length = int(r.number(chunk.MaxPiece))
		r.bytes(p.Sum[:])
		sum += int64(p.Length)
	}
	if sum != c.Length {
		r.fail("pieces do not make their chunk")
	}
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

func (r *sketchReader) fail(text string) {
	if r.err == nil {
		r.err = errors.New("sketch: " + text)
	}
}

// readThin reads the table behind the records.
func (r *sketchReader) readThin() map[chunk.ID]bool {
	thin := make(map[chunk.ID]bool)
	for n := r.number(maxThin); n > 0 && r.err == nil; n-- {
		var id chunk.ID
		r.bytes(id[:])
		thin[id] = true
	}
	return thin
}
