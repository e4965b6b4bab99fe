package media

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// A TargetFile is a regular file that is being restored.
type TargetFile struct {
	*os.File
	dir        int // that it is in
	name, part string
}

// partName is what is called name once it is whole. It is always the same, so that the next restore takes away what one that was
// killed has left.
func partName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return ".permafrost-" + hex.EncodeToString(sum[:8]) + ".partial"
}

// Create makes an empty file, for the caller to write and to Finish.
func (t *Target) Create(e *source.Entry) (f *TargetFile, err error) {
	if !hostfs.ValidPath(e.Path) {
		return nil, pathError("create", e.Path, fs.ErrInvalid)
	}
	above, name := ".", e.Path
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
		above, name = e.Path[:i], e.Path[i+1:]
	}
	err = t.do("create", e.Path, func() error {
		dir, err := t.makeDirs(above)
		if err != nil {
			return err
		}
		f = &TargetFile{dir: dir, name: name, part: partName(name)}
		fd := -1
		if err = t.free(dir, name); err == nil {
			err = fresh(dir, f.part, func() (err error) {
				const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
				fd, err = hostfs.Retry(func() (int, error) { return unix.Openat(dir, f.part, flags, 0o600) })
				return err
			})
		}
		if err != nil {
			unix.Close(dir)
			return err
		}
		f.File = os.NewFile(uintptr(fd), e.Path)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// free looks whether a name may be given: nothing has it, or may be replaced.
func (t *Target) free(dir int, name string) error {
	var st unix.Stat_t
	switch err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == unix.ENOENT:
		return nil
	case err != nil:
		return err
	case !t.replace:
		return unix.EEXIST
	}
	return nil
}

// fresh calls make, which makes something called part, and takes away what a restore that was killed has left there.
func fresh(dir int, part string, make func() error) error {
	err := make()
	if err == unix.EEXIST {
		if err = unix.Unlinkat(dir, part, 0); err == nil {
			err = make()
		}
	}
	return err
}

// errDirectory says that there is a directory, with something in it, where something else is to be.
var errDirectory = errors.New("a directory that is not empty has its name")

// give gives what is called part its name, or removes it.
func (t *Target) give(dir int, part, name string) (err error) {
	defer func() {
		if err != nil {
			unix.Unlinkat(dir, part, 0)
		}
	}()
	if !t.replace {
		err = unix.Renameat2(dir, part, dir, name, unix.RENAME_NOREPLACE)
		if err != unix.EINVAL && err != unix.ENOSYS && err != unix.EOPNOTSUPP {
			return err
		}
		// The file system can't, and a moment ago the name was free.
		return unix.Renameat(dir, part, dir, name)
	}
	err = unix.Renameat(dir, part, dir, name)
	if err != nil && isDir(dir, name) {
		if err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != nil && t.clear {
			err = removeAll(dir, name)
		}
		if err != nil {
			return errDirectory
		}
		err = unix.Renameat(dir, part, dir, name)
	}
	return err
}

// Finish gives a file its size, so that holes need not be written, then its attributes and its name, and closes it.
func (t *Target) Finish(f *TargetFile, e *source.Entry) error {
	return t.do("finish", e.Path, func() error {
		defer unix.Close(f.dir)
		err := t.attrs.finish(f.File, e)
		if err2 := f.Close(); err == nil {
			err = err2
		}
		if err != nil {
			unix.Unlinkat(f.dir, f.part, 0)
			return err
		}
		return t.give(f.dir, f.part, f.name)
	})
}

// Discard closes and removes a file that Create made and whose content can't be had.
func (t *Target) Discard(f *TargetFile) error {
	return t.do("remove", f.Name(), func() error {
		f.Close()
		defer unix.Close(f.dir)
		return unix.Unlinkat(f.dir, f.part, 0)
	})
}

// put makes something that is no file and no directory by make, gives it its attributes, and then its name.
func (t *Target) put(op string, e *source.Entry, make func(dir int, part string) error) error {
	return t.within(op, e.Path, func(dir int, name string) error {
		if err := t.free(dir, name); err != nil {
			return err
		}
		part := partName(name)
		if err := fresh(dir, part, func() error { return make(dir, part) }); err != nil {
			return err
		}
		if err := t.attrs.applyByName(dir, part, e); err != nil {
			unix.Unlinkat(dir, part, 0)
			return err
		}
		return t.give(dir, part, name)
	})
}

// Symlink makes a symbolic link to e.Target: what is there is never looked at.
func (t *Target) Symlink(e *source.Entry) error {
	switch {
	case !hostfs.ValidPath(e.Path) || len(e.Target) >= unix.PathMax || strings.IndexByte(e.Target, 0) >= 0:
		return pathError("symlink", e.Path, fs.ErrInvalid)
	case !t.attrs.trusted && leadsOut(e.Path, e.Target):
		t.attrs.leaveOut("symbolic links that lead out of the media", e.Path)
		return nil
	}
	return t.put("symlink", e, func(dir int, part string) error { return unix.Symlinkat(e.Target, dir, part) })
}

// Special makes a FIFO, a socket or a device. A device that may not be made is left out, with a warning.
func (t *Target) Special(e *source.Entry) error {
	types := map[source.Type]uint32{
		source.FIFO: unix.S_IFIFO, source.Socket: unix.S_IFSOCK, source.Block: unix.S_IFBLK, source.Char: unix.S_IFCHR,
	}
	typ, ok := types[e.Type]
	if !ok || !hostfs.ValidPath(e.Path) {
		return pathError("mknod", e.Path, fs.ErrInvalid)
	}
	device := e.Type == source.Block || e.Type == source.Char
	if device && !t.attrs.trusted {
		t.attrs.leaveOut("devices", e.Path)
		return nil
	}
	err := t.put("mknod", e, func(dir int, part string) error { return unix.Mknodat(dir, part, typ|0o600, int(e.Rdev)) })
	if device && errors.Is(err, unix.EPERM) {
		t.attrs.lost.add("devices not restored", e.Path, unix.EPERM)
		return nil
	}
	return err
}

// Link makes e.Path another name of the file at the path first, which Create has made. It reports whether it was one already.
func (t *Target) Link(e *source.Entry, first string) (there bool, err error) {
	err = t.do("link", first, func() error {
		return t.in(first, t.openDir, func(from int, old string) error {
			var st, is unix.Stat_t
			if err := unix.Fstatat(from, old, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				return err
			}
			if st.Mode&unix.S_IFMT != unix.S_IFREG {
				return hostfs.ErrNotRegular
			}
			return t.in(e.Path, t.makeDirs, func(to int, name string) error {
				err := unix.Fstatat(to, name, &is, unix.AT_SYMLINK_NOFOLLOW)
				if there = err == nil && t.replace && is.Dev == st.Dev && is.Ino == st.Ino; there {
					return nil
				}
				if err := t.free(to, name); err != nil {
					return err
				}
				part := partName(name)
				if err := fresh(to, part, func() error { return unix.Linkat(from, old, to, part, 0) }); err != nil {
					return err
				}
				return t.give(to, part, name)
			})
		})
	})
	return there, err
}
