package repo_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

var lies = []crashMode{
	{storetest.Claimed, failAt}, {storetest.Cut, failAt}, {storetest.Claimed, failFrom}, {storetest.Cut, failFrom},
}

// failFrom is failAt with every change from number n on meeting the fault.
func failFrom(st store.Store, n int, fault storetest.Fault) (view *storetest.Hook, failed func() bool) {
	var ops atomic.Int64
	return &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Changes() && ops.Add(1) > int64(n) {
			return fault
		}
		return storetest.None
	}}, func() bool { return ops.Load() > int64(n) }
}

// What a storage reports done and has not done, or done in part, is never acknowledged: a snapshot, a prune, a repair, a
// key. And nothing is lost by it that was there.
func TestLyingStore(t *testing.T) {
	h := newCrashes(t)
	for _, k := range h.cases {
		t.Run(k.name, func(t *testing.T) {
			for i, m := range lies {
				k.crash(t, fmt.Sprint("lie ", i), m, func(what string, st store.Store, done bool) {
					if m.fault != storetest.Cut {
						h.sound(t, k, what, st, done)
					}
					// Half an object stays as what it is: junk that a check may name, and nothing references.
					r := afterCrash(t, what, st, h.owner, k.must, h.nights, h.refs, done && k.name == "snapshot")
					if done && k.done != nil && !k.done(r) {
						t.Fatalf("%s: it was acknowledged, and is not so", what)
					}
				})
			}
		})
	}
}

// The error says which object the storage reported done, and what to look at.
func TestLyingStoreNamed(t *testing.T) {
	for _, dir := range []string{"packs/", "index/", "manifests/", "log/"} {
		for fault, want := range map[storetest.Fault]string{storetest.Claimed: "there is no such object", storetest.Cut: ""} {
			st := storetest.NewMem(t)
			w := newWorld(t, st, repo.InitOptions{})
			liar := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
				if op.Kind == "Put" && strings.HasPrefix(op.Name, dir) {
					return fault
				}
				return storetest.None
			}}
			r, err := openRepo(t.Context(), liar, w.writer, repo.Options{StateDir: filepath.Join(t.TempDir(), "state")})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = snapshot(t.Context(), r, night(1), 1)
			var lie *store.FalseReportError
			if !errors.As(err, &lie) || !strings.HasPrefix(lie.Object, dir) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, fault %d: %v", dir, fault, err)
			}
			if n := len(w.open(w.owner).Snapshots()); n != 0 {
				t.Errorf("%s, fault %d: %d snapshots are listed", dir, fault, n)
			}
		}
	}
}

// Init makes no repository where its config or the log's first entry is not kept.
func TestLyingInit(t *testing.T) {
	for _, name := range []string{"config", "log/"} {
		for _, fault := range []storetest.Fault{storetest.Claimed, storetest.Cut} {
			st := storetest.NewMem(t)
			owner, err := keys.NewOwner()
			if err != nil {
				t.Fatal(err)
			}
			writer, err := owner.NewWriter("w")
			if err != nil {
				t.Fatal(err)
			}
			liar := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
				if op.Kind == "Put" && strings.HasPrefix(op.Name, name) {
					return fault
				}
				return storetest.None
			}}
			var lie *store.FalseReportError
			if err := initRepo(t.Context(), liar, owner, writer, repo.InitOptions{}); !errors.As(err, &lie) || !strings.HasPrefix(lie.Object, name) {
				t.Errorf("%s, fault %d: %v", name, fault, err)
			}
		}
	}
}

// flipping is a store that keeps another byte of what it is given below a directory.
type flipping struct {
	*storetest.Mem
	dir string
}

func (f flipping) Put(ctx context.Context, name string, data ...[]byte) error {
	err := f.Mem.Put(ctx, name, data...)
	if err == nil && strings.HasPrefix(name, f.dir) {
		kept := f.Bytes(name)
		kept[len(kept)/2] ^= 1
		f.Set(name, kept)
	}
	return err
}

// What leads to everything else is read back: one byte of a manifest, an index object or a key that is another one is noticed
// before anything refers to it.
func TestWrongBytesNamed(t *testing.T) {
	for _, dir := range []string{"index/", "manifests/", "keys/", "log/"} {
		st := storetest.NewMem(t)
		w := newWorld(t, st, repo.InitOptions{})
		var err error
		if dir == "keys/" {
			id, idErr := age.GenerateHybridIdentity()
			k, newErr := w.owner.NewWriter("host")
			if err := errors.Join(idErr, newErr); err != nil {
				t.Fatal(err)
			}
			to := id.Recipient()
			err = fresh(t, flipping{st, dir}, w.owner).AddPerson(t.Context(), k, ledger.Person{Name: "host"}, to, to.String())
		} else {
			_, _, err = snapshot(t.Context(), fresh(t, flipping{st, dir}, w.writer), night(1), 1)
		}
		var lie *store.FalseReportError
		if !errors.As(err, &lie) || !strings.HasPrefix(lie.Object, dir) || !strings.Contains(err.Error(), "something else") {
			t.Errorf("%s: %v", dir, err)
		}
		if r := fresh(t, st, w.owner); len(r.Snapshots()) != 0 || len(r.Roster()) != 2 {
			t.Errorf("%s: it was published", dir)
		}
	}
}
