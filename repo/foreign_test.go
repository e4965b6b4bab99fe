package repo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

const foreignText = "the pack was written for another instance"

// steal lets a writer of evil.example list every known pack for its own instance, and publish a snapshot of all that
// another one has. It returns that and the index objects.
func steal(t *testing.T, r *repo.Repo, ref ledger.SnapshotRef) (stolen ledger.SnapshotRef, text []byte, listed []store.Name) {
	t.Helper()
	text, err := r.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if listed, err = r.PutLies(t.Context(), "evil.example", repo.AsItIs, func(n int) int { return n }); err != nil {
		t.Fatal(err)
	}
	return publishStolen(t, r, text, listed), text, listed
}

func publishStolen(t *testing.T, r *repo.Repo, text []byte, listed []store.Name) ledger.SnapshotRef {
	t.Helper()
	e := &ledger.SnapshotEntry{Indexes: listed, SnapshotInfo: ledger.SnapshotInfo{Instance: "evil.example", Date: "2026-06-02"}}
	if err := r.PublishSnapshot(t.Context(), text, e); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := r.Snapshots()
	return all[len(all)-1]
}

// nothingStolen asserts that a key reads nothing of what a snapshot of evil.example names, but what is allowed. What it
// refuses it must call what it is.
func nothingStolen(t *testing.T, st store.Store, k *keys.Keyring, stolen ledger.SnapshotRef, want string) {
	t.Helper()
	r := fresh(t, st, k)
	text, err := r.Manifest(t.Context(), stolen)
	if err != nil {
		t.Fatal(err)
	}
	rd, err := r.NewReader(t.Context(), stolen.Instance)
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	for comp, ids := range m.Blobs {
		if !k.CanRead() && comp != repo.Meta.String() {
			continue
		}
		id, err := chunk.ParseID(ids[0])
		if err != nil {
			t.Fatal(err)
		}
		var d *store.DamageError
		if data, err := rd.Blob(t.Context(), id); !errors.As(err, &d) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %s: %d bytes, %v", k.Role, comp, len(data), err)
		}
		if err := rd.Fetch(t.Context(), []chunk.ID{id}, func(chunk.ID, []byte) error {
			t.Errorf("%v, %s: fetched", k.Role, comp)
			return nil
		}); !errors.As(err, &d) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %s: %v", k.Role, comp, err)
		}
	}
}

// namesListing asserts that one of the problems is with one of the index objects, and calls that what it is.
func namesListing(t *testing.T, problems []error, listed []store.Name, text string) {
	t.Helper()
	if !slices.ContainsFunc(problems, func(err error) bool {
		var d *store.DamageError
		return errors.As(err, &d) && strings.Contains(err.Error(), text) &&
			slices.ContainsFunc(listed, func(n store.Name) bool { return d.Object == "index/"+n.String() })
	}) {
		t.Errorf("no problem is %q with %v: %v", text, listed, problems)
	}
}

// A writer of another instance lists this one's packs, of every component, for its own, and publishes a snapshot of what is
// in them: nobody reads anything of this instance by that, a check names the listings, and a prune by the owner drops them.
func TestForeignPacks(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	stolen, _, listed := steal(t, fresh(t, st, evil), ref)
	for _, k := range []*keys.Keyring{w.owner, evil, w.writer} {
		nothingStolen(t, st, k, stolen, foreignText)
	}
	all := upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}}
	for _, o := range []upkeep.CheckOptions{{}, all} {
		res, problems := check(t, fresh(t, st, w.owner), o)
		namesListing(t, problems, listed, foreignText)
		namesListing(t, problems, listed, foreignText+`, "social.example"`)
		if len(res.Damaged) > 0 {
			t.Errorf("packs are called bad: %v", res.Damaged)
		}
	}
	// A host knows whose a meta pack is, and of the others that one of two listings is false.
	res, problems := check(t, fresh(t, st, w.writer), all)
	namesListing(t, problems, listed, foreignText)
	if len(res.Damaged) > 0 || !strings.Contains(fmt.Sprint(problems), "one of them is false") {
		t.Errorf("bad %v, problems %v", res.Damaged, problems)
	}
	for _, repair := range []func(*repo.Repo) error{
		func(r *repo.Repo) error { return repairIndex(t.Context(), r) },
		func(r *repo.Repo) error { return repairPacks(t.Context(), r) },
	} {
		if err := repair(fresh(t, st, w.owner)); err != nil {
			t.Fatal(err)
		}
		nothingStolen(t, st, w.owner, stolen, "")
	}
	wholeAfterPrune(t, w, st, ref, c)
	mustBeClean(t, fresh(t, st, w.owner))
}

