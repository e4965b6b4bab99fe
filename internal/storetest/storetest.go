// Package storetest holds what tests of and over stores share: the conformance suite that every store.Store passes, a
// store in memory that watches over immutability, and a store in front of another one that fails on demand.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/repo/store"
)

// Run proves that a store keeps the contract of store.Store. Each call of open returns an empty store, for one test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	RunAppendOnly(t, open)
	t.Run("Remove", func(t *testing.T) { testRemove(t, open(t)) })
	t.Run("NoTemp", func(t *testing.T) { testNoTemp(t, open(t)) })
}

// RunAppendOnly is Run without what a store that can't remove objects can't do.
func RunAppendOnly(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		f    func(*testing.T, store.Store)
	}{
		{"Sizes", testSizes}, {"Names", testNames}, {"BadNames", testInvalidNames}, {"Exists", testExists},
		{"Exclusive", testExclusive}, {"Buffers", testBuffers}, {"Ranges", testRanges}, {"Absent", testAbsent},
		{"List", testList}, {"Many", testMany}, {"Large", testLarge}, {"Cancelled", testCancelled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.f(t, open(t)) })
	}
}

// Random returns n bytes that no compression or chance repeats; the same for the same seed.
func Random(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	rand.NewChaCha8(key).Read(p)
	return p
}

func put(t *testing.T, st store.Store, name string, data []byte) {
	t.Helper()
	if err := st.Put(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
}

// holds fails the test unless the object holds exactly want.
func holds(t *testing.T, st store.Store, name string, want []byte) {
	t.Helper()
	p := make([]byte, len(want)+1)
	n, err := st.ReadAt(t.Context(), name, p, 0)
	if err != io.EOF || !bytes.Equal(p[:n], want) {
		t.Fatalf("%s: read %d bytes, %v; want %d bytes, EOF; equal: %v", name, n, err, len(want), bytes.Equal(p[:n], want))
	}
	o, err := st.Stat(t.Context(), name)
	if err != nil || o.Name != name || o.Size != int64(len(want)) {
		t.Fatalf("%s: Stat: %+v, %v; want %d bytes", name, o, err, len(want))
	}
	if age := time.Since(o.Time); age > time.Hour || age < -time.Hour {
		t.Fatalf("%s: put at %v", name, o.Time)
	}
}

// names lists, sorted, and fails the test on an error.
func names(t *testing.T, st store.Store, prefix string) []string {
	t.Helper()
	var all []string
	for o, err := range st.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Name)
	}
	slices.Sort(all)
	return all
}

func testSizes(t *testing.T, st store.Store) {
	for i, size := range []int{0, 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 255 << 10, 255<<10 + 1, 1<<20 + 1} {
		name, data := fmt.Sprintf("sizes/%d", size), Random(uint64(i), size)
		put(t, st, name, data)
		holds(t, st, name, data)
	}
}

func testNames(t *testing.T, st store.Store) {
	all := []string{"config", "packs/ab/ab12", "packs/ab/ab13", "packs/abc", "log/0000000042", "keys/a.age", "a-b_c.d",
		"0", "a/b/c/d/e/f", "long/" + strings.Repeat("x", 64), "tmpx", "x/tmp/y"}
	for _, name := range all {
		put(t, st, name, []byte(name))
	}
	for _, name := range all {
		holds(t, st, name, []byte(name))
	}
	slices.Sort(all)
	if got := names(t, st, ""); !slices.Equal(got, all) {
		t.Errorf("listed %q, want %q", got, all)
	}
}

func testInvalidNames(t *testing.T, st store.Store) {
	ctx := t.Context()
	put(t, st, "dir/x", nil)
	for _, name := range []string{"", "/", "/etc/x", "..", "../x", "dir/../x", "dir/", "dir//x", "./x", "dir/.", ".hidden",
		"UPPER", "spa ce", "new\nline", "nul\x00", "back\\slash", "tmp/x"} {
		if err := st.Put(ctx, name, nil); err == nil {
			t.Errorf("Put of %q succeeds", name)
		}
		if name == "tmp/x" {
			continue // reserved, but may be looked at
		}
		if _, err := st.Stat(ctx, name); err == nil {
			t.Errorf("Stat of %q succeeds", name)
		}
		if _, err := st.ReadAt(ctx, name, nil, 0); err == nil {
			t.Errorf("ReadAt of %q succeeds", name)
		}
		if err := st.Remove(ctx, name); err == nil {
			t.Errorf("Remove of %q succeeds", name)
		}
	}
	for _, prefix := range []string{"dir", "/", "../", "dir/../", "dir//", "D/"} {
		for o, err := range st.List(ctx, prefix) {
			if err == nil {
				t.Errorf("List of %q yields %q", prefix, o.Name)
			}
		}
	}
	if got := names(t, st, ""); !slices.Equal(got, []string{"dir/x"}) {
		t.Errorf("left: %q", got)
	}
}

