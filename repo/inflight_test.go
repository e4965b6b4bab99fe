package repo_test

import (
	"slices"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// listNewPacks lets a writer of another instance list the packs that are there and were not before, for its own.
func listNewPacks(t *testing.T, st *storetest.Mem, evil *keys.Keyring, was []string) (n int) {
	t.Helper()
	for _, object := range objectsOf(st, "packs") {
		if slices.Contains(was, object) {
			continue
		}
		n++
		name, err := store.ParseName(object[len("packs/ab/"):])
		if err != nil {
			t.Error(err)
		}
		r := fresh(t, st, evil)
		listed, err := r.PutListings(t.Context(), "evil.example", name, 1)
		if err == nil {
			err = r.PublishSnapshot(t.Context(), []byte(`{"blobs":{}}`), evilSnapshot(listed...).Snapshot)
		}
		if err != nil {
			t.Error(err)
		}
	}
	return n
}

// A check finds that such packs are not of the size that the other says: they are none the worse for that.
func TestPacksOfARunCalledBad(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	c := night(7)
	was := objectsOf(st, "packs")
	n := 0
	view := before(st, "Put", "manifests/", func() {
		n = listNewPacks(t, st, evil, was)
		for _, k := range []*keys.Keyring{w.writer, w.owner} {
			r := fresh(t, st, k)
			res, problems := check(t, r, upkeep.CheckOptions{})
			if len(problems) == 0 {
				t.Errorf("the %s's check finds nothing", k.Role)
			}
			if err := upkeep.ReportDamaged(t.Context(), r, res.Damaged); err != nil {
				t.Error(err)
			}
		}
	})
	ref, _ := mustSnapshot(t, fresh(t, view, w.writer), c, 2)
	if n == 0 {
		t.Fatal("the run was not overtaken")
	}
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Error(err)
	}
	if _, stats := mustSnapshot(t, fresh(t, st, w.writer), c, 3); stats[repo.Media].Fresh > 0 {
		t.Errorf("the next night stores all anew: %+v", stats[repo.Media])
	}
}

// A writer of another instance lists the packs of a run that is under way, which nobody lists yet, for its own. An honest prune, be
// it by another writer of that instance or by the owner, who sees no lease, does not take them for that instance's dead packs.
func TestPacksOfARunListedByOthers(t *testing.T) {
	for _, byOwner := range []bool{false, true} {
		w, st, evil, _, _ := twoInstances(t)
		pruner, err := w.owner.NewWriter("honest")
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh(t, st, w.owner).AddPerson(t.Context(), pruner, ledger.Person{Name: "honest", Instance: "evil.example", MayForget: true}, nil, ""); err != nil {
			t.Fatal(err)
		}
		if byOwner {
			pruner = w.owner
		}
		listed := 0
		was := objectsOf(st, "packs")
		c := night(7)
		view := before(st, "Put", "manifests/", func() {
			listed = listNewPacks(t, st, evil, was)
			mustPrune(t, st, pruner)
		})
		ref, _, err := snapshot(t.Context(), fresh(t, view, w.writer), c, 2)
		if err != nil || listed == 0 {
			t.Errorf("by the %s: %d packs were listed, %v", pruner.Role, listed, err)
			continue
		}
		if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
			t.Error(err)
		}
		mustPrune(t, st, w.owner)
		mustBeClean(t, fresh(t, st, w.owner))
	}
}
