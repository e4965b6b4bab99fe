package repo_test

import (
	"context"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// readsBlob returns an error unless an instance has the one blob of a snapshot that oneBlob made.
func readsBlob(ctx context.Context, st store.Store, k *keys.Keyring, ref ledger.SnapshotRef) error {
	r, err := openFresh(ctx, st, k)
	if err != nil {
		return err
	}
	text, err := r.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	rd, err := r.NewReader(ctx, ref.Instance)
	if err != nil {
		return err
	}
	return rd.Fetch(ctx, idsOf(text), func(chunk.ID, []byte) error { return nil })
}

// newPacks returns the packs that f puts.
func newPacks(st *storetest.Mem, f func()) []string {
	before := objectsOf(st, "packs")
	f()
	return slices.DeleteFunc(objectsOf(st, "packs"), func(n string) bool { return slices.Contains(before, n) })
}

// Of two copies of a blob that an instance has one goes, and the other one is what the storage has made of it. Another
// instance's copy serves nobody but that instance, be it ever so good: nothing is pruned unless the copy that stays is read.
func TestOthersCopyIsNone(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	b := blobs(6, 1, 5000)[0]
	var mine, theirs ledger.SnapshotRef
	one := func(k *keys.Keyring, of string, between func()) ledger.SnapshotRef {
		ref, err := oneBlob(t, st, k, of, b, between)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	theirs = one(evil, "evil.example", nil)
	copies := newPacks(st, func() {
		mine = one(w.writer, instance, func() { one(w.writer, instance, nil) })
	})
	if len(copies) != 2 {
		t.Fatalf("%d copies", len(copies))
	}
	for range 2 { // theirs is older, and then newer too
		pruned := 0
		for _, spoilt := range copies {
			st := st.CloneFor(t)
			data := st.Bytes(spoilt)
			data[len(data)-100] ^= 1
			st.Set(spoilt, data)
			_, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{})
			if err == nil {
				pruned++
			}
			for _, ref := range []ledger.SnapshotRef{mine, theirs} {
				if lost := readsBlob(t.Context(), st, w.owner, ref); lost != nil {
					t.Errorf("after a prune (%v) the snapshot of %s: %v", err, ref.Instance, lost)
				}
			}
		}
		if pruned != 1 {
			t.Errorf("%d of 2 prunes succeed, one can", pruned)
		}
		theirs = one(evil, "evil.example", nil)
	}
}

// A writer of the same instance, who is removed since, has listed a pack as what it is not, beside the true listing: what is dead
// by the one is alive by the other, and stays.
func TestPackListedOtherwise(t *testing.T) {
	for name, lie := range map[string]func(r *repo.Repo) ([]store.Name, error){
		"other blobs": func(r *repo.Repo) ([]store.Name, error) {
			return r.PutClaims(t.Context(), instance, func(length int) chunk.ID { return chunk.ID{1, byte(length)} })
		},
		"more": func(r *repo.Repo) ([]store.Name, error) {
			return r.PutLies(t.Context(), instance, repo.AsItIs, func(n int) int { return n + 1 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, st, _, first, c := twoInstances(t)
			b := blobs(6, 1, 5000)[0]
			ref, err := oneBlob(t, st, w.writer, instance, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			rogue, err := w.owner.NewWriter("rogue")
			if err != nil {
				t.Fatal(err)
			}
			if err := fresh(t, st, w.owner).AddPerson(t.Context(), rogue, ledger.Person{Name: "rogue", Instance: instance}, nil, ""); err != nil {
				t.Fatal(err)
			}
			r := fresh(t, st, rogue)
			listed, err := lie(r)
			if err != nil {
				t.Fatal(err)
			}
			e := &ledger.SnapshotEntry{Indexes: listed, SnapshotInfo: ledger.SnapshotInfo{Instance: instance, Date: "2026-06-02"}}
			if err := r.PublishSnapshot(t.Context(), []byte(`{"blobs":{}}`), e); err != nil {
				t.Fatal(err)
			}
			if err := fresh(t, st, w.owner).RemovePerson(t.Context(), "rogue"); err != nil {
				t.Fatal(err)
			}
			for _, k := range []*keys.Keyring{w.writer, w.owner} {
				_, err := upkeep.Prune(t.Context(), fresh(t, st, k), mark, upkeep.PruneOptions{})
				if lost := readsBlob(t.Context(), st, w.owner, ref); lost != nil {
					t.Errorf("after a prune by the %s (%v): %v", k.Role, err, lost)
				}
				if lost := verify(t.Context(), fresh(t, st, w.owner), first, c); lost != nil {
					t.Errorf("after a prune by the %s (%v): %v", k.Role, err, lost)
				}
			}
		})
	}
}

// The storage has spoilt an index object that this machine has in its cache. No other one finds what that lists: a copy that
// another index object lists stays, and so does another listing.
func TestPruneReadsListings(t *testing.T) {
	w, st, _, first, c := twoInstances(t)
	one := func(seed uint64, between func()) ledger.SnapshotRef {
		ref, err := oneBlob(t, st, w.writer, instance, blobs(seed, 1, 5000)[0], between)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	forgotten := one(5, nil)
	r := fresh(t, st, w.owner)
	again, err := r.PutLies(t.Context(), instance, repo.AsItIs, func(n int) int { return n }) // each pack has two listings
	if err != nil {
		t.Fatal(err)
	}
	e := &ledger.SnapshotEntry{Indexes: again, SnapshotInfo: ledger.SnapshotInfo{Instance: instance, Date: "2026-06-02"}}
	if err := r.PublishSnapshot(t.Context(), []byte(`{"blobs":{}}`), e); err != nil {
		t.Fatal(err)
	}
	twice := one(6, func() { one(6, nil) }) // and a blob two copies
	if err := upkeep.Forget(t.Context(), fresh(t, st, w.owner), []store.Name{forgotten.ID}); err != nil {
		t.Fatal(err)
	}
	for _, spoilt := range objectsOf(st, "index") {
		st := st.CloneFor(t)
		w := &world{t, st, w.owner, w.writer, t.TempDir()}
		if _, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{DryRun: true}); err != nil {
			t.Fatal(err)
		}
		data := st.Bytes(spoilt)
		data[len(data)-10] ^= 1
		st.Set(spoilt, data)
		lost := func() [2]bool {
			return [2]bool{verify(t.Context(), fresh(t, st, w.owner), first, c) != nil, readsBlob(t.Context(), st, w.owner, twice) != nil}
		}
		before := lost()
		_, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{})
		if after := lost(); after != before {
			t.Errorf("after a prune (%v) others lack %v, and %v before", err, after, before)
		}
	}
}
