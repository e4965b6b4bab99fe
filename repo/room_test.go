package repo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// fullWorld is a repository of two nights, the older of which leaves packs that are dead as a whole and packs that are dead
// in part once it is forgotten.
func fullWorld(t *testing.T) (w *world, mem *storetest.Mem, nights []content, refs []ledger.SnapshotRef) {
	t.Helper()
	nights = []content{night(1), night(1)}
	nights[1][repo.Media] = append(slices.Clone(nights[0][repo.Media][:12]), blobs(70, 8, 60000)...)
	nights[1][repo.Postgres] = blobs(80, 60, 20000)
	mem = storetest.NewMem(t)
	w = newWorld(t, mem, repo.InitOptions{})
	for i, c := range nights {
		ref, _ := mustSnapshot(t, w.open(w.writer), c, i+1)
		refs = append(refs, ref)
	}
	return w, mem, nights, refs
}

func hasReserve(mem *storetest.Mem) bool { return slices.Contains(mem.Names(), "reserve") }

// A storage with no byte free is pruned: what is dead goes, what is dead in part is rewritten, and the reserve is back.
func TestPruneOnFullStorage(t *testing.T) {
	for name, who := range map[string]func(*world) *keys.Keyring{
		"owner":  func(w *world) *keys.Keyring { return w.owner },
		"writer": func(w *world) *keys.Keyring { return w.writer },
	} {
		t.Run(name, func(t *testing.T) {
			w, mem, nights, refs := fullWorld(t)
			key := who(w)
			before, err := storetest.Used(t.Context(), mem)
			if err != nil {
				t.Fatal(err)
			}
			full, err := storetest.NewFull(t.Context(), mem, 0)
			if err != nil {
				t.Fatal(err)
			}
			w.store = full
			if _, _, err := snapshot(t.Context(), w.open(w.writer), night(9), 3); !errors.Is(err, store.ErrNoSpace) {
				t.Errorf("a snapshot: %v", err)
			}
			if err := upkeep.Forget(t.Context(), w.open(key), []store.Name{refs[0].ID}); err != nil {
				t.Fatalf("forget: %v", err)
			}
			res, err := upkeep.Prune(t.Context(), w.open(key), mark, upkeep.PruneOptions{MaxUnused: 0.01})
			if err != nil {
				t.Fatalf("prune: %v", err)
			}
			after, err := storetest.Used(t.Context(), mem)
			if err != nil {
				t.Fatal(err)
			}
			if res.Removed == 0 || res.Freed == 0 || (res.Rewritten > 0) != (key == w.owner) || after >= before || !hasReserve(mem) {
				t.Errorf("%+v; %d bytes became %d; reserve %v", res, before, after, hasReserve(mem))
			}
			mustBeClean(t, w.open(w.owner))
			if err := verify(t.Context(), w.open(w.owner), refs[1], nights[1]); err != nil {
				t.Error(err)
			}
			again, err := upkeep.Prune(t.Context(), w.open(key), mark, upkeep.PruneOptions{MaxUnused: 0.01})
			if err != nil || again.Removed != 0 {
				t.Errorf("once more: %+v, %v", again, err)
			}
		})
	}
}

// A repository that has no reserve gets it with its next prune. Before that a full storage is pruned where earlier prunes or
// uploads have left something, and else it is said what to do.
func TestPruneWithoutReserve(t *testing.T) {
	w, mem, _, refs := fullWorld(t)
	if err := upkeep.Forget(t.Context(), w.open(w.owner), []store.Name{refs[0].ID}); err != nil {
		t.Fatal(err)
	}
	mem.Delete("reserve")
	pruneFull := func() error {
		full, err := storetest.NewFull(t.Context(), mem, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.store = full
		_, err = upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{})
		w.store = mem
		return err
	}
	if err := pruneFull(); !errors.Is(err, store.ErrNoSpace) || causeOf(err) != cause.NoRoom {
		t.Errorf("with nothing to free: %v; cause: %q", err, causeOf(err))
	}
	if err := upkeep.Forget(t.Context(), w.open(w.writer), []store.Name{refs[1].ID}); err != nil {
		t.Fatal(err)
	}
	// A prune that was published and died before it deleted anything.
	dying, _ := storetest.CrashAt(mem, 1<<30, storetest.NotDone)
	dying.Before = func(op storetest.Op) storetest.Fault {
		if op.Kind == "Remove" {
			return storetest.NotDone
		}
		return storetest.None
	}
	w.store = dying
	if _, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{}); !errors.Is(err, storetest.ErrInjected) {
		t.Fatal(err)
	}
	if hasReserve(mem) {
		t.Fatal("the reserve is there though the prune died")
	}
	if err := pruneFull(); err != nil {
		t.Errorf("with what a prune has named: %v", err)
	}
	if len(objectsOf(mem, "packs")) > 0 || !hasReserve(mem) {
		t.Errorf("%d packs are left, reserve %v", len(objectsOf(mem, "packs")), hasReserve(mem))
	}
}

// Whatever becomes of a prune on a full storage, what is listed is whole, and the next prune goes on.
func TestCrashesOnFullStorage(t *testing.T) {
	useEnvelopes(t, repo.PlainEnvelopes())
	w, mem, nights, refs := fullWorld(t)
	free := func(ctx context.Context, r *repo.Repo) error {
		if len(r.Snapshots()) == 2 {
			if err := upkeep.Forget(ctx, r, []store.Name{refs[0].ID}); err != nil {
				return err
			}
		}
		_, err := upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{MaxUnused: 0.01})
		return err
	}
	points := 0
	for i, m := range crashModes {
		for n := 0; ; n++ {
			mine := mem.Clone()
			full, err := storetest.NewFull(t.Context(), mine, 0)
			if err != nil {
				t.Fatal(err)
			}
			view, crashed := m.at(full, n, m.fault)
			what := fmt.Sprintf("mode %d, fault %d at operation %d", i, m.fault, n)
			dir := t.TempDir()
			err = runOn(t.Context(), view, viaFile(t, w.owner), dir, free)
			if !crashed() {
				if err != nil {
					t.Fatalf("without a crash: %v", err)
				}
				break
			}
			points++
			for range 2 {
				r := afterCrash(t, what, mine, w.owner, refs[1:], nights, refs, false)
				if _, problems := check(t, r, upkeep.CheckOptions{}); len(problems) > 0 {
					t.Fatalf("%s: %v", what, problems)
				}
				if err := runOn(t.Context(), full, viaFile(t, w.owner), dir, free); err != nil {
					t.Fatalf("%s: the next prune: %v", what, err)
				}
			}
			if !hasReserve(mine) {
				t.Fatalf("%s: there is no reserve", what)
			}
		}
	}
	t.Logf("%d crash points", points)
}

// An account that may only read checks a repository, reads all of it, and is told what a prune would do.
func TestReadOnly(t *testing.T) {
	w, mem, nights, refs := fullWorld(t)
	w.store = storetest.ReadOnly{Store: mem}
	r := w.open(w.owner)
	mustBeClean(t, r)
	for i, ref := range refs {
		if err := verify(t.Context(), r, ref, nights[i]); err != nil {
			t.Error(err)
		}
	}
	res, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{DryRun: true, Forgotten: []store.Name{refs[0].ID}, MaxUnused: 0.01})
	if err != nil || res.Removed == 0 {
		t.Errorf("what a prune would do: %+v, %v", res, err)
	}
	if _, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{}); err == nil {
		t.Error("it prunes")
	}
}
