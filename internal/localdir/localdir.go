// Package localdir keeps files in a directory of this machine: what it remembers of a repository, and copies that can be
// had again.
//
// Root may look at a repository whose directories here belong to another user. Root must leave no files there that this user
// can't use afterwards, and must not be led anywhere by what the user puts there. So root works with the rights of the one
// user who decides where the directory's path leads, and with its own where nobody else does.
//
// Each operation walks the path anew, name by name: the directory may be removed meanwhile, and made again. A symbolic link
// on the way to the directory is followed, since whoever configured the directory has put it there. Below it none is.
//
// Only regular files are read. Anything else in the place of one is an error, and makes nobody wait.
package localdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
)

// A Dir is a directory in which files are kept. Names may be paths below it. It is safe for concurrent use.
type Dir struct {
	base   string       // absolute
	subdir string       // the path from there on
	user   *hostfs.User // whom root works as; nil: as itself
}

// Open returns the directory at path, which it makes where it is missing.
func Open(path string) (*Dir, error) { return OpenBelow(path, "") }

// OpenBelow is Open of a directory below another one.
func OpenBelow(base, below string) (*Dir, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, err
	}
	at, err := hostfs.MakeDirBelow(base, below)
	if err != nil {
		return nil, explain(filepath.Join(base, below), err)
	}
	defer at.Close()
	return &Dir{base, below, at.User()}, nil
}

// A SharedError says that several users could change what root keeps in a directory.
type SharedError struct {
	Path string // of the directory
	Err  *hostfs.SharedError
}

func (e *SharedError) Error() string {
	return fmt.Sprintf("root does not keep files in %s: %s", e.Path, e.Err.Trust.Reason())
}

func (e *SharedError) Unwrap() error { return e.Err }

// A LinkError says that a symbolic link is in the place of a directory below the one that was given.
type LinkError struct{ Err error }

func (e *LinkError) Error() string {
	return e.Err.Error() + ": symbolic links below it are not followed"
}
func (e *LinkError) Unwrap() error { return e.Err }

func explain(path string, err error) error {
	if shared := (*hostfs.SharedError)(nil); errors.As(err, &shared) {
		return &SharedError{path, shared}
	}
	if errors.Is(err, unix.ELOOP) {
		return &LinkError{err}
	}
	return err
}

// in opens the directory that a name is in, and returns it with the name's last part.
func (d *Dir) in(name string, open func(base, below string) (*hostfs.Dir, error)) (at *hostfs.Dir, last string, err error) {
	below := filepath.Join(d.subdir, filepath.FromSlash(name))
	if at, err = open(d.base, filepath.Dir(below)); err != nil {
		return nil, "", explain(d.Path(""), err)
	}
	if u := at.User(); (u == nil) != (d.user == nil) || u != nil && u.UID != d.user.UID {
		at.Close()
		return nil, "", fmt.Errorf("%s came to belong to somebody else", d.Path(""))
	}
	return at, filepath.Base(below), nil
}

// whole puts the path of a file into an error that has its name alone.
func (d *Dir) whole(name string, err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: d.Path(name), Err: pe.Err}
	}
	return err
}

// Sub returns the directory name below d, which it makes where it is missing.
func (d *Dir) Sub(name string) (*Dir, error) {
	at, _, err := d.in(filepath.Join(name, "x"), hostfs.MakeDirBelow)
	if err != nil {
		return nil, err
	}
	return &Dir{d.base, filepath.Join(d.subdir, name), d.user}, at.Close()
}

// Path returns the path of a file, for a person to read.
func (d *Dir) Path(name string) string {
	return filepath.Join(d.base, d.subdir, filepath.FromSlash(name))
}

// ReadFile returns what a file of at most limit bytes holds.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, error) {
	at, last, err := d.in(name, hostfs.OpenDirBelow)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	data, err := at.ReadFile(last, limit)
	return data, d.whole(name, err)
}

// WriteFile durably puts data in place of what a file holds. Readers see the old content or the new.
func (d *Dir) WriteFile(name string, data []byte) error { return d.write(name, data, true) }

