package media

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// TargetOptions say how a Target treats what a file system keeps beside the content.
type TargetOptions struct {
	// NumericIDs gives files the numbers of their owners as they were, even where the names have others here.
	NumericIDs bool
	// Users and Groups are the names that the numbers had when the tree was walked.
	Users, Groups map[uint32]string
	// Owner is the name of Mastodon's user. To him belongs what would be root's, where the tree's root is root's too.
	Owner string
	// Trusted also restores what lends somebody's rights or leads out of the tree. Else that is left out, and told.
	Trusted bool
	// Existing takes directories that are there for those of the tree. Replace puts what is restored in the place of what has its
	// name; else that is an error. Where there is a directory with something in it and the tree has none, or the other way
	// round, Clear does so too.
	Existing, Replace, Clear bool
	// Warn, if not nil, is told by Sync and Close what could not be restored though the content was: one call for
	// each kind of attribute, with the path of the first file and an error that says how many.
	Warn func(path string, err error)
}

// A Target is a directory that a tree is restored into. Its methods may be called from several goroutines.
//
// Nothing ever lands outside of the directory: paths that are not below it are refused, and no symbolic link is followed.
// Directories have mode 0700 until they are finished. What is no directory gets its name in one step, once it is whole
// and has its attributes: until then it is called as partName says, and a file has mode 0600. So what has a name, a size and
// a time of a snapshot's file is that file, unless the machine crashed before Sync. What was there already may be replaced,
// and a file that is there is never written to. Where the directory is another user's than root's, root makes all of it with
// that user's rights.
//
// What is made may come in any order: directories that it needs and that are missing are made with it, so that Dir is
// for those alone that nothing is in. SetDir is for each directory when nothing is added to it any more, the root's the last,
// then Sync for all.
type Target struct {
	dir      *hostfs.Dir
	root     int // its descriptor
	user     *hostfs.User
	existing bool
	replace  bool
	clear    bool
	attrs    attributes

	mu     sync.Mutex
	closed []source.Entry // directories that their owner may not search, to be given their modes last
}

// NewTarget restores into a directory, which it closes in the end.
func NewTarget(dir *hostfs.Dir, o TargetOptions) *Target {
	_, err := unix.Fgetxattr(dir.Fd(), aclDefault, nil)
	return &Target{dir: dir, root: dir.Fd(), user: dir.User(), existing: o.Existing, replace: o.Replace, clear: o.Clear,
		attrs: attributes{user: dir.User(), inherits: err == nil, trusted: o.Trusted, owners: newOwners(o), lost: losses{warn: o.Warn},
			others: make(map[[2]int]int64)}}
}

// do does something with the rights that the directory is worked in with.
func (t *Target) do(op, path string, f func() error) error { return pathError(op, path, t.user.Do(f)) }

// within calls f with the directory that path is in, which it makes where it is missing, and the name there.
func (t *Target) within(op string, path string, f func(dir int, name string) error) error {
	return t.do(op, path, func() error { return t.in(path, t.makeDirs, f) })
}

// in calls f with the directory that path is in, as open opens it, and the name there.
func (t *Target) in(path string, open func(dir string) (int, error), f func(dir int, name string) error) error {
	if !hostfs.ValidPath(path) {
		return fs.ErrInvalid
	}
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return f(t.root, path)
	}
	dir, err := open(path[:i])
	if err != nil {
		return err
	}
	defer closeUnless(dir, t.root)
	return f(dir, path[i+1:])
}

// openDir opens a directory that is there.
func (t *Target) openDir(path string) (int, error) {
	return hostfs.OpenBeneath(t.root, path, dirFlags, 0)
}

const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// makeDirs opens a directory, and makes it and those above it where they are missing. Others may do so at once.
func (t *Target) makeDirs(path string) (int, error) {
	dir, err := t.openDir(path)
	there := len(path)
	for err == unix.ENOENT || t.clear && noDirectory(err) {
		if there = strings.LastIndexByte(path[:there], '/'); there < 0 {
			dir, err = t.root, nil
			break
		}
		dir, err = t.openDir(path[:there])
	}
	if err != nil || there == len(path) {
		return dir, err
	}
	for name := range strings.SplitSeq(path[there+1:], "/") {
		below := -1
		err := t.mkdir(dir, name)
		if err == nil || err == unix.EEXIST {
			below, err = hostfs.Retry(func() (int, error) { return unix.Openat(dir, name, dirFlags, 0) })
		}
		closeUnless(dir, t.root)
		if err != nil {
			return -1, err
		}
		dir = below
	}
	return dir, nil
}

