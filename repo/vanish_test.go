package repo_test

import (
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

var vanish = flag.Int("vanish", 40, "how many nights lose their cache")

// A vandal deletes, cuts and spoils a cache while it is used.
type vandal struct {
	dir  string
	rand *rand.Rand // under mu
	mu   sync.Mutex
}

// strike does something to the cache, or nothing.
func (v *vandal) strike() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.rand.IntN(8) > 0 {
		return
	}
	if v.rand.IntN(4) == 0 {
		os.RemoveAll(v.dir)
		if v.rand.IntN(3) == 0 {
			os.WriteFile(v.dir, nil, 0o600) // and none can be made
		}
		return
	}
	var all []string
	filepath.WalkDir(v.dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return nil
	})
	path := all[v.rand.IntN(len(all))]
	switch v.rand.IntN(4) {
	case 0, 1:
		os.RemoveAll(path)
	case 2:
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			os.Truncate(path, v.rand.Int64N(info.Size()+1))
		}
	case 3:
		if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
			f.WriteAt([]byte("spoilt"), v.rand.Int64N(8<<10))
			f.Close()
		}
	}
}

// A cache that vanishes, is cut or spoilt, or can't be written, at whatever moment of a night or of the restore after it, makes
// that slower and nothing else.
func TestCacheVanishes(t *testing.T) {
	m := newMachine(t, storetest.NewMem(t))
	for seed := range *vanish {
		v := &vandal{dir: filepath.Join(m.dir, "cache"), rand: rand.New(rand.NewPCG(uint64(seed), 1))}
		done := make(chan struct{})
		var running sync.WaitGroup
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					v.strike()
				}
			}
		})
		whole := m.store
		m.store = &storetest.Hook{Store: whole, Before: func(storetest.Op) storetest.Fault { v.strike(); return storetest.None }}
		err := inTime(t, func() error {
			if err := m.night(repo.Options{}, 2+seed); err != nil {
				return err
			}
			return m.restore(2 + seed)
		})
		m.store = whole
		close(done)
		running.Wait()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		os.RemoveAll(v.dir)
		if seed%10 == 9 {
			if r, err := m.open(repo.Options{}); err != nil || upkeep.Forget(t.Context(), r, idsButLast(r)) != nil {
				t.Fatalf("seed %d: forgetting: %v", seed, err)
			}
		}
	}
}

func idsButLast(r *repo.Repo) (ids []store.Name) {
	all := r.Snapshots()
	for _, ref := range all[:len(all)-1] {
		ids = append(ids, ref.ID)
	}
	return ids
}
