package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readTime bounds the reading of a small file: the file system below may be one that its user serves himself.
const readTime = 30 * time.Second

// ErrNotRegular is what is wrong with a directory, a FIFO, a socket or a device where a file is to be read.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge is what is wrong with a file of more bytes than are taken.
var ErrTooLarge = errors.New("the file is too large")

// ReadFile reads a file of at most limit bytes with the user's rights, and returns what it was like. A symbolic link is
// followed as far as the user could follow it. What is no regular file is not opened, so that nothing happens by the opening
// alone; and the reading never takes longer than half a minute. Its errors wrap ErrNotRegular, ErrTooLarge and
// os.ErrDeadlineExceeded.
func (u *User) ReadFile(path string, limit int64) ([]byte, fs.FileInfo, error) {
	return u.readFile(unix.AT_FDCWD, path, limit)
}

func (u *User) readFile(dir int, path string, limit int64) ([]byte, fs.FileInfo, error) {
	c, err := InTime(func() (c content, err error) {
		err = u.Do(func() error {
			f, err := openRegular(dir, path)
			if err == nil {
				c, err = readAll(f, limit)
			}
			return err
		})
		return c, err
	})
	return c.data, c.info, pathError("read", path, err)
}

// Open opens a regular file for reading, as ReadFile does.
func (u *User) Open(path string) (*os.File, error) {
	f, err := InTime(func() (f *os.File, err error) {
		err = u.Do(func() error {
			f, err = openRegular(unix.AT_FDCWD, path)
			return err
		})
		return f, err
	})
	return f, pathError("open", path, err)
}

// OpenDir opens a directory for reading with the user's rights, and waits half a minute at most.
func (u *User) OpenDir(path string) (fd int, err error) {
	fd, err = InTime(func() (fd int, err error) {
		err = u.Do(func() error {
			at, err := find(unix.AT_FDCWD, path)
			if err != nil {
				return err
			}
			defer unix.Close(at)
			fd, err = openList(at)
			return err
		})
		return fd, err
	})
	return fd, pathError("open", path, err)
}

// openList opens a directory for reading that is open as O_PATH.
func openList(at int) (int, error) {
	return Retry(func() (int, error) { return unix.Openat(at, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
}

// ListFrom opens a directory for reading that is open as O_PATH, with the user's rights, and waits half a minute at most.
func (u *User) ListFrom(at int) (int, error) {
	return InTime(func() (fd int, err error) {
		err = u.Do(func() error {
			fd, err = openList(at)
			return err
		})
		return fd, err
	})
}

// OpenTree opens the directory at the root of a tree for reading, and returns whose rights the tree is to be read with.
//
// A path that a user has chosen is followed with his rights. Where a process of root follows a path of root's, and the directory
// at its end is another user's, what is in it may be anything: that is read with this user's rights.
func OpenTree(root string, u *User) (fd int, as *User, err error) {
	if u != nil || os.Geteuid() != 0 {
		fd, err = u.OpenDir(root)
		return fd, u, err
	}
	place, err := Resolve(root)
	if err != nil {
		return -1, nil, err
	}
	defer place.Close()
	if u, err = place.Reader(); err == nil {
		fd, err = place.OpenDir()
	}
	return fd, u, err
}

// InTime calls f, and waits half a minute for it; then its error is os.ErrDeadlineExceeded, and f goes on by itself. It is for
// the few calls to a file system that another user may have stopped.
func InTime[T any](f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	timer := time.NewTimer(readTime)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		var none T
		return none, os.ErrDeadlineExceeded
	}
}

// A content is what a file holds and what it is like.
type content struct {
	data []byte
	info fs.FileInfo
}

// readAll reads a file of at most limit bytes, and closes it.
func readAll(f *os.File, limit int64) (c content, err error) {
	defer f.Close()
	if c.info, err = f.Stat(); err != nil {
		return c, err
	}
	if c.info.Size() > limit {
		return c, ErrTooLarge
	}
	c.data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(c.data)) > limit {
		c.data, err = nil, ErrTooLarge
	}
	return c, err
}

// openRegular opens a path for reading if it is a regular file. It looks at what is there before it opens that: the opening
// of a device alone may do something, and that of a FIFO waits.
func openRegular(dir int, path string) (*os.File, error) {
	at, err := find(dir, path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	return Reopen(at, path)
}

// Reopen opens for reading what a descriptor of O_PATH stands for, if that is a regular file; else its error is
// ErrNotRegular. The file is called name.
func Reopen(fd int, name string) (*os.File, error) { return reopen(fd, name, unix.O_RDONLY) }

func reopen(fd int, name string, flag int) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, ErrNotRegular
	}
	flag |= unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	f, err := Retry(func() (int, error) { return unix.Open(ProcPath(fd), flag, 0) })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(f), name), nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", path, pe.Err)
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