// WriteCopy is WriteFile for what can be had again: a power cut may leave anything in the file.
func (d *Dir) WriteCopy(name string, data []byte) error { return d.write(name, data, false) }

func (d *Dir) write(name string, data []byte, durable bool) error {
	at, last, err := d.in(name, hostfs.MakeDirBelow)
	if err != nil {
		return err
	}
	f, err := temp(at)
	if err != nil {
		return d.whole(name, err)
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return d.whole(name, err)
	}
	return d.whole(name, f.replace(last, durable))
}

// OpenFile opens a file, with os.O_RDWR and such. With os.O_CREATE the name of a new one is durable.
func (d *Dir) OpenFile(name string, flag int) (*os.File, error) {
	at, last, err := d.in(name, hostfs.OpenDirBelow)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	f, err := at.OpenFile(last, flag)
	return f, d.whole(name, err)
}

// Remove removes a file. One that is not there is no error.
func (d *Dir) Remove(name string) error {
	at, last, err := d.in(name, hostfs.OpenDirBelow)
	if err == nil {
		defer at.Close()
		err = d.whole(name, at.Remove(last))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// maxNames is more than permafrost keeps in one directory.
const maxNames = 1 << 16

// Names returns what is in the directory: nothing where it can't be read.
func (d *Dir) Names() []hostfs.Name {
	at, _, err := d.in("x", hostfs.OpenDirBelow)
	if err != nil {
		return nil
	}
	defer at.Close()
	names, _ := at.Names(maxNames)
	return names
}

// TempPrefix is what the names of temporary files begin with: those of a process that died are left behind.
const TempPrefix = ".tmp-"

// A File is a temporary file until Replace gives it its name. The caller ends it with Discard, which does nothing to a file
// that has its name.
type File struct {
	*os.File
	dir      *hostfs.Dir
	replaced bool
	ended    bool
}

// Temp returns a new file, for reading and writing.
func (d *Dir) Temp() (*File, error) {
	at, _, err := d.in("x", hostfs.OpenDirBelow)
	if err != nil {
		return nil, err
	}
	f, err := temp(at)
	return f, d.whole("", err)
}

// Unnamed returns a new file, for reading and writing, that has no name: it is deleted once it is closed.
func (d *Dir) Unnamed() (*os.File, error) {
	f, err := d.Temp()
	if err != nil {
		return nil, err
	}
	defer f.dir.Close()
	if err := f.dir.Remove(f.Name()); err != nil {
		f.File.Close()
		return nil, d.whole("", err)
	}
	return f.File, nil
}

// temp makes a temporary file in a directory, which becomes the file's.
func temp(at *hostfs.Dir) (*File, error) {
	f, err := at.Temp(TempPrefix)
	if err != nil {
		at.Close()
		return nil, err
	}
	return &File{File: f, dir: at}, nil
}

// Replace makes the file durable under a name of the directory, in place of what is there, and closes it.
func (f *File) Replace(name string) error { return f.replace(name, true) }

func (f *File) replace(name string, durable bool) error {
	defer f.Discard()
	if durable {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.File.Close(); err != nil {
		return err
	}
	if err := f.dir.Rename(f.Name(), name); err != nil {
		return err
	}
	f.replaced = true
	if durable {
		return f.dir.Sync()
	}
	return nil
}

// Discard closes the file and removes its temporary name.
func (f *File) Discard() {
	if f.ended {
		return
	}
	f.ended = true
	f.File.Close()
	if !f.replaced {
		_ = f.dir.Remove(f.Name())
	}
	f.dir.Close()
}

// Scratch returns a file without a name, which ends with the process.
func (d *Dir) Scratch() (*os.File, error) {
	t, err := d.Temp()
	if err != nil {
		return nil, err
	}
	defer t.dir.Close()
	if err := t.dir.Remove(t.Name()); err != nil {
		t.File.Close()
		return nil, err
	}
	return t.File, nil
}
