package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// A reader reads the parts of an archive. After its first error everything it returns is zero.
type reader struct {
	r                *bufio.Reader
	intSize, offSize int
	pos              int // bytes that were read
	err              error

	keeps func(kind string) bool // whose definitions are kept; nil for none
	visit func(*Entry)           // is given each entry; may be nil
}

// bytes returns the next n bytes, n being small; they are valid until the next call.
func (d *reader) bytes(n int) []byte {
	if d.err != nil {
		return nil
	}
	b, err := d.r.Peek(n)
	if err != nil {
		d.err = unexpected(err)
		return nil
	}
	d.r.Discard(n)
	d.pos += n
	return b
}

func (d *reader) int() int {
	b := d.bytes(1 + d.intSize)
	if d.err != nil {
		return 0
	}
	n, ok := intOf(b)
	if !ok {
		d.err = errors.New("an integer is out of range")
	}
	return n
}

// intOf returns the int that b is: a sign byte and then its bytes, the lowest first.
func intOf(b []byte) (n int, ok bool) {
	var u uint64
	for i := len(b) - 1; i > 0; i-- {
		u = u<<8 | uint64(b[i])
	}
	if u > math.MaxInt32 {
		return 0, false
	}
	if n = int(u); b[0] != 0 {
		n = -n
	}
	return n, true
}

// string reads a string that is kept; an absent one is "".
func (d *reader) string() string {
	n := d.int()
	if d.err == nil && n > maxKeptString {
		d.err = fmt.Errorf("a name of %d bytes", n)
	}
	if d.err != nil || n < 0 {
		return ""
	}
	return string(d.bytes(n))
}

// maxDefinition bounds a definition that is kept, in bytes.
const maxDefinition = 1 << 20

// text reads a string that is kept, and passes over one that is longer than any that can be meant.
func (d *reader) text() string {
	n := d.int()
	if d.err != nil || n < 0 {
		return ""
	}
	if n > maxDefinition {
		d.discard(n)
		return ""
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.err = unexpected(err)
		return ""
	}
	d.pos += n
	return string(b)
}

// maxIdentifier bounds a name in bytes. PostgreSQL's own have 63 unless it was built otherwise.
const maxIdentifier = 255

// name reads a string that is kept where it can be a table's or a schema's name, and passes over any other.
func (d *reader) name() string {
	n := d.int()
	if d.err != nil || n < 0 {
		return ""
	}
	if n > maxIdentifier {
		d.discard(n)
		return ""
	}
	b := d.bytes(n)
	if bytes.IndexByte(b, 0) >= 0 {
		return ""
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// skip passes over n strings.
func (d *reader) skip(n int) {
	for range n {
		d.skipString()
	}
}

// skipString passes over a string and reports whether there was one.
func (d *reader) skipString() bool {
	n := d.int()
	if d.err != nil || n < 0 {
		return false
	}
	d.discard(n)
	return true
}

func (d *reader) discard(n int) {
	k, err := d.r.Discard(n)
	d.pos += k
	if err != nil {
		d.err = unexpected(err)
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