// The same where the packs are listed for nobody else: a repair of packs that the thief calls bad, and of their index, gives
// the thief nothing either.
func TestForeignPacksAlone(t *testing.T) {
	w, st, evil, ref, _ := twoInstances(t)
	thief := fresh(t, st, evil)
	text, err := thief.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := thief.PutLies(t.Context(), "evil.example", repo.AsItIs, func(n int) int { return n })
	if err != nil {
		t.Fatal(err)
	}
	packs, err := thief.Listed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host := fresh(t, st, w.writer)
	if err := upkeep.Forget(t.Context(), host, []store.Name{ref.ID}); err != nil {
		t.Fatal(err)
	}
	kept := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "Remove" && strings.HasPrefix(op.Name, "packs/") {
			return storetest.NotDone
		}
		return storetest.None
	}}
	if _, err := upkeep.Prune(t.Context(), fresh(t, kept, w.writer), mark, upkeep.PruneOptions{}); err == nil {
		t.Fatal("the packs are gone")
	}
	if _, err := thief.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	stolen := publishStolen(t, thief, text, listed)
	nothingStolen(t, st, w.owner, stolen, foreignText)
	nothingStolen(t, st, evil, stolen, foreignText)
	res, problems := check(t, fresh(t, st, w.owner), upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
	namesListing(t, problems, listed, foreignText)
	if len(res.Damaged) > 0 {
		t.Errorf("packs are called bad: %v", res.Damaged)
	}
	for name, before := range map[string]func(st *storetest.Mem, r *repo.Repo) error{
		"called bad": func(_ *storetest.Mem, r *repo.Repo) error { return upkeep.ReportDamaged(t.Context(), r, packs) },
		"cut": func(st *storetest.Mem, _ *repo.Repo) error {
			for _, n := range objectsOf(st, "packs") {
				st.Set(n, st.Bytes(n)[:len(st.Bytes(n))-1])
			}
			return nil
		},
		"no longer listed": func(st *storetest.Mem, _ *repo.Repo) error {
			for _, n := range listed {
				st.Delete("index/" + n.String())
			}
			return nil
		},
	} {
		st := st.CloneFor(t)
		if err := before(st, fresh(t, st, evil)); err != nil {
			t.Fatal(err)
		}
		if err := repairAll(t.Context(), st, w.owner); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		nothingStolen(t, st, w.owner, stolen, "")
	}
}

// A writer names another instance's manifest as a snapshot of its own.
func TestForeignManifest(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	host := fresh(t, st, w.writer)
	const theirs = `{"blobs":{}}`
	id, err := host.PutManifest(t.Context(), []byte(theirs)) // it is there, and the log does not name it yet
	if err != nil {
		t.Fatal(err)
	}
	e := evilSnapshot()
	e.Snapshot.Manifest = id
	if err := fresh(t, st, evil).PublishRaw(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	o := fresh(t, st, w.owner)
	for _, ref := range o.Snapshots() {
		text, err := o.Manifest(t.Context(), ref)
		var d *store.DamageError
		if ref.Manifest == id && (!errors.As(err, &d) || d.Object != "manifests/"+id.String()) {
			t.Errorf("%s, %v", text, err)
		}
	}
	_, problems := check(t, o, upkeep.CheckOptions{})
	if !strings.Contains(fmt.Sprint(problems), "not signed by the key") {
		t.Errorf("check finds %v", problems)
	}
}

// A writer of another instance sees what a run has put, and names it in entries of its own before the run does: the snapshot
// is committed all the same, and is whole whatever that writer names then.
func TestForeignNames(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	was := st.Names()
	named := func(kind string) (names []store.Name) {
		for _, n := range objectsOf(st, kind) {
			if slices.Contains(was, n) {
				continue
			}
			name, err := store.ParseName(n[len(kind)+1:])
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return names
	}
	var indexes []store.Name
	c := night(7)
	ref, _ := mustSnapshot(t, fresh(t, before(st, "Put", "log/", func() {
		indexes = named("index")
		e := evilSnapshot(indexes...)
		e.Snapshot.Manifest = named("manifests")[0]
		if err := fresh(t, st, evil).PublishRaw(t.Context(), e); err != nil {
			t.Error(err)
		}
	}), w.writer), c, 2)
	if len(indexes) == 0 {
		t.Fatal("the run was not overtaken")
	}
	claimed := fresh(t, st, evil).Snapshots()[1]
	if claimed.Instance != "evil.example" || claimed.Manifest != ref.Manifest || claimed.ID == ref.ID {
		t.Errorf("claimed is %+v", claimed)
	}
	for _, e := range []*ledger.Entry{
		{Forget: &ledger.ForgetEntry{Snapshots: []store.Name{claimed.ID}}},
		{Forget: &ledger.ForgetEntry{Snapshots: []store.Name{ref.ID}}},
		{Prune: &ledger.PruneEntry{Indexes: indexes, Manifests: named("manifests")}},
	} {
		if err := fresh(t, st, evil).PublishRaw(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	wholeAfterPrune(t, w, st, ref, c)
}
