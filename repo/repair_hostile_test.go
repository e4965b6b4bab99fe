package repo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// oneBlob makes a snapshot of an instance with a single blob, and calls between before it is committed.
func oneBlob(t *testing.T, st store.Store, k *keys.Keyring, of string, b []byte, between func()) (ledger.SnapshotRef, error) {
	t.Helper()
	w, err := fresh(t, st, k).NewWriter(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	id := w.Sum(repo.Media, b)
	if _, err := w.Add(t.Context(), repo.Media, id, b); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if between != nil {
		between()
	}
	return w.Commit(t.Context(), fmt.Appendf(nil, `{"blobs":{"media":["%v"]}}`, id), ledger.SnapshotInfo{Instance: of, Date: "2026-06-02"})
}

// committedIsWhole asserts that a snapshot that was acknowledged is whole; one that a prune has overtaken need not be.
func committedIsWhole(t *testing.T, w *world, st store.Store, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, repo.ErrPruned) {
		t.Fatal(err)
	}
	_, problems := check(t, fresh(t, st, w.owner), upkeep.CheckOptions{})
	for _, p := range problems {
		t.Errorf("after %v: %v", err, p)
	}
}

func mustRepairIndex(t *testing.T, st store.Store, k *keys.Keyring) *upkeep.IndexRepair {
	t.Helper()
	res, err := upkeep.RepairIndex(t.Context(), fresh(t, st, k), mark, upkeep.RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func pruneAs(t *testing.T, st store.Store, k *keys.Keyring) {
	t.Helper()
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, k), mark, upkeep.PruneOptions{MaxUnused: 0.999}); err != nil {
		t.Fatal(err)
	}
}

