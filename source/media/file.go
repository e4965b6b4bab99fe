package media

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// ErrChanged says that a file is being written to. It may well be whole a moment later.
var ErrChanged = errors.New("the file is being written to")

// tick is longer than a file system takes to give a second change of a file another time than the first: the kernel's clock
// for that advances 100 to 1000 times a second.
const tick = 20 * time.Millisecond

// A File is a regular file of a Tree, open for reading.
type File struct {
	*os.File
	fd   int
	path string
	st   unix.Stat_t // when Open returned it
}

// Open opens the regular file that stands at a path by now: Walk may have found another. Its errors wrap fs.ErrNotExist where
// the file has vanished, ErrChanged where it is being written to, and hostfs.ErrNotRegular where something else has taken its
// place, which is not opened: that alone may wait, or make a device do something.
//
// The file is one version of its content, with its attributes: Entry tells these, Unchanged whether it is that version still.
func (t *Tree) Open(path string) (*File, error) {
	f, err := t.open(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

func (t *Tree) open(path string) (*File, error) {
	if !hostfs.ValidPath(path) {
		return nil, fs.ErrInvalid
	}
	fd, err := -1, error(nil)
	err = t.user.Do(func() (err error) {
		fd, err = t.openRegular(path)
		return err
	})
	switch err {
	case nil:
	case unix.ENOTDIR, unix.ELOOP, unix.ESTALE: // a directory above it has made way for something else
		return nil, fs.ErrNotExist
	case unix.EAGAIN: // somebody holds a lease of it, and is told now
		return nil, ErrChanged
	default:
		return nil, err
	}
	f := &File{File: os.NewFile(uintptr(fd), filepath.Join(t.name, path)), fd: fd, path: path}
	if err := f.settle(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openRegular looks at what is there before it opens that for reading.
func (t *Tree) openRegular(path string) (int, error) {
	at, err := t.openBeneath(path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := fstat(at, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, hostfs.ErrNotRegular
	}
	return quietly(unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, func(flags int) (int, error) {
		return unix.Open(hostfs.ProcPath(at), flags, 0)
	})
}

// settle notes what the file is like, once its last change is so long ago that the next one will show by its time.
func (f *File) settle() error {
	if err := fstat(f.fd, &f.st); err != nil {
		return err
	}
	if age := time.Since(time.Unix(f.st.Ctim.Unix())); age.Abs() >= tick {
		return nil
	}
	time.Sleep(tick)
	return f.unchanged()
}

// Unchanged returns ErrChanged where the file's content or attributes have changed since it was opened.
//
// A name that was removed meanwhile, or given to another file, changes the time of the last change too, and nothing else. The
// file that was opened is then whole as it was.
func (f *File) Unchanged() error {
	if err := f.unchanged(); err != nil {
		return &fs.PathError{Op: "read", Path: f.path, Err: err}
	}
	return nil
}

func (f *File) unchanged() error {
	now, err := look(f.fd)
	if err != nil {
		return err
	}
	was := versionOf(&f.st)
	if now.nlink < was.nlink {
		now.nlink, now.ctime = was.nlink, was.ctime
	}
	if now != was {
		return ErrChanged
	}
	return nil
}

// Is reports whether the file is the one that an entry of Walk tells of, unchanged since.
func (f *File) Is(e *source.Entry) bool {
	var now source.Entry
	fill(&now, &f.st)
	return now.Dev == e.Dev && now.Inode == e.Inode && now.Size == e.Size && now.MTime == e.MTime && now.CTime == e.CTime
}

// Entry returns what Walk would tell of the file.
func (f *File) Entry() (source.Entry, error) {
	e := source.Entry{Path: f.path}
	err := fill(&e, &f.st)
	if err == nil {
		e.Xattrs, err = new(xattrReader).open(f.fd, f.st.Dev)
	}
	return e, err
}

// A version is what tells a file's content and attributes from those that it had, or will have.
type version struct {
	size         int64
	nlink        uint64
	mtime, ctime unix.Timespec
}

func versionOf(st *unix.Stat_t) version {
	return version{size: st.Size, nlink: uint64(st.Nlink), mtime: st.Mtim, ctime: st.Ctim}
}

// look returns the version of an open file, by its server's word: an NFS client remembers attributes for a while.
func look(fd int) (version, error) {
	var x unix.Statx_t
	_, err := hostfs.Retry(func() (int, error) {
		return 0, unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &x)
	})
	if err == unix.ENOSYS || err == unix.EPERM { // a kernel before 4.11, or a sandbox
		var st unix.Stat_t
		err = fstat(fd, &st)
		return versionOf(&st), err
	}
	when := func(t unix.StatxTimestamp) unix.Timespec { return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)} }
	return version{size: int64(x.Size), nlink: uint64(x.Nlink), mtime: when(x.Mtime), ctime: when(x.Ctime)}, err
}
