package freelist_test

import (
	"testing"

	"permafrost/internal/freelist"
)

func same(a, b []byte) bool { return &a[:1][0] == &b[:1][0] }

func TestList(t *testing.T) {
	l := freelist.New(25, 4, 10)
	a, b := l.Get(3), l.Get(10)
	if len(a) != 0 || cap(a) != 4 || len(b) != 0 || cap(b) != 10 {
		t.Fatalf("buffers of %d and %d bytes", cap(a), cap(b))
	}
	l.Put(a)
	l.Put(b[:7])
	if got := l.Get(1); !same(got, a) {
		t.Error("a free buffer was not used again")
	}
	if got := l.Get(5); !same(got, b) || len(got) != 0 {
		t.Error("a free buffer of the right size was not used again")
	}
	if got := l.Get(11); cap(got) != 11 {
		t.Errorf("a long buffer has %d bytes", cap(got))
	}
	l.Put(make([]byte, 11)) // none of its own
	if got := l.Get(10); cap(got) != 10 {
		t.Errorf("the list took a buffer of %d bytes", cap(got))
	}
}

// Buffers of a size that nobody asks for any more do not keep others out.
func TestOtherSizesMakeWay(t *testing.T) {
	l := freelist.New(25, 4, 10)
	for range 6 {
		l.Put(make([]byte, 4))
	}
	x, y, z := make([]byte, 10), make([]byte, 10), make([]byte, 10)
	l.Put(x)
	l.Put(y)
	l.Put(z) // there is room for two
	if a, b := l.Get(10), l.Get(10); !same(a, y) || !same(b, x) {
		t.Error("the list did not keep what it has room for")
	}
	if c := l.Get(10); same(c, z) {
		t.Error("the list held more than its limit")
	}
}
