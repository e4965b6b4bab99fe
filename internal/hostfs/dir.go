package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Dir is a directory to make files in, with the rights of one user. It is worked in by its descriptor: no symbolic link
// below it is followed, nothing that is there is opened for writing or changed, and a name is taken by a new file in one step.
//
// A process of root works as root where root alone decided which directory it is, and else as the one user who could decide.
type Dir struct {
	f     *os.File
	user  *User
	trust Trust // of the way to it
}

// A SharedError says that several users could decide where a path leads, so that root does not write there.
type SharedError struct {
	Path  string
	Trust Trust
}

func (e *SharedError) Error() string {
	return fmt.Sprintf("root does not write into %s: %s", e.Path, e.Trust.Reason())
}

// errAgain says that somebody was faster: the path is to be walked again.
var errAgain = errors.New("another process keeps making and removing it")

// MakeDir opens the directory at path, which is absolute. It makes it and those above it where they are missing, for their
// owner alone and durably. Symbolic links on the way are followed, and who owns them is one of those who decide.
func MakeDir(path string) (*Dir, error) { return openDir(path, "", true) }

// OpenDir opens the directory at path as MakeDir does, and makes nothing.
func OpenDir(path string) (*Dir, error) { return openDir(path, "", false) }

// MakeDirBelow opens the directory at a path below another one as MakeDir does. A symbolic link on the way to base is followed,
// and none below it.
func MakeDirBelow(base, below string) (*Dir, error) { return openDir(base, below, true) }

// OpenDirBelow opens a directory as MakeDirBelow does, and makes nothing.
func OpenDirBelow(base, below string) (*Dir, error) { return openDir(base, below, false) }

func openDir(base, below string, missing bool) (*Dir, error) {
	const tries = 10
	for i := 0; ; i++ {
		d, err := tryDir(base, below, missing)
		if err != errAgain || i == tries {
			return d, openError(filepath.Join(base, below), err)
		}
	}
}

