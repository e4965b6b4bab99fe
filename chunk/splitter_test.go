package chunk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/restic/chunker"
)

// small cuts test data often.
var small = Params{Min: 256, Max: 4096, Bits: 9}

// lengths returns the lengths of the chunks of what r gives, and checks that they make it up.
func lengths(t testing.TB, s *Splitter, data []byte) []int {
	t.Helper()
	var cuts []int
	rest := data
	for {
		c, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(rest, c) || len(c) == 0 {
			t.Fatalf("chunk %d, of %d bytes, is not what comes next", len(cuts), len(c))
		}
		rest = rest[len(c):]
		cuts = append(cuts, len(c))
	}
	if len(rest) > 0 {
		t.Fatalf("the last %d bytes are in no chunk", len(rest))
	}
	if _, err := s.Next(); err != io.EOF {
		t.Fatalf("after io.EOF: %v", err)
	}
	return cuts
}

// reference returns what the library's own splitter makes of data.
func reference(t testing.TB, data []byte, p Params) []int {
	t.Helper()
	c := chunker.New(bytes.NewReader(data), testPolynomial, chunker.WithBoundaries(uint(p.Min), uint(p.Max)), chunker.WithAverageBits(p.Bits))
	var cuts []int
	for {
		chunk, err := c.Next(nil)
		if err == io.EOF {
			return cuts
		}
		if err != nil {
			t.Fatal(err)
		}
		cuts = append(cuts, int(chunk.Length))
	}
}

// randomReader reads up to max bytes at a time, at times none.
type randomReader struct {
	r   io.Reader
	rng *rand.Rand
	max int
}

func (r randomReader) Read(p []byte) (int, error) {
	return r.r.Read(p[:min(len(p), r.rng.IntN(r.max+1))])
}