func testExists(t *testing.T, st store.Store) {
	put(t, st, "dir/a", []byte("first"))
	for _, again := range []string{"first", "second", "", "something longer"} {
		if err := st.Put(t.Context(), "dir/a", []byte(again)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("putting %q again: %v", again, err)
		}
		holds(t, st, "dir/a", []byte("first"))
	}
}

// Of several that put one name one succeeds, and who reads meanwhile sees nothing or all of it.
func testExclusive(t *testing.T, st store.Store) {
	const writers, size = 8, 600 << 10
	for round := range 3 {
		name := fmt.Sprintf("log/%010d", round)
		stop, reader := make(chan struct{}), sync.WaitGroup{}
		reader.Go(func() {
			p := make([]byte, size+1)
			for {
				n, err := st.ReadAt(t.Context(), name, p, 0)
				if !errors.Is(err, fs.ErrNotExist) && (n != size || err != io.EOF || p[0] != p[size-1]) {
					t.Errorf("a reader saw %d bytes, %v", n, err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { errs[i] = st.Put(t.Context(), name, bytes.Repeat([]byte{byte(i)}, size)) })
		}
		wg.Wait()
		close(stop)
		reader.Wait()
		winner := -1
		for i, err := range errs {
			if err == nil && winner >= 0 {
				t.Errorf("writers %d and %d both succeed", winner, i)
			} else if err == nil {
				winner = i
			} else if !errors.Is(err, fs.ErrExist) {
				t.Errorf("writer %d: %v", i, err)
			}
		}
		if winner < 0 {
			t.Fatal("nobody succeeds")
		}
		holds(t, st, name, bytes.Repeat([]byte{byte(winner)}, size))
	}
}

// The caller's buffers are its own again once a call has returned.
func testBuffers(t *testing.T, st store.Store) {
	data := Random(1, 700<<10)
	want := bytes.Clone(data)
	put(t, st, "a", data)
	clear(data)
	holds(t, st, "a", want)

	p := bytes.Repeat([]byte{0xa5}, 300<<10)
	if n, err := st.ReadAt(t.Context(), "a", p[100:200<<10], 5); n != 200<<10-100 || err != nil {
		t.Fatal(n, err)
	}
	if !bytes.Equal(p[100:200<<10], want[5:5+200<<10-100]) {
		t.Error("another content was read")
	}
	for i, b := range p {
		if b != 0xa5 && (i < 100 || i >= 200<<10) {
			t.Fatalf("byte %d outside the buffer was written", i)
		}
	}
}

func testRanges(t *testing.T, st store.Store) {
	const size = 600_000
	data := Random(2, size)
	put(t, st, "a", data)
	put(t, st, "empty", nil)
	tests := []struct {
		name   string
		length int
		offset int64
		n      int
		eof    bool
	}{
		{"a", 0, 0, 0, false}, {"a", 1, 0, 1, false}, {"a", 10, 5, 10, false},
		{"a", size, 0, size, false}, {"a", size + 1, 0, size, true}, {"a", 3 * size, 0, size, true},
		{"a", 1, size - 1, 1, false}, {"a", 2, size - 1, 1, true}, {"a", 1, size, 0, true}, {"a", size, size, 0, true},
		{"a", 1, size + 1, 0, true}, {"a", 10, 1 << 40, 0, true}, {"a", size, size / 2, size / 2, true},
		{"a", 32 << 10, 32 << 10, 32 << 10, false}, {"a", 255<<10 + 1, 255<<10 - 1, 255<<10 + 1, false},
		{"empty", 0, 0, 0, false}, {"empty", 1, 0, 0, true}, {"empty", 1 << 20, 0, 0, true},
	}
	for _, test := range tests {
		p := make([]byte, test.length)
		n, err := st.ReadAt(t.Context(), test.name, p, test.offset)
		if n != test.n || (err == io.EOF) != test.eof || !test.eof && err != nil {
			t.Errorf("%s: %d bytes from %d: %d, %v; want %d, EOF %v", test.name, test.length, test.offset, n, err, test.n, test.eof)
		} else if n > 0 && !bytes.Equal(p[:n], data[test.offset:][:n]) {
			t.Errorf("%s: %d bytes from %d: another content", test.name, test.length, test.offset)
		}
	}
	if n, err := st.ReadAt(t.Context(), "a", make([]byte, 1), -1); n != 0 || err == nil || err == io.EOF {
		t.Errorf("negative offset: %d, %v", n, err)
	}
}

func testAbsent(t *testing.T, st store.Store) {
	ctx := t.Context()
	look := func(name string) {
		t.Helper()
		if _, err := st.Stat(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat of %s: %v", name, err)
		}
		if n, err := st.ReadAt(ctx, name, make([]byte, 10), 0); n != 0 || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadAt of %s: %d, %v", name, n, err)
		}
	}
	look("a")
	look("dir/a")
	put(t, st, "dir/sub/a", nil)
	for _, name := range []string{"a", "dir/a", "dir", "dir/sub", "dir/sub/b", "dir/sub/a/b"} {
		look(name)
	}
	if got := names(t, st, "other/"); got != nil {
		t.Errorf("an absent prefix lists %q", got)
	}
}
