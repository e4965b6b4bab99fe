package repo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/localdir"
	"permafrost/repo/store"
)

// local is what this machine keeps of one repository.
//
// state must not be lost lightly: the newest log entry seen ("head"), the pinned fingerprint, a copy of keys/, and
// the journal of packs that no index covers yet. cache is disposable: copies of immutable objects. A directory that is nil
// keeps nothing.
type local struct {
	state  *localdir.Dir
	copies *localdir.Dir
	failed error // why state is nil, where it was to be kept

	mu      sync.Mutex
	refused map[string]bool // tables that are not to be opened, though they could not be removed
}

// staleTemp is the age at which a temporary file of a process that died is removed.
const staleTemp = 24 * time.Hour

// newLocal opens the directories of the repository id below the given ones. A command that only reads can do without.
func newLocal(stateDir, cacheDir string, id store.Name) *local {
	l := new(local)
	name := id.String()[:16]
	if stateDir != "" {
		var err error
		if l.state, err = localdir.OpenBelow(stateDir, name); err != nil {
			l.state, l.failed = nil, fmt.Errorf("this machine can't remember the repository: %w", err)
		}
	}
	if cacheDir != "" {
		var err error
		if l.copies, err = localdir.OpenBelow(cacheDir, name); err != nil {
			l.copies = nil // it is only slower without
		}
	}
	return l
}

// spoilt is the error of a file of the state directory that can't be opened; loses is what comes of removing it.
func spoilt(dir *localdir.Dir, name, what string, err error, loses string) error {
	return &StateFileError{Path: dir.Path(name), Loses: loses, Err: fmt.Errorf("%s: %w", what, err)}
}

// cached returns the copy of an object. Whoever asks verifies it.
func (l *local) cached(object string) ([]byte, bool) {
	if l.copies == nil {
		return nil, false
	}
	data, err := l.copies.ReadFile(object, store.MaxObject)
	return data, err == nil && len(data) > 0
}

// cache keeps a copy of an object. A failure costs a download later and nothing else.
func (l *local) cache(object string, data []byte) {
	if l.copies != nil {
		_ = l.copies.WriteCopy(object, data)
	}
}

// dropCached removes copies of objects that are no more.
func (l *local) dropCached(object string) {
	if l.copies != nil {
		_ = l.copies.Remove(object)
	}
}

// tables returns the directory of the index's tables, or nil where none can be kept.
func (l *local) tables() *localdir.Dir {
	if l.copies == nil {
		return nil
	}
	dir, err := l.copies.Sub("tables")
	if err != nil {
		return nil
	}
	return dir
}

// openTables opens the tables in dir, and removes what is none; damaged hears of that.
func (l *local) openTables(dir *localdir.Dir, key *[32]byte, damaged func()) (tables []*table) {
	if dir == nil {
		return nil
	}
	for range 8 { // another process may merge tables, and remove what it merged, meanwhile
		again := false
		tables = nil
		for _, e := range dir.Names() {
			if strings.HasPrefix(e.Name, localdir.TempPrefix) {
				if !e.MTime.IsZero() && time.Since(e.MTime) > staleTemp {
					_ = dir.Remove(e.Name)
				}
				continue
			}
			if l.isRefused(dir.Path(e.Name)) {
				continue
			}
			t, err := openTableFile(dir, e.Name, key)
			switch {
			case err == nil:
				tables = append(tables, t)
			case errors.Is(err, fs.ErrNotExist):
				again = true
			default:
				l.dropTable(&table{dir: dir, path: dir.Path(e.Name)})
				damaged()
			}
		}
		if !again {
			break
		}
	}
	return tables
}

// dropTable removes a table. Whoever has it open reads on.
func (l *local) dropTable(t *table) {
	if t.path == "" {
		return
	}
	if err := t.dir.Remove(filepath.Base(t.path)); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.refused == nil {
			l.refused = make(map[string]bool)
		}
		l.refused[t.path] = true
	}
}

func (l *local) isRefused(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused[path]
}

// stateFile returns what a file of the state directory holds, or nil where there is none.
func (l *local) stateFile(name string, limit int64) ([]byte, error) {
	if l.state == nil {
		return nil, nil
	}
	data, err := l.state.ReadFile(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (l *local) writeStateFile(name string, data []byte) error {
	if l.state == nil {
		return nil
	}
	return l.state.WriteFile(name, data)
}

// fileName makes an instance's name fit for a file's.
func fileName(instance string) string {
	if len(instance) > 200 || strings.ContainsAny(instance, "/\x00") {
		return store.NameOf([]byte(instance)).String()
	}
	return instance
}

// LockRun keeps two runs of an instance on this machine apart, from a run's snapshot to the end of its prune. It fails with a
// LockedError. The lock goes with the process.
func (r *Repo) LockRun(instance string) (unlock func(), err error) {
	return r.local.lockFile("run-"+fileName(instance), "another run for "+instance)
}

// lock keeps two snapshots of one instance on this machine apart. The lock goes with the process.
func (l *local) lock(instance string) (unlock func(), err error) {
	return l.lockFile("lock-"+fileName(instance), "another snapshot of "+instance)
}

// lockFile locks a file of the state directory, for what a process does.
func (l *local) lockFile(name, what string) (unlock func(), err error) {
	if l.state == nil {
		return func() {}, nil
	}
	f, err := l.state.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, spoilt(l.state, name, "locking", err, "it holds nothing")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{what + " runs on this machine"}
		}
		return nil, fmt.Errorf("locking: %w", err)
	}
	return func() { f.Close() }, nil
}
