package storetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/repo/store"
)

// Mem is a store.Store in memory that also watches over what a repository may do. It fails the test where
//   - a name that once held a content is put with another one, even after it was removed;
//   - an object below packs/, index/ or manifests/ that is named by a hash is not what the name says;
//   - config or an entry of the log is removed, one aside that stands alone, with the number below it free;
//   - an object is longer than store.MaxObject.
//
// Its other methods are the hands of a test, or of a hostile storage: they watch over nothing.
type Mem struct {
	t testing.TB

	mu      sync.Mutex
	objects map[string]object
	once    map[string][sha256.Size]byte // what each name has held
	temps   int
}

type object struct {
	data []byte // never changed in place
	time time.Time
}

var _ store.Store = (*Mem)(nil)

// NewMem returns an empty store.
func NewMem(t testing.TB) *Mem {
	return &Mem{t: t, objects: make(map[string]object), once: make(map[string][sha256.Size]byte)}
}

// Clone returns a store with the same objects that from now on goes its own way.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Mem{t: m.t, objects: maps.Clone(m.objects), once: maps.Clone(m.once), temps: m.temps}
}

// Put implements store.Store.
func (m *Mem) Put(ctx context.Context, name string, data ...[]byte) error {
	if err := check(ctx, name); err != nil {
		return fmt.Errorf("putting %s: %w", name, err)
	}
	if store.InTemp(name) {
		return fmt.Errorf("putting %s: the name is reserved", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[name]; ok {
		return fmt.Errorf("putting %s: %w", name, fs.ErrExist)
	}
	whole := bytes.Join(data, nil)
	m.watchPut(name, whole)
	m.objects[name] = object{whole, time.Now()}
	return nil
}

func (m *Mem) watchPut(name string, data []byte) {
	m.t.Helper()
	if string(data) == store.Filler {
		return // in the place of what was lost
	}
	sum := sha256.Sum256(data)
	if before, ok := m.once[name]; ok && before != sum {
		m.t.Errorf("object %s is put with another content than it once had", name)
	}
	m.once[name] = sum
	if len(data) > store.MaxObject {
		m.t.Errorf("object %s is put with %d bytes, more than store.MaxObject", name, len(data))
	}
	if _, want := store.Parse(name); !want.IsZero() && want != sum {
		m.t.Errorf("object %s is put with a content of hash %x", name, sum)
	}
}

// ReadAt implements store.Store.
func (m *Mem) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	o, err := m.get(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	if off < 0 {
		return 0, fmt.Errorf("reading %s: negative offset", name)
	}
	n := copy(p, o.data[min(off, int64(len(o.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Stat implements store.Store.
func (m *Mem) Stat(ctx context.Context, name string) (store.Object, error) {
	o, err := m.get(ctx, name)
	if err != nil {
		return store.Object{}, fmt.Errorf("looking at %s: %w", name, err)
	}
	return store.Object{Name: name, Size: int64(len(o.data)), Time: o.time}, nil
}

func (m *Mem) get(ctx context.Context, name string) (object, error) {
	if err := check(ctx, name); err != nil {
		return object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	if !ok {
		return object{}, fs.ErrNotExist
	}
	return o, nil
}

// List implements store.Store.
func (m *Mem) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		if err := store.CheckPrefix(prefix); err != nil {
			yield(store.Object{}, fmt.Errorf("listing: %w", err))
			return
		}
		for _, name := range m.Names() {
			if !strings.HasPrefix(name, prefix) || prefix == "" && store.InTemp(name) {
				continue
			}
			o, err := m.Stat(ctx, name)
			if ctx.Err() == nil && err != nil {
				continue // removed meanwhile
			}
			if !yield(o, err) || err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(store.Object{}, fmt.Errorf("listing %q: %w", prefix, err))
		}
	}
}

// RoundTrip implements store.Store: memory is near.
func (m *Mem) RoundTrip() time.Duration { return 0 }

// Remove implements store.Store.
func (m *Mem) Remove(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[name]; !ok {
		return fmt.Errorf("removing %s: %w", name, fs.ErrNotExist)
	}
	if name == store.ConfigObject || m.continues(name) {
		m.t.Errorf("object %s is removed", name)
	}
	delete(m.objects, name)
	return nil
}

// continues reports whether an object of the log stands behind another one, or is the first.
func (m *Mem) continues(name string) bool {
	seq, ok := store.ParseLog(name)
	if !ok {
		return false
	}
	_, below := m.objects[store.LogObject(seq-1)]
	return seq == 0 || below
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return store.CheckPath(name)
}

// Names returns the names of all objects, sorted, those below tmp/ too.
func (m *Mem) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

// Bytes returns a copy of an object's content, or fails the test where there is none.
func (m *Mem) Bytes(name string) []byte {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	if !ok {
		m.t.Fatalf("there is no object %s", name)
	}
	return bytes.Clone(o.data)
}

// Set puts data at name in place of what is there.
func (m *Mem) Set(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = object{bytes.Clone(data), time.Now()}
}

// Corrupt flips the lowest bit of the byte at off, or counted from the end where off is negative.
func (m *Mem) Corrupt(name string, off int) {
	m.t.Helper()
	data := m.Bytes(name)
	if off < 0 {
		off += len(data)
	}
	data[off] ^= 1
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = object{data, m.objects[name].time}
}

// Delete makes an object vanish.
func (m *Mem) Delete(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
}

// SetTime makes an object look as if it was put at another time.
func (m *Mem) SetTime(name string, at time.Time) {
	m.t.Helper()
	data := m.Bytes(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = object{data, at}
}

// CloneFor is Clone for another test.
func (m *Mem) CloneFor(t testing.TB) *Mem {
	c := m.Clone()
	c.t = t
	return c
}

// byAge returns the names of all objects in the order of their times and sizes, which says nothing of their names.
func (m *Mem) byAge() []string {
	names := m.Names()
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortStableFunc(names, func(a, b string) int {
		x, y := m.objects[a], m.objects[b]
		return cmp.Or(x.time.Compare(y.time), cmp.Compare(len(x.data), len(y.data)))
	})
	return names
}

// leaveTemp leaves what an upload that died leaves.
func (m *Mem) leaveTemp(data []byte) {
	m.mu.Lock()
	m.temps++
	name := fmt.Sprintf("%s/%d", store.Temp, m.temps)
	m.mu.Unlock()
	m.Set(name, data)
}