// A writer of another instance prunes, in all honesty, while a run of this one is under way that references packs which a
// repair has found, or whose uploads are old or in no index yet: what is acknowledged is whole.
func TestPruneByOtherInstance(t *testing.T) {
	b := blobs(6, 1, 5000)[0]
	t.Run("left by an interrupted run", func(t *testing.T) {
		w, st, other, _, _ := twoInstances(t)
		if _, err := oneBlob(t, st, other, "evil.example", blobs(5, 1, 5000)[0], nil); err != nil {
			t.Fatal(err)
		}
		r := fresh(t, st, w.writer)
		run, err := r.NewWriter(t.Context(), instance)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run.Add(t.Context(), repo.Media, run.Sum(repo.Media, b), b); err != nil {
			t.Fatal(err)
		}
		if err := run.Flush(); err != nil {
			t.Fatal(err)
		}
		run.Abort()
		if res := mustRepairIndex(t, st, w.owner); res.Listed+res.Read+res.Added > 0 {
			t.Errorf("a repair of a whole index did %+v", res)
		}
		_, err = oneBlob(t, st, w.writer, instance, b, func() { pruneAs(t, st, other) })
		committedIsWhole(t, w, st, err)
	})
	t.Run("under way when the other's index is repaired", func(t *testing.T) {
		w, st, other, _, _ := twoInstances(t)
		before := objectsOf(st, "index")
		if _, err := oneBlob(t, st, other, "evil.example", b, nil); err != nil {
			t.Fatal(err)
		}
		for _, n := range objectsOf(st, "index") {
			if !slices.Contains(before, n) {
				st.Delete(n)
			}
		}
		_, err := oneBlob(t, st, w.writer, instance, b, func() {
			mustRepairIndex(t, st, w.owner)
			o := fresh(t, st, w.owner)
			for _, s := range o.Snapshots() {
				if s.Instance != instance {
					if err := upkeep.Forget(t.Context(), o, []store.Name{s.ID}); err != nil {
						t.Fatal(err)
					}
				}
			}
			pruneAs(t, st, other)
		})
		committedIsWhole(t, w, st, err)
	})
	t.Run("listed for both", func(t *testing.T) {
		w, st, other, first, _ := twoInstances(t)
		mine, err := oneBlob(t, st, w.writer, instance, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := fresh(t, st, other)
		listed, err := r.PutLies(t.Context(), "evil.example", repo.AsItIs, func(n int) int { return n })
		if err != nil {
			t.Fatal(err)
		}
		theirs := publishStolen(t, r, []byte(`{"blobs":{}}`), listed)
		if err := upkeep.Forget(t.Context(), fresh(t, st, w.owner), []store.Name{first.ID, mine.ID, theirs.ID}); err != nil {
			t.Fatal(err)
		}
		_, err = oneBlob(t, st, w.writer, instance, b, func() { pruneAs(t, st, other) })
		if err != nil {
			t.Error(err)
		}
		pruneAs(t, st, w.owner) // it drops the listing
		committedIsWhole(t, w, st, err)
	})
	t.Run("taken for left over", func(t *testing.T) {
		w, st, other, _, _ := twoInstances(t)
		_, err := oneBlob(t, st, w.writer, instance, b, func() {
			for _, n := range objectsOf(st, "packs") {
				st.SetTime(n, time.Now().Add(-100*time.Hour))
			}
			pruneAs(t, st, other)
		})
		if !errors.Is(err, repo.ErrPruned) {
			t.Errorf("commit: %v", err)
		}
		committedIsWhole(t, w, st, err)
	})
}

// What others list stands in nobody's way, whether they mean well or not: a repair looks at each instance by itself.
func TestRepairIndexListedByOthers(t *testing.T) {
	for _, as := range []string{"evil.example", instance} {
		t.Run(as, func(t *testing.T) {
			w, st, evil, ref, c := twoInstances(t)
			mine := objectsOf(st, "index")
			r := fresh(t, st, evil)
			listed, err := r.PutLies(t.Context(), as, repo.AsItIs, func(n int) int { return n })
			if err == nil {
				err = r.PublishRaw(t.Context(), evilSnapshot(listed...))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range mine {
				st.Delete(n)
			}
			mustRepairIndex(t, st, w.owner)
			if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pack that no index object would hold, and one that claims another's blobs, are told of and stand in nobody's way.
func TestRepairIndexForgedPacks(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	r := fresh(t, st, evil)
	text, err := r.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	ids := idsOf(text)
	one := make([][]byte, len(ids))
	for i := range one {
		one[i] = []byte{1}
	}
	claims, err := r.PutPack(t.Context(), instance, one, func(i int) chunk.ID { return ids[i] }, 0)
	if err != nil {
		t.Fatal(err)
	}
	hello := []byte("hello")
	fat, err := r.PutPack(t.Context(), instance, [][]byte{hello}, func(int) chunk.ID { return r.DataSum(hello) }, 12)
	if err != nil {
		t.Fatal(err)
	}
	st.Delete(objectsOf(st, "index")[0])
	var told strings.Builder
	if _, err := upkeep.RepairIndex(t.Context(), w.open(w.owner), mark, upkeep.RepairOptions{Problem: func(err error) { fmt.Fprintln(&told, err) }}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []store.Name{claims, fat} {
		if !strings.Contains(told.String(), name.String()) {
			t.Errorf("nothing is told of %v:\n%s", name, &told)
		}
	}
	whole := func(when string) {
		t.Helper()
		if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil { // lengths too
			t.Errorf("%s: %v", when, err)
		}
	}
	whole("after the repair of the index")
	if _, err := upkeep.RepairPacks(t.Context(), fresh(t, st, w.owner), upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	whole("after the repair of packs")
	pruneAs(t, st, w.owner)
	whole("after a prune")
	mustBeClean(t, fresh(t, st, w.owner))
}

// What a removed writer has listed is not relied on, whatever the owner writes anew.
func TestRemovedWriterStaysRemoved(t *testing.T) {
	for name, rewrite := range map[string]func(t *testing.T, w *world, st *storetest.Mem, refs []ledger.SnapshotRef){
		"repair": func(t *testing.T, w *world, st *storetest.Mem, _ []ledger.SnapshotRef) {
			st.Delete(largestPack(st))
			if _, err := upkeep.RepairPacks(t.Context(), fresh(t, st, w.owner), upkeep.RepairOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"prune": func(t *testing.T, w *world, st *storetest.Mem, refs []ledger.SnapshotRef) {
			if err := upkeep.Forget(t.Context(), fresh(t, st, w.owner), []store.Name{refs[1].ID}); err != nil {
				t.Fatal(err)
			}
			pruneAs(t, st, w.owner)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, st, _, refs := twoNights(t)
			stolen := fresh(t, st, w.writer)
			claimed := make(map[chunk.ID]int)
			lies, err := stolen.PutClaims(t.Context(), instance, func(n int) chunk.ID {
				id := stolen.DataSum(make([]byte, n))
				claimed[id] = n
				return id
			})
			if err != nil {
				t.Fatal(err)
			}
			e := &ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: store.Name{6}, Indexes: lies, SnapshotInfo: ledger.SnapshotInfo{Instance: instance, Date: "2026-06-03"}}}
			if err := stolen.PublishRaw(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			o := fresh(t, st, w.owner)
			second, err := w.owner.NewWriter("web2")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(upkeep.Forget(t.Context(), o, []store.Name{newestID(o)}), o.RemovePerson(t.Context(), "web1"),
				o.AddPerson(t.Context(), second, ledger.Person{Name: "web2", Instance: instance}, nil, "")); err != nil {
				t.Fatal(err)
			}
			rewrite(t, w, st, refs)
			run, err := fresh(t, st, second).NewWriter(t.Context(), instance)
			if err != nil {
				t.Fatal(err)
			}
			defer run.Abort()
			for id, n := range claimed {
				if has, err := run.Has(t.Context(), id, n); has || err != nil {
					t.Errorf("what the removed writer claims of a blob of %d bytes is relied on, %v", n, err)
				}
			}
		})
	}
}

// A repair publishes nothing where it has nothing to say.
func TestRepairNothing(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	r := fresh(t, st, w.writer)
	run, err := r.NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	b := blobs(6, 1, 5000)[0]
	if _, err := run.Add(t.Context(), repo.Media, run.Sum(repo.Media, b), b); err != nil {
		t.Fatal(err)
	}
	if err := run.Flush(); err != nil {
		t.Fatal(err)
	}
	run.Abort()
	before := st.Names()
	mustRepairIndex(t, st, w.owner)
	if _, err := upkeep.RepairPacks(t.Context(), fresh(t, st, w.owner), upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, st.Names()) {
		t.Errorf("%q became %q", before, st.Names())
	}
}

// A pack that was away while packs were repaired comes back.
func TestRepairComesBack(t *testing.T) {
	w, st, nights, refs := twoNights(t)
	victim := largestPack(st)
	data := st.Bytes(victim)
	st.Delete(victim)
	if _, err := upkeep.RepairPacks(t.Context(), fresh(t, st, w.owner), upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, problems := check(t, fresh(t, st, w.owner), upkeep.CheckOptions{}); len(problems) == 0 {
		t.Error("a check finds nothing lost")
	}
	st.Set(victim, data)
	mustRepairIndex(t, st, w.owner)
	wholeAgain(t, w, st, nights, refs)
}

// An index object that this program is too old for is not damaged.
func TestRepairNewer(t *testing.T) {
	w, st, _, _ := twoNights(t)
	r := fresh(t, st, w.writer)
	n, err := r.PutNewerIndex(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := &ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: store.Name{6}, Indexes: []store.Name{n}, SnapshotInfo: ledger.SnapshotInfo{Instance: instance, Date: "2026-06-03"}}}
	if err := r.PublishRaw(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if res, err := upkeep.RepairIndex(t.Context(), fresh(t, st, w.owner), mark, upkeep.RepairOptions{}); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("%+v, %v", res, err)
	}
}

// A disk that fails in places keeps no repair and no check from the rest.
func TestRepairUnreadable(t *testing.T) {
	w, st, nights, _ := twoNights(t)
	victim := largestPack(st)
	view := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "ReadAt" && op.Name == victim {
			return storetest.NotDone
		}
		return storetest.None
	}}
	r := fresh(t, view, w.owner)
	res, problems := check(t, r, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
	if len(problems) == 0 || len(res.Damaged) != 1 || !strings.HasSuffix(victim, res.Damaged[0].String()) {
		t.Errorf("check: %+v, %v", res, problems)
	}
	if err := upkeep.ReportDamaged(t.Context(), r, res.Damaged); err != nil {
		t.Fatal(err)
	}
	if got, err := upkeep.RepairPacks(t.Context(), r, upkeep.RepairOptions{}); err != nil || len(got.Packs) != 1 || got.Lost == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, n := range objectsOf(st, "index") {
		st.Delete(n)
	}
	mustRepairIndex(t, view, w.owner)
	for i, c := range nights {
		mustSnapshot(t, fresh(t, view, w.writer), c, i+3)
	}
	mustBeClean(t, fresh(t, view, w.owner))
}

// What is lost for good lets nothing be pruned, until a person has accepted it; what is listed and away is no such loss.
func TestPruneAcceptLost(t *testing.T) {
	w, st, nights, refs := twoNights(t)
	o := fresh(t, st, w.owner)
	if err := upkeep.Forget(t.Context(), o, []store.Name{refs[0].ID}); err != nil {
		t.Fatal(err)
	}
	victim := largestPack(st)
	data := st.Bytes(victim)
	st.Delete(victim)
	accept := upkeep.PruneOptions{AcceptLost: true}
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, accept); err == nil {
		t.Error("pruned while a listed pack is away")
	}
	st.Set(victim, flip(data, len(data)/2))
	r := fresh(t, st, w.owner)
	res, _ := check(t, r, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
	if err := upkeep.ReportDamaged(t.Context(), r, res.Damaged); err != nil {
		t.Fatal(err)
	}
	got, err := upkeep.RepairPacks(t.Context(), r, upkeep.RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{}); err == nil {
		t.Error("pruned without a word of what is lost")
	}
	pruned, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, accept)
	if err != nil || pruned.Lost == 0 || pruned.Lost > got.Lost || pruned.Removed == 0 {
		t.Errorf("%+v of %+v, %v", pruned, got, err)
	}
	mustSnapshot(t, fresh(t, st, w.writer), nights[1], 3)
	if err := verify(t.Context(), fresh(t, st, w.owner), refs[1], nights[1]); err != nil {
		t.Errorf("after the next night: %v", err)
	}
	mustBeClean(t, fresh(t, st, w.owner))
}

// One read that fails says nothing of a pack: what a repair gives up is lost.
func TestRepairReadFailsOnce(t *testing.T) {
	w, st, nights, refs := twoNights(t)
	failed := make(map[string]bool)
	var mu sync.Mutex
	view := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind != "ReadAt" || !strings.HasPrefix(op.Name, "packs/") || failed[op.Name] {
			return storetest.None
		}
		failed[op.Name] = true
		return storetest.NotDone
	}}
	for _, n := range objectsOf(st, "index") {
		st.Delete(n)
	}
	mustRepairIndex(t, view, w.owner)
	wholeAgain(t, w, st, nights, refs)
	clear(failed)
	bad, err := store.ParseName(largestPack(st)[len("packs/ab/"):])
	if err != nil {
		t.Fatal(err)
	}
	r := fresh(t, view, w.owner)
	if err := upkeep.ReportDamaged(t.Context(), r, []store.Name{bad}); err != nil {
		t.Fatal(err)
	}
	if got, err := upkeep.RepairPacks(t.Context(), r, upkeep.RepairOptions{}); err != nil || got.Lost > 0 || got.Salvaged == 0 || len(failed) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	wholeAgain(t, w, st, nights, refs)
}