func tryDir(base, below string, missing bool) (*Dir, error) {
	path := filepath.Join(base, below)
	at, trust, rest, absent := walkBelow(base, below)
	if at == nil {
		return nil, absent
	}
	defer func() { at.Close() }()
	d := &Dir{trust: trust}
	if os.Geteuid() == 0 {
		u, err := trust.user(path)
		if err != nil {
			return nil, err
		}
		d.user = u
	}
	err := d.user.Do(func() (err error) {
		if d.user != nil && trust.Led {
			// Root came through directories that may be closed to the user who decides.
			at.Close()
			at, _, rest, absent = walkBelow(base, below)
		}
		if at == nil || rest != "" && !(missing && ValidPath(rest)) {
			return absent
		}
		d.f, err = openAt(at, ".", strings.TrimSuffix(filepath.Clean(path), "/"+rest))
		for rest != "" && err == nil {
			var name string
			name, rest, _ = strings.Cut(rest, "/")
			err = d.down(name, true)
			if err == unix.EEXIST {
				err = errAgain
			}
		}
		return err
	})
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openError is an error with the path in it, once.
func openError(path string, err error) error {
	if shared := (*SharedError)(nil); errors.As(err, &shared) {
		return err
	}
	return pathError("open", path, err)
}

// user is whom a process of root works as in the directory that path leads to.
func (t Trust) user(path string) (*User, error) {
	switch {
	case t.Root():
		return nil, nil
	case len(t.Users) == 1 && t.Only(t.Users[0]):
		return LookupUID(t.Users[0], t.Users[0])
	}
	return nil, &SharedError{path, t}
}

func openAt(dir *os.File, name, path string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := Retry(func() (int, error) { return unix.Openat(int(dir.Fd()), name, flags, 0) })
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// down goes into a directory, which it makes first where it is missing.
func (d *Dir) down(name string, missing bool) error {
	if missing {
		if err := unix.Mkdirat(int(d.f.Fd()), name, 0o700); err != nil {
			return err
		}
		if err := syncDir(d.f); err != nil {
			return err
		}
	}
	below, err := openAt(d.f, name, d.f.Name()+"/"+name)
	if err != nil {
		return err
	}
	d.f.Close()
	d.f = below
	return nil
}

// syncDir makes durable which names a directory holds, where the file system has such a notion.
func syncDir(f *os.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// Open opens a directory below this one, at a valid path. Root takes none there whose content another user decides.
func (d *Dir) Open(path string) (*Dir, error) { return d.below(path, false) }

// Make opens a directory as Open does, and makes it and those above it where they are missing, for their owner alone.
func (d *Dir) Make(path string) (*Dir, error) { return d.below(path, true) }

// Enter opens the directory of that name in this one. Where one other user alone decides what is in it, root works in it with
// that user's rights.
func (d *Dir) Enter(name string) (*Dir, error) {
	if !ValidPath(name) || strings.Contains(name, "/") {
		return nil, pathError("open", name, fs.ErrInvalid)
	}
	at, err := d.below(name, false)
	shared := (*SharedError)(nil)
	if !errors.As(err, &shared) {
		return at, err
	}
	// The name is in a directory of root's, so that nobody else puts another in its place.
	f, err := openAt(d.f, name, d.f.Name()+"/"+name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	at = &Dir{f: f}
	if at.trust, err = deciders(at.f); err == nil {
		at.user, err = at.trust.user(f.Name())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return at, nil
}

func (d *Dir) below(path string, missing bool) (*Dir, error) {
	at := &Dir{user: d.user}
	err := error(fs.ErrInvalid)
	if ValidPath(path) {
		err = d.user.Do(func() (err error) {
			at.f, err = openAt(d.f, ".", d.f.Name())
			for name := range strings.SplitSeq(path, "/") {
				if err == nil {
					err = at.into(name, missing)
				}
			}
			return err
		})
	}
	if err != nil {
		at.Close()
		return nil, openError(path, err)
	}
	return at, nil
}

// into goes down into a directory that is there or, if it may, is made.
func (d *Dir) into(name string, missing bool) error {
	if missing {
		if err := d.down(name, true); err != unix.EEXIST {
			return err
		}
	}
	if err := d.down(name, false); err != nil {
		return err
	}
	if d.user != nil || os.Geteuid() != 0 {
		return nil
	}
	t, err := deciders(d.f)
	if err == nil && !t.Root() {
		err = &SharedError{d.f.Name(), t}
	}
	return err
}

// deciders says who decides what is in a directory, wherever that is.
func deciders(dir *os.File) (t Trust, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return t, err
	}
	t.add(dir.Name(), &st, true, true)
	return t, nil
}

// Name is the directory's path, to tell people.
func (d *Dir) Name() string { return d.f.Name() }

// User is whom a process of root works as in the directory; nil for the process itself.
func (d *Dir) User() *User { return d.user }

// RootsOwn returns a SharedError for a process of root unless root alone decides which directory it is.
func (d *Dir) RootsOwn() error {
	if d.user == nil {
		return nil
	}
	return &SharedError{d.f.Name(), d.trust}
}

// Fd is the directory's descriptor. It stays the Dir's.
func (d *Dir) Fd() int { return int(d.f.Fd()) }

// Writable returns an error where files can't be made in the directory.
func (d *Dir) Writable() error {
	err := d.user.Do(func() error {
		return unix.Faccessat(d.Fd(), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	})
	return pathError("write into", d.f.Name(), err)
}

// Close releases the directory.
func (d *Dir) Close() error {
	if d.f == nil {
		return fs.ErrClosed
	}
	return d.f.Close()
}

// Empty reports whether the directory holds nothing.
func (d *Dir) Empty() (bool, error) {
	var names []string
	err := d.user.Do(func() error {
		f, err := openAt(d.f, ".", d.f.Name())
		if err != nil {
			return err
		}
		defer f.Close()
		names, err = f.Readdirnames(1)
		return err
	})
	if err != nil && err != io.EOF {
		return false, pathError("read", d.f.Name(), err)
	}
	return len(names) == 0, nil
}

// Create makes a new file durably, which is its owner's alone, or leaves nothing. Where the name is taken its error wraps
// fs.ErrExist.
func (d *Dir) Create(name string, data []byte) error {
	if !ValidPath(name) || strings.Contains(name, "/") {
		return pathError("create", name, fs.ErrInvalid)
	}
	f, err := d.createNew(name)
	if err != nil {
		return pathError("create", name, err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return d.user.Do(func() error {
		if err == nil {
			err = syncDir(d.f)
		}
		if err != nil {
			unix.Unlinkat(d.Fd(), name, 0)
		}
		return err
	})
}

// createNew makes a file where nothing has its name.
func (d *Dir) createNew(name string) (*os.File, error) {
	fd := -1
	err := d.user.Do(func() (err error) {
		const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err = Retry(func() (int, error) { return unix.Openat(d.Fd(), name, flags, 0o600) })
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// SetMTime sets the time of a file's last modification, in nanoseconds since 1970.
func SetMTime(f *os.File, mtime int64) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(mtime)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, ProcPath(int(f.Fd())), ts, 0)
}
