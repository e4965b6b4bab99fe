// Package parts reads bytes that lie in several pieces of memory, one behind the other.
package parts

import (
	"errors"
	"io"
)

// Size returns the number of bytes in all parts.
func Size(parts [][]byte) int64 {
	n := int64(0)
	for _, p := range parts {
		n += int64(len(p))
	}
	return n
}

// Reader returns a reader of the parts, which also reads at any offset.
func Reader(parts [][]byte) *io.SectionReader {
	return io.NewSectionReader(readerAt(parts), 0, Size(parts))
}

type readerAt [][]byte

func (r readerAt) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	for _, p := range r {
		if size := int64(len(p)); off >= size {
			off -= size
			continue
		}
		n += copy(b[n:], p[off:])
		off = 0
		if n == len(b) {
			return n, nil
		}
	}
	if n < len(b) {
		err = io.EOF
	}
	return n, err
}
