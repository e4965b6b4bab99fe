package index

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"permafrost/internal/localdir"
)

// A page file is made of pages of pageSize bytes, each with its own proof:
//
//	   0  4068  records of one length, as many as fit, then zeros
//	4068     8  the file's random number
//	4076     4  the page's number in the file
//	4080    16  SHA-256 over a key of the keyring and all of the above, cut to 16 bytes
//
// so that no byte of it is believed that was not written to this place of this file by a holder of the keyring.
const (
	pageSize    = 4096
	pagePayload = 4068
	pageFile    = pagePayload
	pageNumber  = pageFile + 8
	pageSum     = pageNumber + 4
	pagesAtOnce = 16 // in one read or write of a whole section
)

var errPage = errors.New("a page is not what was written")

// pageBytes is what a page file lies in: an *os.File or a memFile.
type pageBytes interface {
	io.ReaderAt
	io.WriterAt
}

// A page has room for the key in front of it, so that both are hashed in one go.
type page [sha256.Size + pageSize]byte

func (p *page) body() []byte { return p[sha256.Size:] }

// sum is the proof of a page.
func (p *page) sum(key *[32]byte) []byte {
	copy(p[:], key[:])
	s := sha256.Sum256(p[:sha256.Size+pageSum])
	return s[:pageSize-pageSum]
}

// verify reports whether the page is number n of the file.
func (p *page) verify(key *[32]byte, file uint64, n uint32) bool {
	b := p.body()
	return binary.LittleEndian.Uint64(b[pageFile:]) == file && binary.LittleEndian.Uint32(b[pageNumber:]) == n &&
		bytes.Equal(p.sum(key), b[pageSum:])
}

// A section is n records of size bytes each on consecutive pages.
type section struct {
	first uint32 // page
	size  int    // bytes of a record
	n     int
}

func (s section) perPage() int { return pagePayload / s.size }

func (s section) pages() int { return (s.n + s.perPage() - 1) / s.perPage() }

// A pageWriter writes a page file from the second page on; the first is the header's, and written last. After an error
// every call fails.
type pageWriter struct {
	f    pageBytes
	key  *[32]byte
	file uint64
	out  []byte // pages not yet written
	page page
	fill int
	next uint32 // number of the page being filled
	open section
	err  error
}

func newPageWriter(f pageBytes, key *[32]byte) *pageWriter {
	var salt [8]byte
	rand.Read(salt[:])
	return &pageWriter{f: f, key: key, file: binary.LittleEndian.Uint64(salt[:]), next: 1}
}

// begin starts a section of records of size bytes.
func (w *pageWriter) begin(size int) { w.open = section{w.next, size, 0} }

// add appends a record to the section.
func (w *pageWriter) add(record []byte) {
	if w.fill+len(record) > pagePayload {
		w.flushPage()
	}
	w.fill += copy(w.page.body()[w.fill:], record)
	w.open.n++
}

// end finishes the section.
func (w *pageWriter) end() section {
	if w.fill > 0 {
		w.flushPage()
	}
	w.flush()
	return w.open
}

func (w *pageWriter) flushPage() {
	w.out = append(w.out, w.seal(w.next)...)
	if w.next++; w.next == 0 {
		w.fail(errors.New("too many pages"))
	}
	if len(w.out) >= pagesAtOnce*pageSize {
		w.flush()
	}
}

// seal completes the page as number n, and returns its bytes until the next is begun.
func (w *pageWriter) seal(n uint32) []byte {
	b := w.page.body()
	clear(b[w.fill:])
	w.fill = 0
	binary.LittleEndian.PutUint64(b[pageFile:], w.file)
	binary.LittleEndian.PutUint32(b[pageNumber:], n)
	copy(b[pageSum:], w.page.sum(w.key))
	return b
}

func (w *pageWriter) flush() {
	if w.err == nil && len(w.out) > 0 {
		_, err := w.f.WriteAt(w.out, int64(w.next)*pageSize-int64(len(w.out)))
		w.fail(err)
	}
	w.out = w.out[:0]
}

// header writes the first page, which completes the file.
func (w *pageWriter) header(payload []byte) error {
	w.fill = copy(w.page.body(), payload)
	b := w.seal(0)
	if w.err == nil {
		_, err := w.f.WriteAt(b, 0)
		w.fail(err)
	}
	return w.err
}

func (w *pageWriter) fail(err error) {
	if w.err == nil && err != nil {
		w.err = &localError{fmt.Errorf("writing the local index: %w", err)}
	}
}

// A localError is a failure of this machine's own disk, which the repository can do without.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// A sectionReader reads a section's records from the first to the last.
type sectionReader struct {
	f    io.ReaderAt
	key  *[32]byte
	file uint64
	section
	buf  []byte
	have []byte // pages read and not yet used
	page page
	at   int    // in the page
	next uint32 // page
}

func newSectionReader(f io.ReaderAt, key *[32]byte, file uint64, s section) *sectionReader {
	return &sectionReader{f: f, key: key, file: file, section: s, at: pagePayload, next: s.first}
}

// read returns the next record, which is valid until the call after it, or io.EOF behind the last.
func (r *sectionReader) read() ([]byte, error) {
	if r.n == 0 {
		return nil, io.EOF
	}
	if r.at+r.size > pagePayload {
		if err := r.load(); err != nil {
			return nil, err
		}
	}
	rec := r.page.body()[r.at : r.at+r.size]
	r.at += r.size
	r.n--
	return rec, nil
}

func (r *sectionReader) load() error {
	if len(r.have) == 0 {
		n := min(r.pages(), pagesAtOnce) * pageSize
		if r.buf == nil {
			r.buf = make([]byte, n)
		}
		r.have = r.buf[:n]
		if _, err := r.f.ReadAt(r.have, int64(r.next)*pageSize); err != nil {
			r.have = nil
			return fmt.Errorf("reading the local index: %w", err)
		}
	}
	copy(r.page.body(), r.have)
	r.have = r.have[pageSize:]
	if !r.page.verify(r.key, r.file, r.next) {
		return errPage
	}
	r.next++
	r.at = 0
	return nil
}

// A memFile is a page file where no disk will take one.
type memFile struct{ b []byte }

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	if grow := int(off) + len(p) - len(m.b); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	return copy(m.b[off:], p), nil
}

// newScratch returns a file that nobody else sees and that ends with the process: in dir or, where that can't be, in the
// system's place for such, or in memory.
func newScratch(dir *localdir.Dir, onDisk bool) pageBytes {
	if !onDisk {
		return new(memFile)
	}
	// Its space is given back when it is closed, which the garbage collector sees to.
	if dir != nil {
		if f, err := dir.Scratch(); err == nil {
			return f
		}
	}
	if f, err := os.CreateTemp("", localdir.TempPrefix+"*"); err == nil {
		if os.Remove(f.Name()) == nil {
			return f
		}
		f.Close()
	}
	return new(memFile)
}
