package console

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Closed reports whether data go to a standard output that was closed when the program began. Go's runtime puts a /dev/null in its
// place that is open for reading too, which a shell's >/dev/null is not.
func (c *Console) Closed() bool {
	f, ok := c.out.(*os.File)
	if !ok || f.Fd() != 1 {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	var st unix.Stat_t
	return err != nil || flags&unix.O_ACCMODE == unix.O_RDWR && unix.Fstat(1, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR &&
		st.Rdev == unix.Mkdev(1, 3)
}

// An UnreportedError says that a command has done its work, and that its report could not be written.
type UnreportedError struct {
	done string // what was done
	err  error
}

func (e *UnreportedError) Error() string {
	return fmt.Sprintf("%s; only the report of it failed: %v", e.done, e.err)
}
func (e *UnreportedError) Unwrap() error { return e.err }

// Done notes what the command has done, for a report that can't be written.
func (c *Console) Done(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = fmt.Sprintf(format, args...)
}

// Settle adds to a command's error that data could not be written.
func (c *Console) Settle(err error) error {
	c.mu.Lock()
	failure, done := c.failure, c.done
	c.mu.Unlock()
	switch {
	case failure == nil || errors.Is(err, failure):
		return err
	case err != nil:
		c.Warn("%v", failure)
		return err
	case done != "":
		return &UnreportedError{done: done, err: failure}
	}
	return failure
}
