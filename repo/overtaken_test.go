package repo_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// What TestSimulate once found between the steps of two parties, each by itself and in an order that is always the same.

// overtaken returns a repository whose past has packs to delete and packs to rewrite, what its kept snapshot holds, and
// that snapshot. More than half of each pack is dead.
func overtaken(t *testing.T) (w *world, st *storetest.Mem, kept ledger.SnapshotRef, c content) {
	t.Helper()
	st = storetest.NewMem(t)
	w = newWorld(t, st, repo.InitOptions{})
	whole := night(1)
	c = make(content)
	for comp, list := range whole {
		c[comp] = list[:len(list)/3]
	}
	gone, _ := mustSnapshot(t, fresh(t, st, w.writer), whole, 1)
	kept, _ = mustSnapshot(t, fresh(t, st, w.writer), c, 2)
	if err := upkeep.Forget(t.Context(), fresh(t, st, w.writer), []store.Name{gone.ID}); err != nil {
		t.Fatal(err)
	}
	return w, st, kept, c
}

// before returns a view of st on which f is called before the first operation of a kind on a name that begins so.
func before(st store.Store, kind, name string, f func()) store.Store {
	var once sync.Once
	return &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == kind && strings.HasPrefix(op.Name, name) {
			once.Do(f)
		}
		return storetest.None
	}}
}

