package repo_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
)

// Who signs what, with the storage's help or without: what a statement is worth is decided by the list of keys.

// removed returns a repository with a snapshot of the instance, and the key of a writer that was on the list and is not any
// more.
func removed(t *testing.T) (w *world, st *storetest.Mem, gone *repo.Keyring) {
	t.Helper()
	st = storetest.NewMem(t)
	w = newWorld(t, st, repo.InitOptions{})
	gone, err := w.owner.NewWriter("gone")
	if err != nil {
		t.Fatal(err)
	}
	p := repo.Person{Name: "gone", Instance: instance, MayForget: true}
	if err := w.open(w.owner).AddPerson(t.Context(), gone, p, nil, ""); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	if err := w.open(w.owner).RemovePerson(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	return w, st, gone
}

// A lease of somebody who is not on the list of keys holds nobody up, and one of another instance's writer the owner alone.
func TestLeaseOfAnUnknown(t *testing.T) {
	elsewhere := []byte(`{"host":"elsewhere","pid":1}`)
	w, st, gone := removed(t)
	if err := fresh(t, st, gone).PutLease(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*repo.Keyring{w.owner, w.writer} {
		r, err := repo.Open(t.Context(), st, k, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Prune(t.Context(), mark, repo.PruneOptions{}); err != nil {
			t.Errorf("beside a removed writer's lease, the %s's prune: %v", k.Role, err)
		}
	}
	w, st, evil, _, _ := twoInstances(t)
	if err := fresh(t, st, evil).PutLease(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*repo.Keyring{w.writer, w.owner} {
		r, err := repo.Open(t.Context(), st, k, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Prune(t.Context(), mark, repo.PruneOptions{})
		var locked *repo.LockedError
		if waits := errors.As(err, &locked); waits != (k == w.owner) || err != nil && !waits {
			t.Errorf("beside a lease of another instance's writer, the %s's prune: %v", k.Role, err)
		}
	}
}

// An entry of a format to come counts for as much as its signer: a removed writer's is junk.
func TestNewerEntryOfTheRemoved(t *testing.T) {
	w, st, gone := removed(t)
	if err := fresh(t, st, gone).PutNewerEntry(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := openFresh(t.Context(), st, w.writer); err != nil {
		t.Errorf("open: %v", err)
	}
	if err := fresh(t, st, w.writer).PutNewerEntry(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := openFresh(t.Context(), st, w.owner); !errors.Is(err, repo.ErrNewerFormat) {
		t.Errorf("a newer entry by a writer on the list: %v", err)
	}
}

// Keys that a rotation gave out before it died are never used: somebody may have been removed since.
func TestRotationTakesFreshKeys(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	gone, err := w.owner.NewWriter("gone")
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh(t, st, w.owner).AddPerson(t.Context(), gone, repo.Person{Name: "gone", Instance: instance}, nil, ""); err != nil {
		t.Fatal(err)
	}
	first, _ := mustSnapshot(t, fresh(t, st, w.writer), night(1), 1)
	onDisk := w.owner
	save := func(k *repo.Keyring) error { onDisk = viaFile(t, k); return nil }
	view := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "Put" && op.Name == "log/0000000004" { // that announces the new epoch
			return storetest.NotDone
		}
		return storetest.None
	}}
	if _, err := fresh(t, view, w.owner).Rotate(t.Context(), save); err == nil {
		t.Fatal("the rotation did not die")
	}
	given := st.Clone() // with the keys for everybody
	if err := fresh(t, st, onDisk).RemovePerson(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh(t, st, onDisk).Rotate(t.Context(), save); err != nil {
		t.Fatal(err)
	}
	second, _ := mustSnapshot(t, fresh(t, st, w.writer), night(2), 2)
	for _, name := range objectsOf(given, "keys") {
		st.Set(name, given.Bytes(name))
	}
	if r, err := openFresh(t.Context(), st, gone); err == nil {
		t.Errorf("who was removed before the rotation opens what came after it: %d snapshots", len(r.Snapshots()))
	}
	for _, k := range []*repo.Keyring{w.owner, onDisk} {
		r := fresh(t, st, k)
		if err := errors.Join(verify(t.Context(), r, first, night(1)), verify(t.Context(), r, second, night(2))); err != nil {
			t.Error(err)
		}
	}
}

// A valid entry under a far number is none: the log goes on under the next one, a check names the object, the owner's prune
// removes it, and nobody who saw it misses anything.
func TestFarEntry(t *testing.T) {
	for _, far := range []uint64{4999, 9_999_999} {
		w, st, evil, _, _ := twoInstances(t)
		name := fmt.Sprintf("log/%010d", far)
		if err := fresh(t, st, evil).PublishAt(t.Context(), evilSnapshot(), far); err != nil {
			t.Fatal(err)
		}
		saw := w.open(w.owner) // as a machine that remembers
		if n := len(saw.Snapshots()); n != 1 {
			t.Fatalf("%d snapshots", n)
		}
		ref, _ := mustSnapshot(t, w.open(w.writer), night(2), 2)
		if ref.Seq != saw.Head().Seq+1 {
			t.Errorf("the next entry is %d", ref.Seq)
		}
		if err := w.open(w.owner).RemovePerson(t.Context(), "evil"); err != nil {
			t.Error(err)
		}
		res, problems := check(t, w.open(w.owner), repo.CheckOptions{})
		if len(problems) > 0 || res.Junk != 1 || !slices.Contains(res.Strays, name) {
			t.Errorf("check: %v, %+v", problems, res)
		}
		if _, err := w.open(w.writer).Prune(t.Context(), mark, repo.PruneOptions{}); err != nil || !slices.Contains(st.Names(), name) {
			t.Errorf("a writer's prune: %v", err)
		}
		if _, err := w.open(w.owner).Prune(t.Context(), mark, repo.PruneOptions{}); err != nil || slices.Contains(st.Names(), name) {
			t.Errorf("the owner's prune: %v", err)
		}
		mustBeClean(t, w.open(w.owner))
		mustBeClean(t, w.open(w.writer))
	}
}
