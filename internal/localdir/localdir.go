// Package localdir keeps files in a directory of this machine: what it remembers of a repository, and copies that can be
// had again.
//
// Root may look at a repository whose directories here belong to another user, and is not to leave files there that this
// user can't use afterwards, nor to be led anywhere by what he puts there. So root works with the rights of the one user
// who decides where the directory's path leads, and with its own where nobody else does.
//
// Nothing but regular files is read: what somebody has put in the place of one is an error, and makes nobody wait.
package localdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"permafrost/internal/durable"
	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
)

// A Dir is a directory in which files are kept. Names may be paths below it. It is safe for concurrent use.
type Dir struct {
	path string
	user *hostfs.User // whom root works as; nil: as itself
}

// Open returns the directory at path, which it makes where it is missing.
func Open(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path}
	if d.user, err = decider(path); err != nil {
		return nil, err
	}
	if err := d.user.Do(func() error { return durable.MkdirAll(path, 0o700) }); err != nil {
		return nil, err
	}
	// Where it was missing somebody else may have made it, in a directory such as /tmp.
	user, err := decider(path)
	if err == nil && (user == nil) != (d.user == nil) {
		err = fmt.Errorf("%s came to belong to somebody else", path)
	}
	return d, err
}

// decider returns the user whom root works as in the directory at path.
func decider(path string) (*hostfs.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	at, trust, _, err := hostfs.Walk(path)
	if at == nil {
		return nil, err
	}
	at.Close()
	switch {
	case trust.Root():
		return nil, nil
	case len(trust.Users) == 1 && trust.Only(trust.Users[0]):
		return hostfs.LookupUID(trust.Users[0], trust.Users[0])
	}
	return nil, hint.Wrap(fmt.Errorf("root does not keep files in %s: %s", path, trust.Reason()),
		"give a directory that is root's alone, or one user's, with --state-dir and --cache-dir")
}

// Sub returns the directory name below d, which it makes where it is missing.
func (d *Dir) Sub(name string) (*Dir, error) {
	sub := &Dir{filepath.Join(d.path, name), d.user}
	return sub, d.user.Do(func() error { return durable.MkdirAll(sub.path, 0o700) })
}

// Path returns the path of a file, for a person to read.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

// ReadFile returns what a file of at most limit bytes holds.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	data, _, err := d.user.ReadFile(d.Path(name), limit)
	return data, err
}

// WriteFile durably puts data in place of what a file holds. Readers see the old content or the new.
func (d *Dir) WriteFile(name string, data []byte) error {
	path := d.Path(name)
	return d.user.Do(func() error {
		if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return durable.WriteFile(path, data, 0o600)
	})
}

// WriteCopy is WriteFile for what can be had again: a power cut may leave anything in the file.
func (d *Dir) WriteCopy(name string, data []byte) error {
	path := d.Path(name)
	return d.user.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f, err := durable.Temp(filepath.Dir(path), TempPattern, 0o600)
		if err != nil {
			return err
		}
		defer f.Discard()
		if _, err := f.Write(data); err != nil {
			return err
		}
		return os.Rename(f.Name(), path)
	})
}

// OpenFile opens a file, with os.O_RDWR and such. With os.O_CREATE the name of a new one is durable.
func (d *Dir) OpenFile(name string, flag int) (f *os.File, err error) {
	path := d.Path(name)
	err = d.user.Do(func() error {
		f, err = os.OpenFile(path, flag|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = &fs.PathError{Op: "open", Path: path, Err: hostfs.ErrNotRegular}
		}
		if err == nil && flag&os.O_CREATE != 0 {
			err = durable.SyncDir(filepath.Dir(path))
		}
		return err
	})
	if err != nil && f != nil {
		f.Close()
		return nil, err
	}
	return f, err
}

// Remove removes a file. One that is not there is no error.
func (d *Dir) Remove(name string) error {
	err := d.user.Do(func() error { return os.Remove(d.Path(name)) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ReadDir returns what is in the directory: nothing where it can't be read.
func (d *Dir) ReadDir() (entries []fs.DirEntry) {
	_ = d.user.Do(func() (err error) {
		entries, err = os.ReadDir(d.path)
		return err
	})
	return entries
}

// TempPrefix is what the names of temporary files begin with: those of a process that died are left behind.
const (
	TempPrefix  = ".tmp-"
	TempPattern = TempPrefix + "*"
)

// A File is a temporary file until Replace gives it its name. The caller ends it with Discard, which does nothing to a file
// that has its name.
type File struct {
	*durable.File
	dir *Dir
}

// Temp returns a new file, for reading and writing.
func (d *Dir) Temp() (*File, error) {
	f := &File{dir: d}
	return f, d.user.Do(func() (err error) {
		f.File, err = durable.Temp(d.path, TempPattern, 0o600)
		return err
	})
}

// Replace makes the file durable under a name of the directory, in place of what is there, and closes it.
func (f *File) Replace(name string) error {
	return f.dir.user.Do(func() error { return f.File.Replace(f.dir.Path(name)) })
}

// Discard closes the file and removes its temporary name.
func (f *File) Discard() {
	_ = f.dir.user.Do(func() error {
		f.File.Discard()
		return nil
	})
}

// Scratch returns a file without a name, which ends with the process.
func (d *Dir) Scratch() (*os.File, error) {
	t, err := d.Temp()
	if err != nil {
		return nil, err
	}
	if err := d.user.Do(func() error { return os.Remove(t.Name()) }); err != nil {
		t.Discard()
		return nil, err
	}
	return t.File.File, nil
}
