package index

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"permafrost/internal/localdir"
)

// staleTemp is the age at which a temporary file of a process that died is removed.
const staleTemp = 24 * time.Hour

// tableFiles opens and removes the tables that this machine keeps.
type tableFiles struct {
	mu      sync.Mutex
	refused map[string]bool // paths of tables that are not to be opened, though they could not be removed
}

// open opens the tables in dir, which may be nil, and removes what is none; damaged hears of that.
func (s *tableFiles) open(dir *localdir.Dir, key *[32]byte, damaged func()) (tables []*table) {
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
			if s.isRefused(dir.Path(e.Name)) {
				continue
			}
			t, err := openTableFile(dir, e.Name, key)
			switch {
			case err == nil:
				tables = append(tables, t)
			case errors.Is(err, fs.ErrNotExist):
				again = true
			default:
				s.drop(&table{dir: dir, path: dir.Path(e.Name)})
				damaged()
			}
		}
		if !again {
			break
		}
	}
	return tables
}

// drop removes a table. Whoever has it open reads on.
func (s *tableFiles) drop(t *table) {
	if t.path == "" {
		return
	}
	if err := t.dir.Remove(filepath.Base(t.path)); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refused == nil {
			s.refused = make(map[string]bool)
		}
		s.refused[t.path] = true
	}
}

func (s *tableFiles) isRefused(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[path]
}
