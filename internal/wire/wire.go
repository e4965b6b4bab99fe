// Package wire reads the binary encodings of packs, indexes, recipes and listings: unsigned and signed varints
// as encoding/binary has them, and byte strings. The first thing wrong sticks, and nothing is allocated that the
// input's length does not justify.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrTruncated says that the input ended within a value.
var ErrTruncated = errors.New("truncated")

// A Reader takes values off the front of a byte slice. After the first error every call returns zero values.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a Reader of b, which must not change while it is read.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Len returns the number of bytes not yet read.
func (r *Reader) Len() int { return len(r.b) }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Fail makes err the first error unless there is one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
		r.b = nil
	}
}

// Close returns the first error; bytes left over are one.
func (r *Reader) Close() error {
	if r.err == nil && len(r.b) > 0 {
		r.Fail(fmt.Errorf("%d bytes too many", len(r.b)))
	}
	return r.err
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.Fail(ErrTruncated)
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// Bytes returns the next n bytes, a part of the input and not a copy.
func (r *Reader) Bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.Fail(ErrTruncated)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Uvarint reads an unsigned varint of at most max. Only the shortest form of a number is taken, so that what
// parses is what would be written.
func (r *Reader) Uvarint(max uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	switch {
	case n == 0:
		r.Fail(ErrTruncated)
		return 0
	case n < 0 || n > 1 && r.b[n-1] == 0:
		r.Fail(errors.New("malformed number"))
		return 0
	case v > max:
		r.Fail(fmt.Errorf("number %d is above the limit of %d", v, max))
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a zigzag-coded signed varint.
func (r *Reader) Varint() int64 {
	u := r.Uvarint(1<<64 - 1)
	return int64(u>>1) ^ -int64(u&1)
}

// Count reads the number of elements that follow, each of at least size bytes: a count that the rest of the
// input can't hold is an error, so the caller may allocate for it.
func (r *Reader) Count(max, size int) int {
	n := r.Uvarint(uint64(max))
	if n > uint64(len(r.b)/size) {
		r.Fail(ErrTruncated)
		return 0
	}
	return int(n)
}
