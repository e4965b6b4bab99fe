// Package freelist keeps buffers that are used again and again. A sync.Pool loses them with every second garbage
// collection, and a program whose garbage is kept small collects often.
package freelist

import (
	"slices"
	"sync"
)

// A List holds free buffers of some sizes. Its methods may be called from any goroutine.
type List struct {
	sizes []int // ascending
	limit int

	mu   sync.Mutex
	free [][][]byte // by size
	held int        // bytes of all
}

// New returns an empty list for buffers of the given sizes in bytes, ascending. It holds at most limit bytes, which
// whoever comes first takes: buffers of other sizes make way for one that is given back.
func New(limit int, sizes ...int) *List {
	return &List{sizes: sizes, limit: limit, free: make([][][]byte, len(sizes))}
}

// Get returns an empty buffer with room for at least n bytes.
func (l *List) Get(n int) []byte {
	class, _ := slices.BinarySearch(l.sizes, n)
	if class == len(l.sizes) {
		return make([]byte, 0, n)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.take(class); b != nil {
		return b
	}
	return make([]byte, 0, l.sizes[class])
}

// Put gives back a buffer that Get has returned. The caller must not use it any more.
func (l *List) Put(b []byte) {
	class, ok := slices.BinarySearch(l.sizes, cap(b))
	if !ok || cap(b) > l.limit {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for other := range l.free {
		for other != class && l.held+cap(b) > l.limit && l.take(other) != nil {
		}
	}
	if l.held+cap(b) > l.limit {
		return
	}
	l.free[class] = append(l.free[class], b[:0])
	l.held += cap(b)
}

// take returns a free buffer of a size, or nil.
func (l *List) take(class int) []byte {
	last := len(l.free[class]) - 1
	if last < 0 {
		return nil
	}
	b := l.free[class][last]
	l.free[class][last] = nil
	l.free[class] = l.free[class][:last]
	l.held -= l.sizes[class]
	return b
}
