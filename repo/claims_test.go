package repo_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// after returns a view of st on which f is called after each operation of a kind on a name that begins so.
func after(st store.Store, kind, name string, f func(object string)) store.Store {
	var one sync.Mutex
	return &storetest.Hook{Store: st, After: func(op storetest.Op, err error) {
		if op.Kind == kind && strings.HasPrefix(op.Name, name) && err == nil {
			one.Lock()
			defer one.Unlock()
			f(op.Name)
		}
	}}
}

// A writer of another instance sees each manifest, index object and pack that a run puts, and is faster to publish entries that
// name them: as its own snapshot's, and as what its prune takes for left over. The run is committed and whole all the same.
func TestNobodyTakesNames(t *testing.T) {
	names := func(object string) []store.Name {
		name, err := store.ParseName(object[strings.LastIndexByte(object, '/')+1:])
		if err != nil {
			t.Fatal(err)
		}
		return []store.Name{name}
	}
	claim := func(n store.Name) *ledger.Entry {
		e := evilSnapshot()
		e.Snapshot.Manifest = n
		return e
	}
	for what, c := range map[string]struct {
		put   string
		names func(object string) *ledger.Entry
	}{
		"a manifest, claimed":      {"manifests/", func(o string) *ledger.Entry { return claim(names(o)[0]) }},
		"a manifest, pruned":       {"manifests/", func(o string) *ledger.Entry { return &ledger.Entry{Prune: &ledger.PruneEntry{Manifests: names(o)}} }},
		"an index object, pruned":  {"index/", func(o string) *ledger.Entry { return &ledger.Entry{Prune: &ledger.PruneEntry{Indexes: names(o)}} }},
		"an index object, claimed": {"index/", func(o string) *ledger.Entry { return evilSnapshot(names(o)...) }},
		"a pack, pruned":           {"packs/", func(o string) *ledger.Entry { return &ledger.Entry{Prune: &ledger.PruneEntry{Packs: names(o)}} }},
	} {
		t.Run(what, func(t *testing.T) {
			w, st, evil, ref, first := twoInstances(t)
			view := after(st, "Put", c.put, func(object string) {
				if err := fresh(t, st, evil).PublishRaw(t.Context(), c.names(object)); err != nil {
					t.Error(err)
				}
			})
			var refs []ledger.SnapshotRef
			for n := range 3 {
				ref, _, err := snapshot(t.Context(), fresh(t, view, w.writer), night(uint64(7+n)), 2+n)
				if err != nil {
					t.Errorf("night %d: %v", n, err)
					continue
				}
				refs = append(refs, ref)
			}
			if t.Failed() {
				return
			}
			// What the other names once more makes no difference, nor does an owner who cleans up behind it.
			older(st, slices.DeleteFunc(st.Names(), func(n string) bool { return strings.HasPrefix(n, "leases/") })...)
			for _, object := range objectsOf(st, c.put[:len(c.put)-1]) {
				if err := fresh(t, st, evil).PublishRaw(t.Context(), c.names(object)); err != nil {
					t.Fatal(err)
				}
			}
			wholeAfterPrune(t, w, st, ref, first)
			for n, ref := range refs {
				if err := verify(t.Context(), fresh(t, st, w.owner), ref, night(uint64(7+n))); err != nil {
					t.Errorf("night %d: %v", n, err)
				}
			}
		})
	}
}

// A writer of another instance has named what a run has just uploaded, and the run took no notice: no prune deletes it while
// the run publishes its entry.
func TestNamedByOthersIsNotSwept(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	was := st.Names()
	steps := []func(){
		func() {
			e := &ledger.PruneEntry{}
			for kind, names := range map[string]*[]store.Name{"packs": &e.Packs, "index": &e.Indexes, "manifests": &e.Manifests} {
				for _, object := range objectsOf(st, kind) {
					if name, err := store.ParseName(object[strings.LastIndexByte(object, '/')+1:]); err == nil && !slices.Contains(was, object) {
						*names = append(*names, name)
					}
				}
			}
			if err := fresh(t, st, evil).PublishRaw(t.Context(), &ledger.Entry{Prune: e}); err != nil || len(e.Packs)+len(e.Indexes)+len(e.Manifests) < 3 {
				t.Errorf("%+v, %v", e, err)
			}
		},
		func() {
			for _, k := range []*keys.Keyring{w.owner, w.writer} {
				mustPrune(t, st, k)
			}
		},
	}
	view := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "Put" && strings.HasPrefix(op.Name, "log/") && len(steps) > 0 {
			step := steps[0]
			steps = steps[1:]
			step()
		}
		return storetest.None
	}}
	c := night(7)
	ref, _ := mustSnapshot(t, fresh(t, view, w.writer), c, 2)
	if len(steps) > 0 {
		t.Fatal("the run was not overtaken")
	}
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Error(err)
	}
	mustBeClean(t, fresh(t, st, w.owner))
}

// What a run has uploaded long ago, a prune by another instance's writer may name, and delete at any time from then on: the run
// is not committed.
func TestOldUploadsPrunedByOthers(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	was := st.Names()
	wr, err := fresh(t, st, w.writer).NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range night(7)[repo.Media] {
		if _, err := wr.Add(t.Context(), repo.Media, wr.Sum(repo.Media, b), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := wr.Flush(); err != nil {
		t.Fatal(err)
	}
	uploaded := slices.DeleteFunc(objectsOf(st, "packs"), func(n string) bool { return slices.Contains(was, n) })
	older(st, uploaded...)
	dies := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "Remove" && slices.Contains(uploaded, op.Name) {
			return storetest.NotDone
		}
		return storetest.None
	}}
	if _, err := upkeep.Prune(t.Context(), fresh(t, dies, evil), mark, upkeep.PruneOptions{}); !errors.Is(err, storetest.ErrInjected) {
		t.Fatalf("the other's prune: %v", err)
	}
	if _, err := wr.Commit(t.Context(), []byte(`{"blobs":{}}`), ledger.SnapshotInfo{Instance: instance}); !errors.Is(err, repo.ErrPruned) {
		t.Errorf("commit: %v", err)
	}
}

// How long a blob is that an instance has stored, a writer of another one does not say.
func TestLengthByOthers(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	b := blobs(6, 1, 5000)[0]
	if _, err := oneBlob(t, st, evil, "evil.example", b, nil); err != nil {
		t.Fatal(err)
	}
	for of, k := range map[string]*keys.Keyring{instance: w.writer, "evil.example": evil} {
		wr, err := fresh(t, st, k).NewWriter(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := wr.Length(wr.Sum(repo.Media, b)); ok != (k == evil) {
			t.Errorf("of %s a blob has %d bytes, %v", of, n, ok)
		}
		wr.Abort()
	}
}
