package storetest_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo/store"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.NewMem(t) })
}

func TestHookPasses(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return &storetest.Hook{Store: storetest.NewMem(t)} })
}

// recorder is a test that counts how often it was failed.
type recorder struct {
	testing.TB
	failures int
}

func (r *recorder) Errorf(string, ...any) { r.failures++ }
func (r *recorder) Helper()               {}

func TestMemWatches(t *testing.T) {
	hash := "packs/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // of nothing
	tests := []struct {
		name     string
		do       func(m *storetest.Mem) error
		failures int
	}{
		{"removal and the same again", func(m *storetest.Mem) error {
			return errors.Join(m.Put(t.Context(), "packs/x", nil), m.Remove(t.Context(), "packs/x"), m.Put(t.Context(), "packs/x", nil))
		}, 0},
		{"removal and another content", func(m *storetest.Mem) error {
			return errors.Join(m.Put(t.Context(), "packs/x", nil), m.Remove(t.Context(), "packs/x"), m.Put(t.Context(), "packs/x", []byte{1}))
		}, 1},
		{"right hash", func(m *storetest.Mem) error { return m.Put(t.Context(), hash, nil) }, 0},
		{"wrong hash", func(m *storetest.Mem) error { return m.Put(t.Context(), hash, []byte{1}) }, 1},
		{"log removed", func(m *storetest.Mem) error {
			return errors.Join(m.Put(t.Context(), "log/0000000000", nil), m.Remove(t.Context(), "log/0000000000"))
		}, 1},
		{"too long", func(m *storetest.Mem) error { return m.Put(t.Context(), "x", make([]byte, store.MaxObject+1)) }, 1},
	}
	for _, test := range tests {
		r := &recorder{TB: t}
		if err := test.do(storetest.NewMem(r)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if r.failures != test.failures {
			t.Errorf("%s: %d failures, want %d", test.name, r.failures, test.failures)
		}
	}
}

func TestMemHands(t *testing.T) {
	m := storetest.NewMem(t)
	m.Set("a", []byte("aa"))
	c := m.Clone()
	c.Corrupt("a", -1)
	if a, b := string(m.Bytes("a")), string(c.Bytes("a")); a != "aa" || b != "a`" {
		t.Errorf("%q and %q", a, b)
	}
	at := time.Unix(1e9, 0)
	c.SetTime("a", at)
	if o, err := c.Stat(t.Context(), "a"); err != nil || !o.Time.Equal(at) || o.Size != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	c.Delete("a")
	if a, b := m.Names(), c.Names(); !slices.Equal(a, []string{"a"}) || len(b) != 0 {
		t.Errorf("%q and %q", a, b)
	}
}

func TestFaults(t *testing.T) {
	ctx := t.Context()
	for _, fault := range []storetest.Fault{storetest.NotDone, storetest.Done, storetest.Part} {
		m := storetest.NewMem(t)
		h := &storetest.Hook{Store: m, Before: func(storetest.Op) storetest.Fault { return fault }}
		if err := h.Put(ctx, "a", []byte("data")); !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("Put: %v", err)
		}
		want := map[storetest.Fault][]string{storetest.Done: {"a"}, storetest.Part: {"tmp/1"}}[fault]
		if got := m.Names(); !slices.Equal(got, want) {
			t.Errorf("fault %d: Put leaves %q, want %q", fault, got, want)
		}
		m = storetest.NewMem(t)
		m.Set("a", []byte("data"))
		m.Set("b", nil)
		h.Store = m
		n, err := h.ReadAt(ctx, "a", make([]byte, 4), 0)
		if want := map[storetest.Fault]int{storetest.Done: 4, storetest.Part: 2}[fault]; n != want || err == nil || err == io.EOF {
			t.Errorf("fault %d: ReadAt: %d, %v", fault, n, err)
		}
		listed := 0
		for _, err = range h.List(ctx, "") {
			if err == nil {
				listed++
			}
		}
		if want := map[storetest.Fault]int{storetest.Done: 2, storetest.Part: 1}[fault]; listed != want || !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("fault %d: List yields %d, then %v", fault, listed, err)
		}
		if err := h.Remove(ctx, "a"); !errors.Is(err, storetest.ErrInjected) {
			t.Errorf("Remove: %v", err)
		}
		if _, err := m.Stat(ctx, "a"); errors.Is(err, fs.ErrNotExist) != (fault == storetest.Done) {
			t.Errorf("fault %d: after Remove: %v", fault, err)
		}
	}
}

func TestCrashAt(t *testing.T) {
	ctx := t.Context()
	for n := 0; ; n++ {
		m := storetest.NewMem(t)
		st, crashed := storetest.CrashAt(m, n, storetest.Done)
		for i := range 3 {
			st.Put(ctx, fmt.Sprint(i), nil)
			st.Stat(ctx, fmt.Sprint(i))
		}
		if crashed() != (n < 3) {
			t.Fatalf("crash point %d: %v", n, crashed())
		}
		if got := len(m.Names()); got != min(n+1, 3) {
			t.Fatalf("crash point %d: %d objects", n, got)
		}
		if !crashed() {
			break
		}
	}
}
