package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/repo/store"
)

func testList(t *testing.T, st store.Store) {
	ctx := t.Context()
	if got := names(t, st, ""); got != nil {
		t.Fatalf("the store is not empty: %q", got)
	}
	// No directory has two hexadecimal digits: some stores make all 256 of such ones at once, which each listing would read.
	all := map[string]int64{"config": 3, "packs/one/1": 0, "packs/one/2": 5, "packs/two/1": 70_000, "packsx/1": 1, "log/1": 2}
	for name, size := range all {
		put(t, st, name, make([]byte, size))
	}
	for prefix, want := range map[string]int{"": 6, "packs/": 3, "packs/one/": 2, "packsx/": 1, "log/": 1, "absent/": 0, "config/": 0} {
		seen := map[string]bool{}
		for o, err := range st.List(ctx, prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if size, ok := all[o.Name]; !ok || size != o.Size || seen[o.Name] || !strings.HasPrefix(o.Name, prefix) {
				t.Errorf("prefix %q yields %+v, want size %d; seen: %v", prefix, o, size, seen[o.Name])
			}
			if age := time.Since(o.Time); age > time.Hour || age < -time.Hour {
				t.Errorf("%s: put at %v", o.Name, o.Time)
			}
			seen[o.Name] = true
		}
		if len(seen) != want {
			t.Errorf("prefix %q yields %d objects, want %d", prefix, len(seen), want)
		}
	}
	for range st.List(ctx, "") {
		break // and nothing hangs
	}
}

// A hundred readers and writers at once, in more directories than a server lets files be open at a time.
func testMany(t *testing.T, st store.Store) {
	const objects, workers = 300, 20
	name := func(i int) string { return fmt.Sprintf("packs/%02x/%d", i%64, i) }
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < objects; i += workers {
				data := fmt.Appendf(nil, "object %d", i)
				if err := st.Put(t.Context(), name(i), data); err != nil {
					t.Error(err)
					return
				}
				p := make([]byte, len(data))
				if n, err := st.ReadAt(t.Context(), name(i), p, 0); n != len(p) || err != nil || !bytes.Equal(p, data) {
					t.Errorf("%s: %q, %v", name(i), p[:n], err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(names(t, st, "packs/")); got != objects {
		t.Errorf("%d objects are listed, want %d", got, objects)
	}
}

func testLarge(t *testing.T, st store.Store) {
	data := Random(3, 20<<20+12345)
	put(t, st, "large", data)
	holds(t, st, "large", data)
}

func testCancelled(t *testing.T, st store.Store) {
	put(t, st, "a", []byte("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.Put(ctx, "b", []byte("b")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if _, err := st.ReadAt(ctx, "a", make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAt: %v", err)
	}
	if _, err := st.Stat(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Stat: %v", err)
	}
	if err := st.Remove(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Remove: %v", err)
	}
	yields := 0
	for _, err := range st.List(ctx, "") {
		if yields++; !errors.Is(err, context.Canceled) {
			t.Errorf("List: %v", err)
		}
	}
	if yields != 1 {
		t.Errorf("List yields %d times, want one error", yields)
	}
	holds(t, st, "a", []byte("a")) // the store goes on
}

// Neither success nor failure leaves anything below tmp/.
func testNoTemp(t *testing.T, st store.Store) {
	put(t, st, "a", make([]byte, 1<<20))
	if err := st.Put(t.Context(), "a", make([]byte, 1<<20)); !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if got := names(t, st, "tmp/"); got != nil {
		t.Errorf("left: %q", got)
	}
}

func testRemove(t *testing.T, st store.Store) {
	ctx := t.Context()
	for range 2 {
		if err := st.Remove(ctx, "dir/a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removing an absent object: %v", err)
		}
		put(t, st, "dir/a", []byte("a"))
		put(t, st, "dir/b", []byte("b"))
		for _, name := range []string{"dir/a", "dir/b"} {
			if err := st.Remove(ctx, name); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Stat(ctx, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a removed object: %v", err)
			}
		}
		if got := names(t, st, ""); got != nil {
			t.Errorf("left: %q", got)
		}
	}
}
