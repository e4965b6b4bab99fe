// Package secrets collects the small files that a Mastodon instance can't be restored without.
//
// The first is always .env.production. What else is secret (a Compose file, an nginx site, /etc/letsencrypt)
// is for the administrator to name: files, whole directories, or patterns.
package secrets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"permafrost/internal/hint"
	"permafrost/source"
)

// Limits keep a directory that was named by mistake out of memory.
const (
	maxBytes = 64 << 20
	maxFiles = 10000
)

// A File is one file with its content.
type File struct {
	Path  string // absolute, on the host that was backed up
	Mode  uint32 // permission bits with setuid, setgid and sticky: 07777
	UID   uint32
	GID   uint32
	MTime int64 // nanoseconds since 1970
	Data  []byte
}

// Collect returns the instance's .env.production, as Load read it, and then the files that extra names, in
// its order, each path once. An element of extra is a file, a directory (all of it, sorted by name) or a
// pattern as in path/filepath.Match.
//
// Symbolic links are followed and stored as what they point to, under their own path: /etc/letsencrypt/live
// holds nothing but links. Inside a directory, links that lead nowhere, and sockets, pipes and devices, are
// left out. Everything else that can't be read is an error: a secret that is missed is noticed too late.
func Collect(inst *source.Instance, extra []string) ([]File, error) {
	c := &collector{names: make(map[string]bool), dirs: make(map[inode]bool)}
	err := c.add(File{Path: inst.EnvPath, Mode: inst.Mode, UID: inst.UID, GID: inst.GID, MTime: inst.MTime, Data: inst.Env})
	for _, name := range extra {
		if err == nil {
			err = c.collect(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("collecting secrets: %w", err)
	}
	return c.files, nil
}

type inode struct{ dev, ino uint64 }

type collector struct {
	files []File
	bytes int
	names map[string]bool // paths in files
	dirs  map[inode]bool  // directories that were entered: links may lead in circles
}

// collect adds what one element of extra names.
func (c *collector) collect(name string) error {
	path, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	paths := []string{path}
	// A file may well have a bracket in its name; only what is not there is taken for a pattern.
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, `*?[\`) {
		if paths, err = filepath.Glob(path); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(paths) == 0 {
			return hint.Wrap(fmt.Errorf("%s: no file matches", name), "correct the pattern, or take it out of the list of secrets")
		}
	}
	for _, path := range paths {
		if err := c.path(path); err != nil {
			return err
		}
	}
	return nil
}

// path adds a file or a directory that was named.
func (c *collector) path(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return c.dir(path, info)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a directory", path)
	}
	return c.file(path)
}

// dir adds everything in a directory.
func (c *collector) dir(path string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	id := inode{uint64(st.Dev), st.Ino}
	if c.dirs[id] {
		return nil
	}
	c.dirs[id] = true
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		info, err := os.Stat(name)
		if e.Type() == fs.ModeSymlink && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP)) {
			continue
		}
		switch {
		case err != nil:
		case info.IsDir():
			err = c.dir(name, info)
		case info.Mode().IsRegular():
			err = c.file(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file reads one regular file.
func (c *collector) file(path string) error {
	if c.names[path] {
		return nil
	}
	// Should it have become a FIFO just now, the open must not wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file any more", path)
	}
	left := int64(maxBytes - c.bytes)
	if info.Size() > left {
		return tooMuch(path)
	}
	data, err := io.ReadAll(io.LimitReader(f, left+1))
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	return c.add(File{
		Path: path, Mode: uint32(st.Mode) & 07777, UID: st.Uid, GID: st.Gid,
		MTime: info.ModTime().UnixNano(), Data: slices.Clip(data),
	})
}

// add appends a file unless its path is there already.
func (c *collector) add(f File) error {
	if c.names[f.Path] {
		return nil
	}
	c.bytes += len(f.Data)
	if c.bytes > maxBytes || len(c.files) == maxFiles {
		return tooMuch(f.Path)
	}
	c.names[f.Path] = true
	c.files = append(c.files, f)
	return nil
}

func tooMuch(path string) error {
	return hint.Wrap(fmt.Errorf("more than %d MiB, or than %d files, at %s", maxBytes>>20, maxFiles, path),
		"secrets are small: name the files themselves rather than a directory above them")
}
