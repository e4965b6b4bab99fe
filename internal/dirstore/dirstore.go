// Package dirstore keeps a repository's objects as files below a local directory.
//
// An object is a file of its own name, mode 0600. It is written below tmp/, made durable, and published by a hard link,
// which fails where the name is taken; then the directory is made durable. A crash leaves a file below tmp/ at most.
// So the file system must have hard links: ext4, XFS, Btrfs, ZFS, tmpfs and NFS do, FAT and exFAT do not.
//
// Files whose names no object can have, such as "lost+found", are neither listed nor touched.
package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/durable"
	"permafrost/internal/hint"
	"permafrost/repo/store"
)

// A Store is a store.Store over a directory.
type Store struct {
	dir string

	mu    sync.Mutex
	known map[string]bool // directories that are there, durably
}

var _ store.Store = (*Store)(nil)

// A NoLinksError says that the directory's file system makes no hard link from tmp/ to where an object belongs.
type NoLinksError struct{ Err error }

func (e *NoLinksError) Error() string { return e.Err.Error() }
func (e *NoLinksError) Unwrap() error { return e.Err }

// Open returns the store below dir, which the first Put makes if need be.
func Open(dir string) (*Store, error) {
	if dir == "" {
		return nil, errors.New("opening repository directory: its path is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening repository directory: %w", err)
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("opening repository directory: %s is not a directory", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening repository directory: %w", err)
	}
	return &Store{dir: dir, known: make(map[string]bool)}, nil
}

// String returns the directory's absolute path.
func (s *Store) String() string { return s.dir }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, data ...[]byte) error {
	if err := s.put(ctx, name, data); err != nil {
		return fmt.Errorf("putting %s: %w", name, noSpace(err))
	}
	return nil
}

func (s *Store) put(ctx context.Context, name string, data [][]byte) error {
	path, err := s.path(name)
	if err != nil {
		return err
	}
	if store.InTemp(name) {
		return errors.New("the name is reserved")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	temp := filepath.Join(s.dir, store.Temp)
	for _, dir := range []string{temp, filepath.Dir(path)} {
		if err := s.mkdir(dir); err != nil {
			return err
		}
	}
	f, err := durable.Temp(temp, "*")
	if err != nil {
		return err
	}
	defer f.Discard()
	for _, part := range data {
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = f.Create(path)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EXDEV) {
		return &NoLinksError{err}
	}
	return err
}

// ReadAt implements store.Store.
func (s *Store) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	path, err := s.path(name)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, err := openRegular(path)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	defer f.Close()
	return f.ReadAt(p, off) // io.EOF stays as it is
}

// openRegular opens a file. What is something else, such as a directory, is no object: fs.ErrNotExist.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, absent(err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, hint.Join(err, fs.ErrNotExist)
	}
	return f, nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Object, error) {
	path, err := s.path(name)
	if err != nil {
		return store.Object{}, fmt.Errorf("looking at %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return store.Object{}, err
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return store.Object{}, fmt.Errorf("looking at %s: %w", name, absent(err))
	}
	return store.Object{Name: name, Size: info.Size(), Time: info.ModTime()}, nil
}

// List implements store.Store. Uploads under way are listed where prefix is "tmp/".
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		if err := store.CheckPrefix(prefix); err != nil {
			yield(store.Object{}, fmt.Errorf("listing: %w", err))
			return
		}
		s.list(ctx, prefix, yield)
	}
}

// list yields what prefix's directory holds, and tells whether to go on.
func (s *Store) list(ctx context.Context, prefix string, yield func(store.Object, error) bool) bool {
	fail := func(err error) bool {
		yield(store.Object{}, fmt.Errorf("listing %q: %w", prefix, err))
		return false
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, filepath.FromSlash(prefix)))
	if err = absent(err); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		name := prefix + e.Name()
		if !store.IsPath(name) || name == store.Temp {
			continue
		}
		if e.IsDir() {
			if !s.list(ctx, name+"/", yield) {
				return false
			}
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return fail(err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if !yield(store.Object{Name: name, Size: info.Size(), Time: info.ModTime()}, nil) {
			return false
		}
	}
	return true
}

// RoundTrip implements store.Store: a directory is near.
func (s *Store) RoundTrip() time.Duration { return 0 }

// Remove implements store.Store.
func (s *Store) Remove(ctx context.Context, name string) error {
	path, err := s.path(name)
	if err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err = unix.Unlink(path)
	if errors.Is(err, unix.EISDIR) {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", name, absent(err))
	}
	return nil
}

// Free returns how many bytes the file system still takes; ok tells whether that is known.
func (s *Store) Free(ctx context.Context) (bytes int64, ok bool, err error) {
	for dir := s.dir; ; dir = filepath.Dir(dir) {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
			continue // the first Put will make it
		}
		if err != nil {
			return 0, false, fmt.Errorf("asking for free space below %s: %w", s.dir, err)
		}
		return int64(st.Bavail) * st.Bsize, true, nil
	}
}

// path returns where the object is kept.
func (s *Store) path(name string) (string, error) {
	if err := store.CheckPath(name); err != nil {
		return "", err
	}
	return filepath.Join(s.dir, filepath.FromSlash(name)), nil
}

// mkdir makes a directory of the store durably, once. One that is found may have been made by a process that has not
// come to make it durable yet, so its parents are made durable in any case.
func (s *Store) mkdir(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[dir] {
		return nil
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for d := dir; d != s.dir; {
		d = filepath.Dir(d)
		if err := durable.SyncDir(d); err != nil {
			return err
		}
	}
	s.known[dir] = true
	return nil
}

// absent turns the failure of a path that leads through a file into what it means here: no such object.
func absent(err error) error {
	if errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	return err
}

func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w (%w)", store.ErrNoSpace, err)
	}
	return err
}
