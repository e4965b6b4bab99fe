package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/localdir"
	"permafrost/repo/store"
)

// A Memory is what this machine remembers of one repository. The zero value remembers nothing, and takes what it is given to keep.
type Memory struct {
	state *localdir.Dir // nil: nothing is remembered
	cache *localdir.Dir // nil: nothing is copied
	err   error         // why state is nil, where there was to be one
}

// Open returns the memory of a repository below the given directories, which it makes where they are missing. An empty path stands for
// none. It does not fail, so that what only reads goes on: see [Memory.Err].
func Open(stateDir, cacheDir string, repository store.Name) *Memory {
	m := new(Memory)
	name := repository.String()[:16]
	if stateDir != "" {
		var err error
		if m.state, err = localdir.OpenBelow(stateDir, name); err != nil {
			m.state, m.err = nil, fmt.Errorf("this machine can't remember the repository: %w", err)
		}
	}
	if cacheDir != "" {
		var err error
		if m.cache, err = localdir.OpenBelow(cacheDir, name); err != nil {
			m.cache = nil // it is only slower without
		}
	}
	return m
}

// Err returns why nothing is remembered, where a directory of state was given.
func (m *Memory) Err() error { return m.err }

// Remembers reports whether there is a directory of state.
func (m *Memory) Remembers() bool { return m.state != nil }

// Read returns what a file of state holds, at most limit bytes; nil where there is none.
func (m *Memory) Read(file string, limit int64) ([]byte, error) {
	if m.state == nil {
		return nil, nil
	}
	data, err := m.state.ReadFile(file, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// Write durably replaces what a file of state holds.
func (m *Memory) Write(file string, data []byte) error {
	if m.state == nil {
		return nil
	}
	return m.state.WriteFile(file, data)
}

// Path returns the path of a file of state, for a person to read.
func (m *Memory) Path(file string) string {
	if m.state == nil {
		return file
	}
	return m.state.Path(file)
}

// Cache returns the directory of what can be had again, or nil.
func (m *Memory) Cache() *localdir.Dir { return m.cache }

// Tables returns the directory of the index's tables, or nil where none can be kept.
func (m *Memory) Tables() *localdir.Dir {
	if m.cache == nil {
		return nil
	}
	dir, err := m.cache.Sub("tables")
	if err != nil {
		return nil
	}
	return dir
}

// Copy returns a copy that was kept under a name. Whoever asks verifies it.
func (m *Memory) Copy(name string) ([]byte, bool) {
	if m.cache == nil {
		return nil, false
	}
	data, err := m.cache.ReadFile(name, store.MaxObject)
	return data, err == nil && len(data) > 0
}

// Keep keeps a copy of data under a name. A failure costs time later and nothing else.
func (m *Memory) Keep(name string, data []byte) {
	if m.cache != nil {
		_ = m.cache.WriteCopy(name, data)
	}
}

// Drop removes the copy of what is no more.
func (m *Memory) Drop(name string) {
	if m.cache != nil {
		_ = m.cache.Remove(name)
	}
}

// A Work is what one process at a time does for an instance on this machine.
type Work string

// The works, named as their files begin.
const (
	Run      Work = "run"  // all of a run, from its snapshot to the end of its prune
	Snapshot Work = "lock" // a snapshot
)

// ErrLocked says that another process of this machine is at that work.
var ErrLocked = errors.New("another process is at it")

// Lock keeps two processes of this machine apart, which do the same work for an instance. It fails with ErrLocked, or a FileError. The
// lock goes with the process.
func (m *Memory) Lock(w Work, instance string) (unlock func(), err error) {
	if m.state == nil {
		return func() {}, nil
	}
	name := string(w) + "-" + fileName(instance)
	f, err := m.state.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, m.unusable(name, "locking", err, "it holds nothing")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("locking: %w", err)
	}
	return func() { f.Close() }, nil
}

// fileName makes an instance's name fit for a file's.
func fileName(instance string) string {
	if len(instance) > 200 || strings.ContainsAny(instance, "/\x00") {
		return store.NameOf([]byte(instance)).String()
	}
	return instance
}

// A FileError says that a file in which this machine remembers something can't be opened.
type FileError struct {
	Path  string // of the file
	Loses string // what comes of removing it
	Err   error
}

func (e *FileError) Error() string { return e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

// unusable is the error of a file of state that can't be opened for what is being done; loses is what comes of removing it.
func (m *Memory) unusable(name, doing string, err error, loses string) error {
	return &FileError{Path: m.state.Path(name), Loses: loses, Err: fmt.Errorf("%s: %w", doing, err)}
}
