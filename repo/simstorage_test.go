package repo_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo/store"
)

// A simVersion is what an object holds or held.
type simVersion struct {
	data []byte // never changed in place
	at   time.Time
	born int // objects differ by this from run to run of a seed, and not by their names
}

// A simBranch is what the storage shows to some of those who work on it. One that shows the same to all has one.
type simBranch map[string]simVersion

// A simStorage keeps what it is given, unless told otherwise. Its methods for machines are those of a simView; the others are
// the hands of whoever holds the storage, or a connection to it.
type simStorage struct {
	sched  *storetest.Sched
	hashes bool                                     // what gets a name that is a hash has that hash, as with serve-sftp
	upload func(name string, data []byte) []byte    // what others make of an upload under way; nil: nobody can write to it
	after  func(m *simMachine, kind, object string) // behind each operation of a machine

	mu      sync.Mutex
	born    int
	ever    map[string][]simVersion // all that a name has held, wherever
	spoilt  map[string]bool         // what the storage itself has dropped or changed
	dropped map[string]bool         // of these, what machines have removed
	planted map[string]bool         // what no machine has put
	rewrote bool                    // a machine has put something under the name of what the storage had dropped
}

func newSimStorage(sched *storetest.Sched, first simBranch) (*simStorage, *simBranch) {
	s := &simStorage{sched: sched, ever: make(map[string][]simVersion), spoilt: make(map[string]bool), dropped: make(map[string]bool), planted: make(map[string]bool)}
	b := maps.Clone(first)
	for name, v := range b {
		s.ever[name] = []simVersion{v}
		s.born = max(s.born, v.born)
	}
	return s, &b
}

// put gives a name that is free a content.
func (s *simStorage) put(b *simBranch, name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := (*b)[name]; taken {
		return fmt.Errorf("putting %s: %w", name, fs.ErrExist)
	}
	s.set(b, name, data)
	return nil
}

// set gives a name a content. s.mu is held.
func (s *simStorage) set(b *simBranch, name string, data []byte) {
	s.born++
	v := simVersion{data, time.Now(), s.born}
	s.ever[name] = append(s.ever[name], v)
	(*b)[name] = v
}

// plant puts what no machine has made, as a connection that may put can: under a name that is free and, where the storage
// looks, that it can have.
func (s *simStorage) plant(b *simBranch, name string, data []byte) {
	if kind, hash := store.Parse(name); s.hashes && (kind == store.None || !hash.IsZero() && hash != store.NameOf(data)) {
		return
	}
	if s.put(b, name, data) == nil {
		s.mu.Lock()
		s.planted[name] = true
		s.mu.Unlock()
		s.sched.Know(name)
	}
}

// spoil changes what the storage shows under a name; nil: nothing.
func (s *simStorage) spoil(b *simBranch, name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoilt[name] = true
	if data == nil {
		delete(*b, name)
		return
	}
	v := (*b)[name]
	v.data = data
	(*b)[name] = v
}

// first returns what a name held first: what was put there by who could.
func (s *simStorage) first(name string) simVersion { return s.ever[name][0] }

// heal gives back what the storage has dropped or changed, and machines have not removed since.
func (s *simStorage) heal(b *simBranch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.spoilt {
		if !s.dropped[name] {
			(*b)[name] = s.first(name)
		}
	}
}

// list returns the objects below a directory, in the order in which they came.
func (s *simStorage) list(b *simBranch, dir string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range *b {
		if strings.HasPrefix(name, dir) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Or((*b)[x].born-(*b)[y].born, strings.Compare(x, y)) })
	return names
}

func (s *simStorage) bytes(b *simBranch, name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (*b)[name].data
}

// A simView is the storage as somebody has it.
type simView struct {
	s *simStorage
	m *simMachine
}

var _ store.Store = simView{}

func (v simView) get(ctx context.Context, name string) (simVersion, error) {
	if err := cmp.Or(ctx.Err(), store.CheckPath(name)); err != nil {
		return simVersion{}, err
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	o, ok := (*v.m.at)[name]
	if !ok {
		return o, fs.ErrNotExist
	}
	return o, nil
}

func (v simView) done(kind, name string) {
	if v.s.after != nil && !v.m.hostile {
		v.s.after(v.m, kind, name)
	}
}

// Put implements store.Store.
func (v simView) Put(ctx context.Context, name string, data ...[]byte) error {
	if err := cmp.Or(ctx.Err(), store.CheckPath(name)); err != nil {
		return err
	}
	whole := bytes.Join(data, nil)
	if v.s.upload != nil && !v.m.hostile {
		whole = v.s.upload(name, whole)
	}
	if err := v.s.put(v.m.at, name, whole); err != nil {
		return err
	}
	v.s.mu.Lock()
	if v.m.hostile {
		v.s.planted[name] = true
	} else {
		v.m.wrote(name, whole)
		v.s.rewrote = v.s.rewrote || v.s.spoilt[name]
	}
	v.s.mu.Unlock()
	if v.m.hostile {
		v.s.sched.Know(name)
	}
	v.done("Put", name)
	return nil
}

// ReadAt implements store.Store.
func (v simView) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	o, err := v.get(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	n := copy(p, o.data[min(off, int64(len(o.data))):])
	v.done("ReadAt", name)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Stat implements store.Store.
func (v simView) Stat(ctx context.Context, name string) (store.Object, error) {
	o, err := v.get(ctx, name)
	if err != nil {
		return store.Object{}, fmt.Errorf("looking at %s: %w", name, err)
	}
	return store.Object{Name: name, Size: int64(len(o.data)), Time: o.at}, nil
}

// List implements store.Store.
func (v simView) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for _, name := range v.s.list(v.m.at, prefix) {
			o, err := v.Stat(ctx, name)
			if ctx.Err() == nil && err != nil {
				continue
			}
			if !yield(o, err) || err != nil {
				return
			}
		}
		v.done("List", prefix)
	}
}

// Remove implements store.Store.
func (v simView) Remove(ctx context.Context, name string) error {
	if _, err := v.get(ctx, name); err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	v.s.mu.Lock()
	delete(*v.m.at, name)
	if v.s.spoilt[name] {
		v.s.dropped[name] = true
	}
	v.s.mu.Unlock()
	v.done("Remove", name)
	return nil
}

// RoundTrip implements store.Store.
func (v simView) RoundTrip() time.Duration { return 0 }
