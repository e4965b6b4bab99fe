package hostfs

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OpenFile opens the regular file of that name, with os.O_RDWR and such; a symbolic link is none. With os.O_CREATE a new file is
// made where the name is free: its owner's alone, open for reading and writing, and its name is durable.
func (d *Dir) OpenFile(name string, flag int) (f *os.File, err error) {
	const tries = 10
	for range tries {
		f, err = d.openFile(name, flag&^os.O_CREATE)
		if flag&os.O_CREATE == 0 || !errors.Is(err, unix.ENOENT) {
			break
		}
		if f, err = d.createNew(name); err == nil {
			err = d.Sync()
		}
		if err != unix.EEXIST {
			break
		}
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, pathError("open", name, err)
	}
	return f, nil
}

func (d *Dir) openFile(name string, flag int) (f *os.File, err error) {
	err = d.user.Do(func() error {
		const look = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
		at, err := Retry(func() (int, error) { return unix.Openat(d.Fd(), name, look, 0) })
		if err != nil {
			return err
		}
		defer unix.Close(at)
		f, err = reopen(at, name, flag)
		return err
	})
	return f, err
}

// ReadFile returns what the regular file of that name holds, of at most limit bytes.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	c, err := InTime(func() (content, error) {
		f, err := d.openFile(name, os.O_RDONLY)
		if err != nil {
			return content{}, err
		}
		return readAll(f, limit)
	})
	return c.data, pathError("read", name, err)
}

// Lstat says what has a name in the directory, without following a link.
func (d *Dir) Lstat(name string) (info fs.FileInfo, err error) {
	err = d.user.Do(func() error {
		at, err := Retry(func() (int, error) { return unix.Openat(d.Fd(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(at), name)
		defer f.Close()
		info, err = f.Stat()
		return err
	})
	return info, pathError("look", name, err)
}

// Own reports whether a file in the directory is as if it were made here: whoever works here owns it, and nobody else may write it.
func (d *Dir) Own(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	uid := uint32(os.Geteuid())
	if d.user != nil {
		uid = d.user.UID
	}
	return ok && st.Uid == uid && info.Mode().Perm()&0o022 == 0
}

// Temp makes a file of a new name, which is the prefix and random letters.
func (d *Dir) Temp(prefix string) (*os.File, error) {
	var random [8]byte
	rand.Read(random[:])
	name := prefix + hex.EncodeToString(random[:])
	f, err := d.createNew(name)
	return f, pathError("create", name, err)
}

// Rename gives a file another name of the directory, in place of what is there.
func (d *Dir) Rename(from, to string) error {
	err := d.user.Do(func() error { return unix.Renameat(d.Fd(), from, d.Fd(), to) })
	return pathError("rename", to, err)
}

// Remove removes a file, or a link.
func (d *Dir) Remove(name string) error {
	err := d.user.Do(func() error { return unix.Unlinkat(d.Fd(), name, 0) })
	return pathError("remove", name, err)
}

// Sync makes durable which names the directory holds.
func (d *Dir) Sync() error {
	return d.user.Do(func() error { return syncDir(d.f) })
}

// A Name is one that a directory holds.
type Name struct {
	Name  string
	MTime time.Time // of what has the name; zero where nothing has it by now
}

// Names returns the names that the directory holds, at most limit of them.
func (d *Dir) Names(limit int) (names []Name, err error) {
	err = d.user.Do(func() error {
		f, err := openAt(d.f, ".", d.f.Name())
		if err != nil {
			return err
		}
		defer f.Close()
		all, err := f.Readdirnames(limit)
		if err != nil && err != io.EOF {
			return err
		}
		for _, name := range all {
			n := Name{Name: name}
			var st unix.Stat_t
			if unix.Fstatat(d.Fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
				n.MTime = time.Unix(st.Mtim.Unix())
			}
			names = append(names, n)
		}
		return nil
	})
	return names, pathError("read", d.f.Name(), err)
}
