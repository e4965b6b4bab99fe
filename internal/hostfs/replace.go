package hostfs

import (
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Replace puts a new file at a name, in place of the file or link that is there, once write has written it. After a crash
// the name is of the old file or of the whole new one. Until write changes that, the file is its owner's alone.
func (d *Dir) Replace(name string, write func(f *os.File) error) error {
	return d.replace(name, fresh, write, func(error) bool { return false })
}

// Continue is Replace for a file that takes long to write. Where the process dies, or write fails with an error that keep is true
// for, what was written stays beside the name, and the next Continue gives write that file, at its beginning. Nothing says
// how much of it is right: a crash of the machine may have left anything.
func (d *Dir) Continue(name string, write func(f *os.File) error, keep func(error) bool) error {
	return d.replace(name, begun, write, keep)
}

// partName is what a file is called until it is whole.
func partName(name string) string {
	part := name + ".partial"
	if len(part) > unix.NAME_MAX {
		part = ".partial"
	}
	return part
}

func (d *Dir) replace(name string, open func(d *Dir, part string) (*os.File, error), write func(f *os.File) error, keep func(error) bool) error {
	if !ValidPath(name) || strings.Contains(name, "/") {
		return pathError("create", name, fs.ErrInvalid)
	}
	part := partName(name)
	f, err := open(d, part)
	if err != nil {
		return pathError("create", part, err)
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil && keep(err) {
		return err
	}
	at := int(d.f.Fd())
	return d.user.Do(func() error {
		if err == nil {
			err = pathError("rename", name, unix.Renameat(at, part, at, name))
		}
		if err != nil {
			unix.Unlinkat(at, part, 0)
			return err
		}
		return syncDir(d.f)
	})
}

// fresh makes a file, and removes what has its name.
func fresh(d *Dir, name string) (*os.File, error) {
	err := d.user.Do(func() error { return unix.Unlinkat(d.Fd(), name, 0) })
	if err != nil && err != unix.ENOENT {
		return nil, err
	}
	return d.createNew(name)
}

// begun opens the regular file of that name for reading and writing, if it is one that was made here and has no other name, and
// else makes one.
func begun(d *Dir, name string) (*os.File, error) {
	f, err := d.openFile(name, unix.O_RDWR)
	if err != nil {
		return fresh(d, name)
	}
	info, err := f.Stat()
	if err == nil && d.Own(info) && info.Sys().(*syscall.Stat_t).Nlink == 1 {
		return f, nil
	}
	f.Close()
	return fresh(d, name)
}

// Used returns the bytes that the file of that name and what was written of it take up; 0 where there are none.
func (d *Dir) Used(name string) (bytes int64) {
	d.user.Do(func() error {
		for _, n := range []string{name, partName(name)} {
			var st unix.Stat_t
			if unix.Fstatat(d.Fd(), n, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
				bytes += st.Blocks * 512
			}
		}
		return nil
	})
	return bytes
}
