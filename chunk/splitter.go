package chunk

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/restic/chunker"
)

// MaxSize is the longest chunk of any Params, in bytes, and so the longest blob that a repository holds.
const MaxSize = 8 << 20

// Params says where a kind of data is cut. Sizes are in bytes.
type Params struct {
	Min  int // no chunk but the last is shorter
	Max  int // no chunk is longer
	Bits int // a cut comes on average every 1<<Bits bytes beyond Min
}

var (
	// Stream is for dumps, which change in many small places: at 64 KiB the night of a busy table costs a
	// third of what it does at the 1 MiB that is customary for files.
	Stream = Params{Min: 16 << 10, Max: 256 << 10, Bits: 16}

	// File is for files, which are mostly written once and never changed: few, long chunks cost least.
	File = Params{Min: 1 << 20, Max: 4 << 20, Bits: 20}
)

// read is how much is read at once, in bytes.
func (p Params) read() int { return min(p.Max, 1<<20) }

// A Splitter cuts a byte stream into content-defined chunks: an insertion or a deletion moves the cuts
// near it and no others. It is for one goroutine at a time; Reset makes it ready for the next stream.
type Splitter struct {
	params  Params
	pol     chunker.Pol
	rolling *chunker.BaseChunker
	r       io.Reader
	buf     []byte // what was read and not yet returned is buf[start:end]
	start   int
	end     int
	eof     bool
	err     error
}

// NewPolynomial returns a random irreducible polynomial for NewSplitter. It is secret: who knows it can
// tell known files from the lengths of their chunks.
func NewPolynomial() (uint64, error) {
	p, err := chunker.RandomPolynomial()
	return uint64(p), err
}

// irreducible holds polynomials that were found to be so, a few: to find it out takes a millisecond, and who opens a repository
// asks of each several times.
var irreducible struct {
	sync.Mutex
	some [32]uint64
	next int
}

// CheckPolynomial returns an error unless p is one that NewPolynomial may have returned.
func CheckPolynomial(p uint64) error {
	irreducible.Lock()
	defer irreducible.Unlock()
	if p != 0 && slices.Contains(irreducible.some[:], p) {
		return nil
	}
	if pol := chunker.Pol(p); pol.Deg() != 53 || !pol.Irreducible() {
		return fmt.Errorf("not an irreducible polynomial of degree 53")
	}
	irreducible.some[irreducible.next] = p
	irreducible.next = (irreducible.next + 1) % len(irreducible.some)
	return nil
}

// NewSplitter returns a Splitter that reads from r and cuts by the secret polynomial.
func NewSplitter(r io.Reader, polynomial uint64, p Params) *Splitter {
	s := &Splitter{
		params: p,
		pol:    chunker.Pol(polynomial),
		// A chunk that is still growing, and one read behind it: what a cut leaves of that read is all that is ever moved.
		buf: make([]byte, p.Max+p.read()),
	}
	s.Reset(r)
	return s
}

// Reset drops what was read and not returned, and goes on with r.
func (s *Splitter) Reset(r io.Reader) {
	s.r, s.start, s.end, s.eof, s.err = r, 0, 0, false, nil
	s.rolling = nil
}

// Next returns the next chunk, which is valid until the next call, or io.EOF after the last. Any other
// error is the reader's and final.
func (s *Splitter) Next() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	scanned := 0 // bytes of buf[start:end] that the rolling hash has seen
	for {
		have := s.end - s.start
		// What is no longer than the minimum can't be cut: the rolling hash need not see it.
		if have > s.params.Min && have > scanned {
			if s.rolling == nil {
				s.rolling = chunker.NewBase(s.pol, chunker.WithBaseBoundaries(uint(s.params.Min), uint(s.params.Max)),
					chunker.WithBaseAverageBits(s.params.Bits))
			}
			if cut := s.rolling.NextSplitPoint(s.buf[s.start+scanned : s.end]); cut >= 0 {
				return s.take(scanned + cut), nil
			}
			scanned = have
		}
		if s.eof {
			s.err = io.EOF
			if have > 0 {
				return s.take(have), nil
			}
			return nil, io.EOF
		}
		if err := s.fill(); err != nil {
			s.err = err
			return nil, err
		}
	}
}

// take returns the first n unread bytes.
func (s *Splitter) take(n int) []byte {
	c := s.buf[s.start : s.start+n : s.start+n]
	s.start += n
	return c
}

// fill reads at least one byte more, or notes the end.
func (s *Splitter) fill() error {
	read := s.params.read()
	if len(s.buf)-s.end < read {
		s.end = copy(s.buf, s.buf[s.start:s.end])
		s.start = 0
	}
	for tries := 0; ; tries++ {
		n, err := s.r.Read(s.buf[s.end : s.end+read])
		s.end += n
		switch {
		case err == io.EOF:
			s.eof = true
			return nil
		case err != nil:
			return err
		case n > 0:
			return nil
		case tries == 100:
			return io.ErrNoProgress
		}
	}
}
