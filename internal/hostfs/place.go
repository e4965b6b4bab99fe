package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUntrusted is what is wrong with a path of which it can't be said with whose rights it is to be read.
var ErrUntrusted = errors.New("root does not read what others may put in its place")

// A Place is what a path leads to, opened without reading it. Close it.
type Place struct {
	Path  string // as it was given
	Info  fs.FileInfo
	Trust Trust // who decided that the path leads here; of a directory, also who decides what is in it

	handle *os.File // O_PATH
}

// Resolve follows a path, which is absolute, as Walk does, to whatever it leads to. Like all methods of a Place it takes half a
// minute at most.
func Resolve(path string) (*Place, error) {
	p, err := InTime(func() (*Place, error) { return resolve(path) })
	return p, pathError("open", path, err)
}

func resolve(path string) (*Place, error) {
	if !filepath.IsAbs(path) {
		return nil, fs.ErrInvalid
	}
	w, err := newWalk(unix.AT_FDCWD, filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	w.any = true
	err = w.run()
	p := &Place{Path: path, Trust: w.trust, handle: os.NewFile(uintptr(w.fd), w.path)}
	if err == nil && p.Trust.Led {
		if u, nobody := p.Reader(); nobody == nil && u != nil {
			err = p.goAs(u)
		}
	}
	if err == nil {
		p.Info, err = p.handle.Stat()
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// goAs goes to the place once more with the rights of the user who decides where it is: root came through directories that may be
// closed to him.
func (p *Place) goAs(u *User) error {
	fd := -1
	err := u.Do(func() (err error) {
		fd, err = find(unix.AT_FDCWD, filepath.Clean(p.Path))
		return err
	})
	if err != nil {
		return err
	}
	p.handle.Close()
	p.handle = os.NewFile(uintptr(fd), p.Path)
	return nil
}

// Close closes the Place.
func (p *Place) Close() error { return p.handle.Close() }

// Below is a path to a name in the directory that the Place is, wherever the Place's own path leads by now.
func (p *Place) Below(name string) string { return filepath.Join(ProcPath(int(p.handle.Fd())), name) }

// Reader is the user with whose rights a process of root may read what is here: nil, which is root itself, where nobody else
// decided that the path leads here, and else the one user who did. Where several may decide, nobody's rights would do.
func (p *Place) Reader() (*User, error) {
	t := &p.Trust
	if t.Root() || os.Geteuid() != 0 {
		return nil, nil
	}
	if len(t.Users) == 1 && t.Only(t.Users[0]) {
		return LookupUID(t.Users[0], t.Users[0])
	}
	if t.Open != "" {
		return nil, fmt.Errorf("%w: users other than its owner may write into %s", ErrUntrusted, t.Open)
	}
	return nil, fmt.Errorf("%w: directories or links on the way belong to %d users", ErrUntrusted, len(t.Users))
}

// Foreign says why somebody else than root and the user uid could have written the file that the Place is, or put it in its place:
// "" where nobody else could. ssh asks that of its own configuration.
func (p *Place) Foreign(uid uint32) string {
	st := p.Info.Sys().(*syscall.Stat_t)
	switch {
	case !p.Trust.Only(uid):
		return p.Trust.Reason()
	case st.Uid != 0 && st.Uid != uid:
		return fmt.Sprintf("it belongs to the user with the number %d", st.Uid)
	case st.Mode&unix.S_IWOTH != 0 || st.Mode&unix.S_IWGRP != 0 && st.Gid != 0:
		return "other users may write it"
	}
	return ""
}

// ReadFile reads the regular file that the Place is, of at most limit bytes, with the rights of its Reader.
func (p *Place) ReadFile(limit int64) ([]byte, fs.FileInfo, error) {
	c, err := InTime(func() (content, error) {
		f, err := p.open()
		if err != nil {
			return content{}, err
		}
		return readAll(f, limit)
	})
	return c.data, c.info, pathError("read", p.Path, err)
}

// Open opens the regular file that the Place is, with the rights of its Reader.
func (p *Place) Open() (*os.File, error) {
	f, err := InTime(p.open)
	return f, pathError("open", p.Path, err)
}

func (p *Place) open() (f *os.File, err error) {
	u, err := p.Reader()
	if err != nil {
		return nil, err
	}
	err = u.Do(func() error {
		f, err = Reopen(int(p.handle.Fd()), p.Path)
		return err
	})
	return f, err
}

// OpenDir opens the directory that the Place is for reading, with the rights of its Reader.
func (p *Place) OpenDir() (fd int, err error) {
	u, err := p.Reader()
	if err == nil {
		fd, err = InTime(func() (fd int, err error) {
			err = u.Do(func() error {
				fd, err = openList(int(p.handle.Fd()))
				return err
			})
			return fd, err
		})
	}
	return fd, pathError("open", p.Path, err)
}

// Names returns the names in the directory that the Place is, sorted, at most limit of them, with the rights of its Reader.
func (p *Place) Names(limit int) ([]string, error) {
	u, err := p.Reader()
	if err != nil {
		return nil, pathError("read", p.Path, err)
	}
	names, err := InTime(func() (names []string, err error) {
		err = u.Do(func() error {
			dir, err := os.Open(ProcPath(int(p.handle.Fd())))
			if err != nil {
				return err
			}
			defer dir.Close()
			if names, err = dir.Readdirnames(limit + 1); err == io.EOF {
				err = nil
			}
			return err
		})
		return names, err
	})
	if len(names) > limit {
		err = ErrTooLarge
	}
	slices.Sort(names)
	return names, pathError("read", p.Path, err)
}

// ReadBelow reads the regular file of at most limit bytes that a name in the directory that the Place is leads to, with the
// rights of the user u, as User.ReadFile does.
func (p *Place) ReadBelow(u *User, name string, limit int64) ([]byte, fs.FileInfo, error) {
	return u.readFile(int(p.handle.Fd()), name, limit)
}

// ReadFile reads a regular file of at most limit bytes that an administrator gives, by an absolute path: as root where root
// alone decides where the path leads, and else with the rights of the one user who may decide.
func ReadFile(path string, limit int64) ([]byte, fs.FileInfo, error) {
	p, err := Resolve(path)
	if err != nil {
		return nil, nil, err
	}
	defer p.Close()
	return p.ReadFile(limit)
}