func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// Own says what the root of the tree is like, before anything is made: to its owner belongs what would be root's.
func (t *Target) Own(root *source.Entry) { t.attrs.owners.own(root) }

// Dir makes a directory. The root is there already.
func (t *Target) Dir(e *source.Entry) error {
	if e.Path == "." {
		return nil
	}
	return t.within("mkdir", e.Path, func(dir int, name string) error {
		err := t.mkdir(dir, name)
		if err == unix.EEXIST && t.existing && isDir(dir, name) {
			return nil
		}
		return err
	})
}

// mkdir makes a directory, in place of what is none if that may be cleared away.
func (t *Target) mkdir(dir int, name string) error {
	make := func() (int, error) { return 0, unix.Mkdirat(dir, name, 0o700) }
	_, err := hostfs.Retry(make)
	if err == unix.EEXIST && t.clear && !isDir(dir, name) {
		if err = unix.Unlinkat(dir, name, 0); err == nil {
			_, err = hostfs.Retry(make)
		}
	}
	return err
}

func isDir(dir int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// noDirectory reports whether an error says that a path leads through what is no directory.
func noDirectory(err error) bool { return err == unix.ENOTDIR || err == unix.ELOOP }

// SetDir gives a directory, "." for the root, its attributes.
func (t *Target) SetDir(e *source.Entry) error {
	return t.do("set attributes", e.Path, func() error {
		return t.inDir(e.Path, func(fd int) error { return t.attrs.apply(fd, t.searchable(e)) })
	})
}

// inDir calls f with a directory, "." for the root, open for reading.
func (t *Target) inDir(path string, f func(fd int) error) error {
	if path == "." {
		return f(t.root)
	}
	if !hostfs.ValidPath(path) {
		return fs.ErrInvalid
	}
	fd, err := hostfs.OpenBeneath(t.root, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}

// searchable returns e, or, where its mode would keep the user at work from the directories below, a copy that does not;
// then Sync gives it its mode.
func (t *Target) searchable(e *source.Entry) *source.Entry {
	if e.Mode&0o100 != 0 || t.attrs.givesAway() {
		return e
	}
	open := *e
	open.Mode |= 0o700
	t.mu.Lock()
	t.closed = append(t.closed, *e)
	t.mu.Unlock()
	return &open
}

// Sync waits until everything restored is on disk. It is called when all is done, and tells the warnings.
func (t *Target) Sync() error {
	err := t.closeDirs()
	if err == nil {
		// One call for the file system, rather than one a file: a million files would take an hour.
		err = unix.Syncfs(t.root)
	}
	t.attrs.lost.tell()
	if err != nil {
		return fmt.Errorf("writing restored files to disk: %w", err)
	}
	return nil
}

// closeDirs gives the directories that searchable held back their modes, the deepest first.
func (t *Target) closeDirs() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.closed, func(a, b source.Entry) int { return source.ComparePaths(a.Path, b.Path) })
	for len(t.closed) > 0 {
		e := &t.closed[len(t.closed)-1]
		err := t.do("chmod", e.Path, func() error {
			return t.inDir(e.Path, func(fd int) error { return setPermissions(fd, e.Mode) })
		})
		if err != nil {
			return err
		}
		t.closed = t.closed[:len(t.closed)-1]
	}
	return nil
}

// setPermissions changes what a mode permits, and no other bit.
func setPermissions(fd int, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	return unix.Fchmod(fd, st.Mode&07000|mode&0o777)
}

// Close releases the directory. Without Sync before it, what was restored may not survive a power failure.
func (t *Target) Close() error {
	if t.root < 0 {
		return fs.ErrClosed
	}
	err := t.closeDirs()
	t.attrs.lost.tell()
	if err2 := t.dir.Close(); err == nil {
		err = err2
	}
	t.root = -1
	return err
}

func closeUnless(fd, kept int) {
	if fd != kept {
		unix.Close(fd)
	}
}
