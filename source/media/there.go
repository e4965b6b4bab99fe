package media

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// A There says what a Target holds at the path of an entry.
type There int

const (
	Absent  There = iota
	Same          // what the entry says, as far as can be seen without reading: of a file type, size, time, mode and owner
	Similar       // a regular file of the entry's size, and with another time, mode or owner
	Other         // something else
)

// Look says what is at an entry's path. Where that is the entry's and has another owner than it should, this counts for Owners.
func (t *Target) Look(e *source.Entry) (is There, err error) {
	err = t.do("look", e.Path, func() error {
		return t.in(e.Path, t.openDir, func(dir int, name string) error {
			is, err = t.attrs.look(e, dir, name)
			return err
		})
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return Absent, nil
	}
	return is, err
}

// Open opens the regular file at an entry's path for reading.
func (t *Target) Open(e *source.Entry) (f *os.File, err error) {
	err = t.do("open", e.Path, func() error {
		at, err := hostfs.OpenBeneath(t.root, e.Path, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(at)
		f, err = hostfs.Reopen(at, e.Path)
		return err
	})
	return f, err
}

// Adopt gives a file that has an entry's content the entry's attributes. It reports false where that would change a file that may have
// another name elsewhere, with more rights than the tree's owner has: then a copy is to take its place.
func (t *Target) Adopt(f *os.File, e *source.Entry) (bool, error) {
	if t.attrs.givesAway() {
		return false, nil
	}
	return true, t.do("set attributes", e.Path, func() error { return t.attrs.apply(int(f.Fd()), e) })
}

// Owners returns the owners and groups that files in the tree should have and have not, the most frequent first.
func (t *Target) Owners() []Owner { return t.attrs.misplaced() }

// Shut keeps all but root out of a tree of root's until the root gets its attributes: so nobody comes and plants links in
// directories that root has given away already.
func (t *Target) Shut() error {
	if !t.attrs.givesAway() {
		return nil
	}
	return pathError("chmod", ".", unix.Fchmod(t.root, 0o700))
}

// Refuses reports whether an error is a file system's word on one file: its name is too long or has a character that is
// none there, it is of a type that is not kept there, this process may not make it, or something is in its way. Others would
// be met by each file.
func Refuses(err error) bool {
	return slices.ContainsFunc([]error{unix.ENAMETOOLONG, unix.EPERM, unix.EACCES, unix.EINVAL, unix.EILSEQ, unix.EOPNOTSUPP, unix.EFBIG, unix.EOVERFLOW,
		unix.EMLINK, unix.EXDEV, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EEXIST, unix.ENOTEMPTY, unix.EBUSY, unix.ETXTBSY, unix.ENODEV, unix.ENXIO,
		os.ErrInvalid, hostfs.ErrNotRegular, errDirectory}, func(e error) bool { return errors.Is(err, e) })
}

func isPart(name string) bool {
	return strings.HasPrefix(name, ".permafrost-") && strings.HasSuffix(name, ".partial")
}