func TestReadSizes(t *testing.T) {
	for _, p := range []Params{small, Stream} {
		data := noise(3, 6*p.Max+123)
		want := reference(t, data, p)
		if len(want) < 15 {
			t.Fatalf("only %d chunks", len(want))
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for name, r := range map[string]io.Reader{
			"at once":          bytes.NewReader(data),
			"byte by byte":     iotest.OneByteReader(bytes.NewReader(data)),
			"halves":           iotest.HalfReader(bytes.NewReader(data)),
			"EOF with data":    iotest.DataErrReader(bytes.NewReader(data)),
			"up to 7":          randomReader{bytes.NewReader(data), rng, 7},
			"up to the max":    randomReader{bytes.NewReader(data), rng, p.Max},
			"around the min":   randomReader{bytes.NewReader(data), rng, 2 * p.Min},
			"a buffer's worth": randomReader{bytes.NewReader(data), rng, 3 * p.Max},
		} {
			if got := lengths(t, NewSplitter(r, testPolynomial, p), data); !slices.Equal(got, want) {
				t.Errorf("%+v, read %s: chunks of %v, want %v", p, name, got, want)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	for _, p := range []Params{small, Stream, File} {
		data := noise(4, 1<<20+20<<p.Bits)
		cuts := lengths(t, NewSplitter(bytes.NewReader(data), testPolynomial, p), data)
		for i, n := range cuts {
			if n > p.Max || n < p.Min && i < len(cuts)-1 {
				t.Errorf("%+v: chunk %d of %d has %d bytes", p, i, len(cuts), n)
			}
		}
		average, want := len(data)/len(cuts), p.Min+1<<p.Bits
		if p != File && (average < want*3/4 || average > want*5/4) { // of File there are too few
			t.Errorf("%+v: %d bytes on average, want about %d", p, average, want)
		}
	}
	if Stream.Max > MaxSize || File.Max > MaxSize {
		t.Error("a chunk may be longer than MaxSize")
	}
}

// Uniform data is cut at the minimum or the maximum: there is nothing to tell places apart by.
func TestUniform(t *testing.T) {
	for b, want := range map[byte]int{0: small.Min, 1: small.Max} {
		data := bytes.Repeat([]byte{b}, 10*small.Max)
		for _, n := range lengths(t, NewSplitter(bytes.NewReader(data), testPolynomial, small), data) {
			if n != want {
				t.Errorf("bytes %d: a chunk of %d, want %d", b, n, want)
			}
		}
	}
}

// A change moves the cuts near it; all further ones stay where they were.
func TestChange(t *testing.T) {
	const at = 1 << 20
	data := noise(5, 2<<20)
	split := func(data []byte) map[string]bool {
		chunks := make(map[string]bool)
		rest := data
		for _, n := range lengths(t, NewSplitter(bytes.NewReader(data), testPolynomial, small), data) {
			chunks[string(rest[:n])] = true
			rest = rest[n:]
		}
		return chunks
	}
	before := split(data)
	for name, changed := range map[string][]byte{
		"insertion at the start": append([]byte("new"), data...),
		"insertion":              slices.Concat(data[:at], noise(6, 1000), data[at:]),
		"deletion":               slices.Concat(data[:at], data[at+777:]),
		"change":                 slices.Concat(data[:at], []byte{^data[at]}, data[at+1:]),
	} {
		fresh := 0
		for c := range split(changed) {
			if !before[c] {
				fresh++
			}
		}
		if fresh == 0 || fresh > 20 {
			t.Errorf("%s: %d of %d chunks are new", name, fresh, len(before))
		}
	}
}

// What is no longer than the minimum is one chunk, and costs no rolling hash.
func TestShort(t *testing.T) {
	for n := range small.Min + 1 {
		data := noise(7, n)
		s := NewSplitter(bytes.NewReader(data), testPolynomial, small)
		if cuts := lengths(t, s, data); len(cuts) > 1 || len(cuts) == 0 && n > 0 {
			t.Errorf("%d bytes: chunks of %v", n, cuts)
		}
		if s.rolling != nil {
			t.Errorf("%d bytes went through the rolling hash", n)
		}
	}
}

func TestReset(t *testing.T) {
	s := NewSplitter(nil, testPolynomial, small)
	for seed := range byte(20) {
		data := noise(seed, 5000)
		s.Reset(bytes.NewReader(data))
		if want, got := reference(t, data, small), lengths(t, s, data); !slices.Equal(got, want) {
			t.Errorf("stream %d: chunks of %v, want %v", seed, got, want)
		}
		// The next one starts in the middle of this one, or after its failure.
		s.Reset(io.MultiReader(bytes.NewReader(noise(seed+100, 3000)), iotest.ErrReader(errors.New("boom"))))
		for range seed {
			s.Next()
		}
	}
}

func TestReaderErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, n := range []int{0, 1, small.Min, 3 * small.Max} {
		data := noise(8, n)
		s := NewSplitter(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(boom)), testPolynomial, small)
		var err error
		for err == nil {
			_, err = s.Next()
		}
		if err != boom {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if _, err := s.Next(); err != boom {
			t.Errorf("after %d bytes and the error: %v", n, err)
		}
	}
	s := NewSplitter(randomReader{bytes.NewReader(noise(9, 10)), rand.New(rand.NewPCG(1, 2)), 0}, testPolynomial, small)
	if _, err := s.Next(); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

func TestNextAllocates(t *testing.T) {
	data := noise(10, 1<<20)
	s := NewSplitter(bytes.NewReader(data), testPolynomial, small)
	if _, err := s.Next(); err != nil { // sets up the rolling hash
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a chunk", n)
	}
}

func TestPolynomial(t *testing.T) {
	seen := make(map[uint64]bool)
	for range 5 {
		p, err := NewPolynomial()
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckPolynomial(p); err != nil || seen[p] {
			t.Errorf("%x: %v, seen before: %v", p, err, seen[p])
		}
		seen[p] = true
		for _, bad := range []uint64{p << 1, p | 1<<63, p >> 1, p ^ 1} {
			if CheckPolynomial(bad) == nil {
				t.Errorf("%x passes", bad)
			}
		}
	}
	for _, bad := range []uint64{0, 1, 1 << 53, 1<<54 - 1} {
		if CheckPolynomial(bad) == nil {
			t.Errorf("%x passes", bad)
		}
	}
	// Two polynomials cut in different places.
	data := noise(11, 100<<10)
	a := lengths(t, NewSplitter(bytes.NewReader(data), testPolynomial, small), data)
	p, err := NewPolynomial()
	if err != nil {
		t.Fatal(err)
	}
	if b := lengths(t, NewSplitter(bytes.NewReader(data), p, small), data); slices.Equal(a, b) {
		t.Error("the polynomial does not matter")
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add(noise(12, 3000), byte(7), uint16(64), uint16(200), byte(5))
	f.Add(bytes.Repeat([]byte{0}, 5000), byte(1), uint16(0), uint16(0), byte(3))
	f.Add([]byte{}, byte(0), uint16(1), uint16(1), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, reads byte, low, more uint16, bits byte) {
		p := Params{Min: 64 + int(low%4096), Bits: int(bits % 16)}
		p.Max = p.Min + int(more%8192) + 1
		rng := rand.New(rand.NewPCG(uint64(reads), 0))
		s := NewSplitter(randomReader{bytes.NewReader(data), rng, int(reads) + 1}, testPolynomial, p)
		if got, want := lengths(t, s, data), reference(t, data, p); !slices.Equal(got, want) {
			t.Errorf("%+v, %d bytes: chunks of %v, want %v", p, len(data), got, want)
		}
	})
}
