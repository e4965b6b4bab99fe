package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
	"permafrost/source/media/pattern"
)

// Options say what a Tree leaves out.
type Options struct {
	Excludes []string // patterns, see package pattern
	NoCache  bool     // leave out what is below cache/
	Follow   []string // directories, absolute, that links out of the tree are followed into

	// User is whose rights the tree is opened and read with. Where it is nil they are those of the process; a process of root's
	// takes those of the root's owner, and opens nothing where several users may decide what the root is.
	User *hostfs.User

	// Open, if it is not nil, opens the root and says whose rights the tree is read with. The root's path and User are not used for
	// that then.
	Open func() (fd int, as *hostfs.User, err error)
}

// A Tree is a directory of media files, for reading. Its methods may be called from any goroutine.
type Tree struct {
	name     string // of the root, absolute
	root     int    // descriptor
	user     *hostfs.User
	excludes pattern.Set
	empty    bool
	follow   following

	vanished vanishing

	mu     sync.Mutex
	users  map[uint32]string // ids that were seen, and their names; "" is not looked up yet
	groups map[uint32]string
}

// Cached reports whether a path in the tree is one of a copy of another server's file, which Mastodon can fetch again.
func Cached(path string) bool { return strings.HasPrefix(path, "cache/") }

// Idle returns the excludes that have matched nothing, once the tree was walked.
func (t *Tree) Idle() []string {
	idle := t.excludes.Idle()
	return slices.DeleteFunc(idle, func(text string) bool { return text == cachePattern })
}

// cachePattern is what NoCache leaves out.
const cachePattern = "/cache/**"

