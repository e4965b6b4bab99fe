// Package durable writes local files so that a crash leaves the whole of a new file or none of it: a temporary file, fsync, one link,
// and fsync of the directory that holds the name.
//
// A crash can leave a temporary file behind. Its name is what the caller of Temp chose.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A File is a temporary file until Create gives it its name. The caller ends it with Discard, which does nothing to a
// file that has its name.
type File struct {
	*os.File
	done bool
}

// Temp opens a new, empty file in dir, for reading and writing, which nobody but its owner may read. The last "*" of pattern is replaced
// by random digits, as in os.CreateTemp.
func Temp(dir, pattern string) (*File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	return &File{File: f}, nil
}

// Create makes the file durable at path, on the same file system, or fails with fs.ErrExist where something is there:
// of several at once a single one succeeds. It closes the file. The file system must know hard links.
func (f *File) Create(path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	// A temporary name that a crash brings back is one that a crash could have left.
	f.Discard()
	return SyncDir(filepath.Dir(path))
}

// Discard closes the file and removes its temporary name.
func (f *File) Discard() {
	f.Close()
	if !f.done {
		os.Remove(f.Name())
		f.done = true
	}
}

// SyncDir makes durable which names dir holds. File systems that have no such notion are taken at their word.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// MkdirAll makes the directory dir with what parents it lacks, durably. Where it is there already MkdirAll does nothing.
func MkdirAll(dir string, perm fs.FileMode) error {
	dir = filepath.Clean(dir)
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(parent)
}
