package durable

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// earlyBytes is how much Early lets gather: enough to write it in one go, and little for fsync to wait for.
const earlyBytes = 16 << 20

// Early returns a writer to a file from its position on, for a large file that fsync makes durable at the end. It has the kernel
// begin to write each 16 MiB to the disk as soon as they are there, without waiting for it. The kernel alone would begin much
// later, and nearly all of the time that the disk takes would come after the last write.
func Early(f *os.File) io.Writer { return &early{f: f, start: -1} }

type early struct {
	f     *os.File
	start int64 // of the first byte that the disk was not asked for; -1: not known yet
	n     int64 // bytes behind it
}

func (e *early) Write(b []byte) (int, error) {
	if e.start < 0 {
		at, err := e.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0, err
		}
		e.start = at
	}
	n, err := e.f.Write(b)
	if e.n += int64(n); e.n >= earlyBytes {
		// It is a hint: a file system that takes none is slower, and fsync tells of errors.
		_ = unix.SyncFileRange(int(e.f.Fd()), e.start, e.n, unix.SYNC_FILE_RANGE_WRITE)
		e.start, e.n = e.start+e.n, 0
	}
	return n, err
}