// Open opens the tree below the directory root, which itself may be a symbolic link to one.
func Open(root string, o Options) (*Tree, error) {
	patterns := o.Excludes
	if o.NoCache {
		patterns = append([]string{cachePattern}, patterns...)
	}
	excludes, err := pattern.ParseSet(patterns)
	if err != nil {
		return nil, fmt.Errorf("exclude %w", err)
	}
	name, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("opening the media directory: %w", err)
	}
	open := o.Open
	if open == nil {
		open = func() (int, *hostfs.User, error) { return hostfs.OpenTree(name, o.User) }
	}
	fd, as, err := open()
	if err != nil {
		return nil, rootError(name, as, err)
	}
	t := &Tree{
		name: name, root: fd, user: as, excludes: excludes,
		users: make(map[uint32]string), groups: make(map[uint32]string),
	}
	err = t.inspect()
	if err == nil {
		err = t.openBases(o.Follow)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// inspect looks at the root, and at what a walk needs.
func (t *Tree) inspect() error {
	var err error
	if t.empty, err = emptyDir(t.root); err != nil {
		return rootError(t.name, t.user, err)
	}
	if _, err := unix.Llistxattr(hostfs.ProcPath(t.root)+"/.", nil); errors.Is(err, fs.ErrNotExist) {
		return source.Because(CauseNoProc, errors.New("extended attributes can't be read: /proc is not mounted"))
	}
	return nil
}

// rootError says why the root can't be opened, and what to do.
func rootError(name string, as *hostfs.User, err error) error {
	if as != nil {
		err = fmt.Errorf("as %v: %w", as, err)
	}
	if pe := new(fs.PathError); !errors.As(err, &pe) {
		err = &fs.PathError{Op: "open", Path: name, Err: err}
	}
	err = fmt.Errorf("opening the media directory: %w", err)
	switch {
	case (as != nil || os.Geteuid() == 0) && errors.Is(err, fs.ErrPermission):
		return source.Because(CauseOfUser, err)
	case errors.Is(err, fs.ErrNotExist):
		return source.Because(CauseNoMedia, err)
	case errors.Is(err, unix.ENOTDIR):
		return source.Because(CauseNotDirectory, err)
	case errors.Is(err, fs.ErrPermission):
		return source.Because(CauseDenied, err)
	}
	return err
}

// emptyDir reports whether a directory holds nothing but dot files and lost+found.
func emptyDir(fd int) (bool, error) {
	l := newLister()
	if err := l.list(fd); err != nil {
		return false, err
	}
	for _, d := range l.dirents {
		if name := l.name(d); name[0] != '.' && string(name) != "lost+found" {
			return false, nil
		}
	}
	return true, nil
}

// Empty reports whether the root held nothing when it was opened, but for dot files and lost+found. That is how a
// new instance looks, and a file system that is not mounted: the caller decides which it can be.
func (t *Tree) Empty() bool { return t.empty }

// Root returns the root's absolute path.
func (t *Tree) Root() string { return t.name }

// User returns whose rights the tree is read with, nil where they are those of the process.
func (t *Tree) User() *hostfs.User { return t.user }

// Close releases the root, when nothing else is called any more.
func (t *Tree) Close() error {
	if t.root < 0 {
		return fs.ErrClosed
	}
	t.follow.close()
	err := unix.Close(t.root)
	t.root = -1
	return err
}

// Vanished tells what had vanished, of all walks so far, between the reading of a directory and that of its entries: Mastodon
// goes on deleting files. Files that Open does not find are not counted.
func (t *Tree) Vanished() Vanished { return t.vanished.tell() }

// Walk returns the tree's entries in the order of source.ComparePaths, the root first. It reads directories ahead, by
// several goroutines, which have ended when the loop has; it holds a few megabytes, and the names of directories that
// are larger than that.
//
// An entry with an error could not be read, and the walk goes on: a directory whose entries could not be read, or not
// all of them; a file whose extended attributes could not. If its Type is 0 then only its Path is known. A nil entry
// comes last, with the error of ctx.
//
// A symbolic link that leads into one of Options.Follow is an entry of what it leads to. One that leads out of the tree otherwise
// comes with a LeadsOutError.
//
// File systems mounted below the root are walked too.
func (t *Tree) Walk(ctx context.Context) iter.Seq2[*source.Entry, error] {
	return func(yield func(*source.Entry, error) bool) {
		w := newWalker(ctx, t, yield)
		w.start()
		defer w.stop()
		if !w.visit(w.first) {
			return
		}
	}
}

// quietly opens something, and leaves its access time alone where it may: O_NOATIME is for owners and root.
func quietly(flags int, open func(flags int) (int, error)) (int, error) {
	fd, err := hostfs.Retry(func() (int, error) { return open(flags | unix.O_NOATIME) })
	if err == unix.EPERM {
		fd, err = hostfs.Retry(func() (int, error) { return open(flags) })
	}
	return fd, err
}

func fstat(fd int, st *unix.Stat_t) error {
	_, err := hostfs.Retry(func() (int, error) { return 0, unix.Fstat(fd, st) })
	return err
}

// errTime is what is wrong with a time of change that an entry has no room for.
var errTime = errors.New("the time of its last change is not between the years 1678 and 2261, and the nearest one is kept")

// fill takes the attributes of an entry from st. The zero Type is one that Linux does not have. Its error is errTime.
func fill(e *source.Entry, st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type = source.File
		e.Size, e.Alloc = st.Size, st.Blocks*512
	case unix.S_IFDIR:
		e.Type = source.Dir
	case unix.S_IFLNK:
		e.Type = source.Symlink
	case unix.S_IFIFO:
		e.Type = source.FIFO
	case unix.S_IFSOCK:
		e.Type = source.Socket
	case unix.S_IFBLK:
		e.Type, e.Rdev = source.Block, st.Rdev
	case unix.S_IFCHR:
		e.Type, e.Rdev = source.Char, st.Rdev
	}
	e.Mode, e.UID, e.GID = st.Mode&07777, st.Uid, st.Gid
	e.MTime, e.CTime = nanoseconds(st.Mtim), nanoseconds(st.Ctim)
	e.Dev, e.Inode, e.Nlink = st.Dev, st.Ino, uint64(st.Nlink)
	if e.MTime == math.MaxInt64 || e.MTime == math.MinInt64 {
		return errTime
	}
	return nil
}

// nanoseconds since 1970, or the nearest that 64 bits hold: those of 1677 to 2262.
func nanoseconds(t unix.Timespec) int64 {
	const last = math.MaxInt64/1_000_000_000 - 1
	switch {
	case t.Sec > last:
		return math.MaxInt64
	case t.Sec < -last:
		return math.MinInt64
	}
	return t.Sec*1e9 + t.Nsec
}

// saw notes the owner of an entry.
func (t *Tree) saw(uid, gid uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.users[uid]; !ok {
		t.users[uid] = ""
	}
	if _, ok := t.groups[gid]; !ok {
		t.groups[gid] = ""
	}
}

// Owners returns the names of the users and groups that own what Walk has yielded, by their numbers. A number that
// has no name on this machine is not among them.
func (t *Tree) Owners() (users, groups map[uint32]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	users = names(t.users, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
	groups = names(t.groups, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
	return users, groups
}

func names(seen map[uint32]string, lookup func(string) (string, error)) map[uint32]string {
	found := make(map[uint32]string)
	for id, name := range seen {
		if name == "" {
			// A failed look-up is tried again at the next call: networks fail now and then.
			name, _ = lookup(strconv.FormatUint(uint64(id), 10))
			seen[id] = name
		}
		if name != "" {
			found[id] = strings.Clone(name)
		}
	}
	return found
}
