package media

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// A Sweep removes from a Target what a snapshot does not have.
type Sweep struct {
	Selected func(path string, dir bool) bool // whether a name may go at all; nil: each may
	Dry      bool                             // nothing is removed
	Found    func(path string, dir bool)      // is told each name that goes or, if Dry, would go
	Left     func(path string, err error)     // is told what could not be removed
}

// errOtherDisk says why a directory is not removed.
var errOtherDisk = errors.New("another file system is mounted there")

// A sweeper is a Sweep at work.
type sweeper struct {
	Sweep
	t       *Target
	ctx     context.Context
	next    func() (*source.Entry, error, bool)
	current *source.Entry // the entry that the walk has come to; nil behind the last
}

// Sweep removes what is in the tree and not among entries, which come as a walk meets them. A directory goes once nothing is left in
// it. It ends with the first error of entries.
func (t *Target) Sweep(ctx context.Context, entries iter.Seq2[*source.Entry, error], o Sweep) error {
	next, stop := iter.Pull2(entries)
	defer stop()
	s := &sweeper{Sweep: o, t: t, ctx: ctx, next: next}
	if err := s.advance(); err != nil {
		return err
	}
	_, err := s.dir(t.root, "")
	return err
}

// advance goes to the next entry.
func (s *sweeper) advance() error {
	e, err, ok := s.next()
	if !ok {
		s.current = nil
		return nil
	}
	s.current = e
	return err
}

// has reports whether there is an entry of this path, and whether it is a directory.
func (s *sweeper) has(path string) (has, dir bool, err error) {
	for s.current != nil && (s.current.Path == "." || source.ComparePaths(s.current.Path, path) < 0) {
		if err := s.advance(); err != nil {
			return false, false, err
		}
	}
	has = s.current != nil && s.current.Path == path
	return has, has && s.current.Type == source.Dir, nil
}

// dir sweeps a directory that is open, and reports whether nothing is left in it. Errors of the tree are told, and others
// returned.
func (s *sweeper) dir(fd int, path string) (empty bool, err error) {
	var names []string
	err = s.t.user.Do(func() (err error) {
		names, err = readNames(fd)
		return err
	})
	if err != nil {
		s.Left(path, err)
		return false, nil
	}
	slices.Sort(names)
	empty = true
	for _, name := range names {
		if s.ctx.Err() != nil {
			return false, context.Cause(s.ctx)
		}
		below := name
		if path != "" {
			below = path + "/" + name
		}
		removed, err := s.name(fd, name, below)
		if err != nil {
			return false, err
		}
		empty = empty && removed
	}
	return empty, nil
}

// name sweeps what has a name in a directory, and reports whether it was removed.
func (s *sweeper) name(dir int, name, path string) (removed bool, err error) {
	has, isDir, err := s.has(path)
	if err != nil || has && !isDir {
		return false, err
	}
	var st unix.Stat_t
	err = s.t.user.Do(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return err == unix.ENOENT, nil
	}
	there := st.Mode&unix.S_IFMT == unix.S_IFDIR
	goes := !has && (s.Selected == nil || s.Selected(path, there))
	if there {
		if !has && otherDisk(dir, &st) {
			s.Left(path, errOtherDisk)
			return false, nil
		}
		// Something may be selected below a directory that is not.
		empty, err := s.below(dir, name, path)
		if err != nil || !empty {
			return false, err
		}
	}
	return goes && s.remove(dir, name, path, there), nil
}

// otherDisk reports whether something in a directory is on another file system.
func otherDisk(dir int, st *unix.Stat_t) bool {
	var above unix.Stat_t
	return unix.Fstat(dir, &above) != nil || above.Dev != st.Dev
}

// below sweeps a directory by its name.
func (s *sweeper) below(dir int, name, path string) (empty bool, err error) {
	fd := -1
	err = s.t.user.Do(func() (err error) {
		fd, err = openBelow(dir, name)
		return err
	})
	if err != nil {
		s.Left(path, err)
		return false, nil
	}
	defer unix.Close(fd)
	return s.dir(fd, path)
}

// remove removes a name, and reports whether it was, or would be, removed.
func (s *sweeper) remove(dir int, name, path string, isDir bool) bool {
	if !s.Dry {
		flags := 0
		if isDir {
			flags = unix.AT_REMOVEDIR
		}
		if err := s.t.user.Do(func() error { return unix.Unlinkat(dir, name, flags) }); err != nil && err != unix.ENOENT {
			s.Left(path, err)
			return false
		}
	}
	if !isPart(name) {
		s.Found(path, isDir)
	}
	return true
}

func openBelow(dir int, name string) (int, error) {
	return hostfs.Retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
}

// readNames returns the names in a directory that is open, whatever was read of it before.
func readNames(dir int) ([]string, error) {
	fd, err := openBelow(dir, ".")
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err == io.EOF {
		err = nil
	}
	return names, err
}

// removeAll removes a directory and all that is in it, as far as that is on one file system.
func removeAll(dir int, name string) error {
	fd, err := openBelow(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if otherDisk(dir, &st) {
		return errOtherDisk
	}
	names, err := readNames(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := unix.Unlinkat(fd, n, 0); err == unix.EISDIR || err == unix.EPERM {
			err = removeAll(fd, n)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}