func mustPrune(t *testing.T, st store.Store, k *keys.Keyring) *upkeep.PruneResult {
	t.Helper()
	res, err := upkeep.Prune(t.Context(), fresh(t, st, k), mark, upkeep.PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Where another prune deletes what this one has planned with, that is no damage: it begins anew.
func TestPruneOvertakenByPrune(t *testing.T) {
	for kind, name := range map[string]string{
		"List":   "packs/", // what the index lists is gone
		"ReadAt": "packs/", // what is to be rewritten is gone
		"Put":    "packs/", // and nothing that was planned holds any more
	} {
		w, st, kept, c := overtaken(t)
		pruned := false
		r := fresh(t, before(st, kind, name, func() {
			pruned = true
			if mustPrune(t, st, w.owner).Rewritten == 0 {
				t.Error("the other prune rewrites nothing")
			}
		}), w.owner)
		if _, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{}); err != nil {
			t.Errorf("overtaken before it could %s %s: %v", kind, name, err)
		}
		if !pruned {
			t.Errorf("there was no %s of %s", kind, name)
		}
		if err := verify(t.Context(), fresh(t, st, w.owner), kept, c); err != nil {
			t.Error(err)
		}
		mustBeClean(t, fresh(t, st, w.owner))
	}
}

// A Reader finds what a prune has moved, whatever of the old is gone when it comes to look: packs, or the index object
// that lists them.
func TestReaderOvertakenByPrune(t *testing.T) {
	reads := map[string]func(context.Context, *repo.Reader, []chunk.ID) error{
		"Blob": func(ctx context.Context, rd *repo.Reader, ids []chunk.ID) error {
			_, err := rd.Blob(ctx, ids[0])
			return err
		},
		"Fetch": func(ctx context.Context, rd *repo.Reader, ids []chunk.ID) error {
			return rd.Fetch(ctx, ids, func(chunk.ID, []byte) error { return nil })
		},
		"Length": func(_ context.Context, rd *repo.Reader, ids []chunk.ID) error {
			if _, ok := rd.Length(ids[0]); !ok {
				return errors.New("it is not known")
			}
			return nil
		},
	}
	for name, read := range reads {
		for _, early := range []bool{false, true} {
			w, st, kept, _ := overtaken(t)
			r := fresh(t, st, w.owner)
			text, err := r.Manifest(t.Context(), kept)
			if err != nil {
				t.Fatal(err)
			}
			var rd *repo.Reader
			if early { // it knows of packs that are no more then
				rd, err = r.NewReader(t.Context(), instance)
			}
			mustPrune(t, st, w.owner)
			if !early { // it knows of an index object that is no more
				rd, err = r.NewReader(t.Context(), instance)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := read(t.Context(), rd, idsOf(text)); err != nil {
				t.Errorf("%s, index read before the prune: %v: %v", name, early, err)
			}
		}
	}
}

// A rotation and a prune fall into a restore: one who reads finds what was moved, under the new keys, while others read on.
// The race detector sees whether these share anything that changes.
func TestReaderOvertakenByRotation(t *testing.T) {
	w, st, kept, c := overtaken(t)
	live := night(5)
	other, _ := mustSnapshot(t, fresh(t, st, w.writer), live, 3)
	r := fresh(t, before(st, "ReadAt", "packs/", func() {
		rotated := viaFile(t, w.owner)
		if _, err := fresh(t, st, rotated).Rotate(t.Context(), nothing); err != nil {
			t.Error(err)
		}
		mustSnapshot(t, fresh(t, st, viaFile(t, w.writer)), c, 4)
		mustPrune(t, st, rotated)
	}), viaFile(t, w.owner))
	ids := func(ref ledger.SnapshotRef) []chunk.ID {
		text, err := r.Manifest(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return idsOf(text)
	}
	moved, stays := ids(kept), ids(other)
	rd, err := r.NewReader(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var reading sync.WaitGroup
	for range 3 {
		reading.Go(func() {
			for read := true; read; {
				if err := rd.Fetch(t.Context(), stays, func(chunk.ID, []byte) error { return nil }); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					read = false
				default:
				}
			}
		})
	}
	if err := rd.Fetch(t.Context(), moved, func(chunk.ID, []byte) error { return nil }); err != nil {
		t.Error(err)
	}
	close(done)
	reading.Wait()
	if err := verify(t.Context(), r, kept, c); err != nil {
		t.Error(err)
	}
}

// A partialList is a store whose listings miss some objects that were put while they were made.
type partialList struct {
	store.Store
	misses []string
}

func (s *partialList) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for o, err := range s.Store.List(ctx, prefix) {
			if !slices.Contains(s.misses, o.Name) && !yield(o, err) {
				return
			}
		}
	}
}

// A listing of the log that shows a later entry and not an earlier one is no damage, and what it misses is heeded.
func TestLogListedInPart(t *testing.T) {
	w, st, kept, c := overtaken(t)
	for _, misses := range [][]string{{"log/0000000000"}, {"log/0000000002"}, {"log/0000000001", "log/0000000002"}} {
		r, err := openFresh(t.Context(), &partialList{st, misses}, w.owner)
		if err != nil {
			t.Errorf("without %q: %v", misses, err)
			continue
		}
		if d := r.Damage(); len(d) > 0 {
			t.Errorf("without %q: %v", misses, d)
		}
		if got := r.Snapshots(); len(got) != 1 || got[0].ID != kept.ID {
			t.Errorf("without %q: snapshots %v", misses, got)
		}
		if err := verify(t.Context(), r, kept, c); err != nil {
			t.Errorf("without %q: %v", misses, err)
		}
	}
}

// A writer's prune leaves the owner's index objects alone, which speak for others too, and what it does name has effect.
// The owner's next prune drops those that list nothing any more.
func TestWriterPrunesAfterOwner(t *testing.T) {
	w, st, kept, _ := overtaken(t)
	mustPrune(t, st, w.owner) // the packs are listed by index objects of the owner's now
	other := night(2)
	last, _ := mustSnapshot(t, fresh(t, st, w.writer), other, 3)
	r := fresh(t, st, w.writer)
	if err := upkeep.Forget(t.Context(), r, []store.Name{kept.ID}); err != nil {
		t.Fatal(err)
	}
	if res := mustPrune(t, st, w.writer); res.Removed == 0 {
		t.Error("the writer's prune removes nothing")
	}
	o := fresh(t, st, w.owner)
	if got := o.Requests(); len(got) > 0 {
		t.Errorf("%d entries are without effect: %s", len(got), got[0].Why)
	}
	mustBeClean(t, o)
	if n := spent(t, o); n != 1 {
		t.Errorf("%d index objects list nothing any more, want the owner's", n)
	}
	mustPrune(t, st, w.owner)
	if n := spent(t, fresh(t, st, w.owner)); n != 0 {
		t.Errorf("%d index objects that list nothing any more are left", n)
	}
	if res := mustBeClean(t, fresh(t, st, w.owner)); res.Indexes != count(st, "index/") {
		t.Errorf("%d index objects are there, and %d are needed", count(st, "index/"), res.Indexes)
	}
	if err := verify(t.Context(), fresh(t, st, w.owner), last, other); err != nil {
		t.Error(err)
	}
}

// A Repo that has met others' entries when it published knows of their packs.
func TestIndexAfterCatchingUp(t *testing.T) {
	w, st, kept, _ := overtaken(t)
	r := fresh(t, st, w.writer)
	was, err := r.Listed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := night(2)
	mustSnapshot(t, fresh(t, st, w.writer), c, 3)
	if err := upkeep.Forget(t.Context(), r, []store.Name{kept.ID}); err != nil {
		t.Fatal(err)
	}
	if now, err := r.Listed(t.Context()); err != nil || len(now) <= len(was) {
		t.Errorf("%d packs are listed, and %d were before another snapshot: %v", len(now), len(was), err)
	}
}

// What a writer has uploaded, and no more, is left over where it was suspended for long enough: a prune that has named it
// keeps it from being published, and the next run stores it again.
func TestOwnUploadsPruned(t *testing.T) {
	w, st, _, _ := overtaken(t)
	c := night(2)
	wr, err := fresh(t, st, w.writer).NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	for comp, list := range c {
		for _, b := range list {
			if fresh, err := wr.Add(t.Context(), comp, wr.Sum(comp, b), b); !fresh || err != nil {
				t.Fatal(fresh, err)
			}
		}
	}
	if err := wr.Flush(); err != nil {
		t.Fatal(err)
	}
	if res, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{Grace: 1}); err != nil || res.LeftOver < len(c) {
		t.Fatalf("%+v, %v", res, err)
	}
	_, err = wr.Commit(t.Context(), []byte(`{"blobs":{}}`), ledger.SnapshotInfo{Instance: instance})
	if !errors.Is(err, repo.ErrPruned) {
		t.Errorf("commit: %v", err)
	}
	ref, _ := mustSnapshot(t, fresh(t, st, w.writer), c, 3)
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Error(err)
	}
	mustBeClean(t, fresh(t, st, w.owner))
}

// A prune asks for the storage's time by its lease, and is told it however often that is renewed meanwhile.
func TestLeaseRenewedMeanwhile(t *testing.T) {
	h := newSimPast(t)["one"][0]
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(h.end))
		st := h.mem.CloneFor(t)
		var renewals atomic.Int32
		slow := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
			if op.Kind == "Stat" && strings.HasPrefix(op.Name, "leases/") && renewals.Add(1) <= 10 {
				time.Sleep(5 * time.Minute)
			}
			return storetest.None
		}}
		if _, err := upkeep.Prune(t.Context(), fresh(t, slow, h.owner), mark, upkeep.PruneOptions{}); err != nil || renewals.Load() < 10 {
			t.Errorf("after %d renewals: %v", renewals.Load(), err)
		}
	})
}

// spent returns how many index objects the log names that list nothing but what prunes have named.
func spent(t *testing.T, r *repo.Repo) int {
	t.Helper()
	n, err := r.Spent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func count(st *storetest.Mem, dir string) (n int) {
	for _, name := range st.Names() {
		if strings.HasPrefix(name, dir) {
			n++
		}
	}
	return n
}
