package sftpserver

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"permafrost/repo/store"
)

// lockName is a file of the root that is none of the repository's. Whoever holds its lock may change names below tmp/.
const lockName = ".permafrost-lock"

// A tree is the repository's directory, and what may be done to it.
type tree struct {
	dir        string // absolute and clean
	root       *os.Root
	lock       *os.File
	appendOnly bool
}

func openTree(c Config) (*tree, error) {
	dir, err := filepath.Abs(c.Root)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	lock, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		root.Close()
		return nil, err
	}
	return &tree{dir, root, lock, c.AppendOnly}, nil
}

func (t *tree) close() {
	t.lock.Close()
	t.root.Close()
}

// A refusal is fs.ErrPermission with a reason.
type refusal string

func (r refusal) Error() string   { return string(r) }
func (r refusal) Is(e error) bool { return e == fs.ErrPermission }

const (
	errNowhere   = refusal("permission denied: not a place of the repository's")
	errCommitted = refusal("permission denied: what is committed can't be changed")
	errLink      = refusal("permission denied: there is a symbolic link on the way")
	errShape     = refusal("permission denied: no object of a repository has such a name")
	errContent   = refusal("permission denied: the object's name is the hash of something else")
	errNever     = refusal("permission denied: this server never does that")
)

// look returns what a name stands for: a file or a directory. Clients can't make a symbolic link, so that one which is not
// there now is none a moment later either; should somebody else be at work, os.Root still keeps to the root.
func (t *tree) look(name string) (info fs.FileInfo, err error) {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		if info, err = t.root.Lstat(name[:i]); err != nil {
			return nil, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, errLink
		}
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, errNowhere
	}
	return info, nil
}

// read opens a file or directory for reading.
func (t *tree) read(name string, at place) (*os.File, error) {
	if at == nowhere {
		return nil, fs.ErrNotExist
	}
	if _, err := t.look(name); err != nil {
		return nil, err
	}
	return t.root.Open(name)
}

// write opens a file below tmp/ for reading and writing. Several may write to one side by side, in several processes.
func (t *tree) write(name string, at place, flags uint32) (*os.File, error) {
	switch {
	case at == nowhere:
		return nil, errNowhere
	case at != temp:
		return nil, errCommitted
	case flags&flagAppend != 0:
		return nil, errUnsupported
	}
	f, err := t.openUpload(name, flags)
	if err != nil {
		return nil, err
	}
	// Without the lock on names: commit holds a file's lock when it waits for that one.
	err = change(f, func() error {
		if flags&flagTrunc == 0 {
			return nil
		}
		return f.Truncate(0) // and not by O_TRUNC: the file may be committed
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openUpload opens a file below tmp/, or makes it.
func (t *tree) openUpload(name string, flags uint32) (*os.File, error) {
	unlock, err := t.lockNames()
	if err != nil {
		return nil, err
	}
	defer unlock()
	how := os.O_RDWR
	if flags&flagCreate != 0 {
		how |= os.O_CREATE
	}
	switch info, err := t.look(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errNowhere
	case flags&flagExcl != 0:
		return nil, fs.ErrExist
	}
	return t.root.OpenFile(name, how, 0o600)
}

// change does something to a file's content unless it is committed. The lock, which others who write share, keeps commit
// waiting until it is done.
func change(f *os.File, do func() error) error {
	if err := flock(f, unix.LOCK_SH); err != nil {
		return err
	}
	defer flock(f, unix.LOCK_UN)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if sealed(info) {
		return errCommitted
	}
	return do()
}

// sealed tells whether a file has, or ever had, a committed name. The mode tells, for good, since no client sets it; the names
// tell too, lest a power cut bring the old mode back.
func sealed(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink > 1 || info.Mode()&0o200 == 0
}

// commit gives a file below tmp/ an object's name, where that is not taken and is that of the file's content.
//
// The file is sealed first: no write begins from then on, and those under way are waited for. If we die here a sealed file
// is left below tmp/, which can be removed and nothing else. What was sealed and looked at is what gets the name: no name can
// be given to another file meanwhile.
func (t *tree) commit(from string, fromAt place, to string, toAt place) error {
	if fromAt != temp || toAt != object && toAt != lease {
		return errNowhere
	}
	kind, hash := store.Parse(to)
	if kind == store.None {
		return errShape
	}
	if _, err := t.look(path.Dir(to)); err != nil {
		return err
	}
	sealed, err := t.seal(from)
	if err != nil {
		return fmt.Errorf("sealing %s: %w", from, err)
	}
	defer sealed.Close()
	if err := hashes(sealed, hash); err != nil {
		return err
	}
	unlock, err := t.lockNames()
	if err != nil {
		return err
	}
	defer unlock()
	was, err := sealed.Stat()
	if err != nil {
		return err
	}
	if is, err := t.root.Lstat(from); err != nil || !os.SameFile(was, is) {
		return fs.ErrNotExist
	}
	return t.root.Link(from, to)
}

// seal keeps everybody from writing to a file below tmp/, and returns it.
func (t *tree) seal(name string) (*os.File, error) {
	if info, err := t.look(name); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, errNowhere
	}
	f, err := t.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNowhere
	}
	if err == nil {
		err = f.Chmod(0o400)
	}
	if err == nil {
		err = flock(f, unix.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// hashes returns an error unless a file has the SHA-256 want, or want is zero.
func hashes(f *os.File, want store.Name) error {
	if want.IsZero() {
		return nil
	}
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(f, 0, store.MaxObject+1)); err != nil {
		return err
	} else if n > store.MaxObject || store.Name(h.Sum(nil)) != want {
		return errContent
	}
	return nil
}

// remove deletes a file.
func (t *tree) remove(name string, at place) error {
	switch {
	case at == object && t.appendOnly:
		return errCommitted
	case at == nowhere, at == directory:
		return errNowhere
	}
	unlock, err := t.lockNames()
	if err != nil {
		return err
	}
	defer unlock()
	if info, err := t.look(name); err != nil {
		return err
	} else if info.IsDir() {
		return errNowhere
	}
	return t.root.Remove(name)
}

// mkdir makes one of the repository's directories.
func (t *tree) mkdir(name string, at place) error {
	if at != directory {
		return errNowhere
	}
	if _, err := t.look(path.Dir(name)); err != nil {
		return err
	}
	return t.root.Mkdir(name, 0o700)
}

// lockNames keeps others from changing names below tmp/ until unlock is called.
func (t *tree) lockNames() (unlock func(), err error) {
	if err := flock(t.lock, unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("locking %s: %w", lockName, err)
	}
	return func() { flock(t.lock, unix.LOCK_UN) }, nil
}

// flock locks a file among all who have opened it, or unlocks it.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
