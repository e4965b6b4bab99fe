package media

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxSegments bounds what Segments returns.
const maxSegments = 64 << 10

// A Segment is a run of a file's bytes that holds data.
type Segment struct{ Off, Len int64 }

// Segments returns where the first size bytes of f hold data, in order; what lies between reads as zeros. A file
// with more than 65,536 of them has its rest as one, and so has one on a file system that can't tell: holes in it
// read as zeros too. The file's offset is at 0 afterwards.
func Segments(f *os.File, size int64) ([]Segment, error) {
	var all []Segment
	for at := int64(0); at < size; {
		start, err := f.Seek(at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // no data behind at
			start = size
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
			start = at
		case err != nil:
			return nil, err
		}
		if start >= size {
			break
		}
		end, err := f.Seek(start, unix.SEEK_HOLE)
		if err != nil || end <= start || len(all) == maxSegments-1 {
			// The file was cut meanwhile, or can't tell, or is too ragged.
			end = size
		}
		end = min(end, size)
		all = append(all, Segment{start, end - start})
		at = end
	}
	_, err := f.Seek(0, io.SeekStart)
	return all, err
}
