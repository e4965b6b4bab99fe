package repo_test

import (
	"slices"
	"strings"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// A writer signs an entry that continues from the last one, and leaves numbers below it free: nobody goes on from it. Otherwise
// one who has not listed the log would publish below it what those who have don't see; and the writer could put an entry there
// once he is removed, and break the log.
func TestFreeNumbersBelowAnEntry(t *testing.T) {
	for _, ahead := range []uint64{1, 50, 99} {
		w, st, evil, first, c := twoInstances(t)
		early, prepared := fresh(t, st, w.writer), fresh(t, st, evil)
		head := early.Head().Seq
		if err := fresh(t, st, evil).PublishAt(t.Context(), evilSnapshot(), head+1+ahead); err != nil {
			t.Fatal(err)
		}
		if err := w.open(w.owner).RemovePerson(t.Context(), "evil"); err != nil {
			t.Fatal(err)
		}
		second, _ := mustSnapshot(t, early, night(2), 2)
		third, _ := mustSnapshot(t, fresh(t, st, w.writer), night(3), 3)
		_ = prepared.PublishRaw(t.Context(), evilSnapshot()) // where the number is free
		for who, r := range map[string]*repo.Repo{"a machine that remembers": w.open(w.owner), "one that does not": fresh(t, st, w.writer)} {
			all := r.Snapshots()
			if len(r.Damage()) > 0 || len(all) != 3 || all[0].ID != first.ID || all[1].ID != second.ID || all[2].ID != third.ID {
				t.Errorf("%d numbers left free, %s sees %d snapshots, damage %v", ahead, who, len(all), r.Damage())
			}
		}
		mustSnapshot(t, fresh(t, st, w.writer), c, 4)
	}
}

// What stands above junk is an entry as any other, and so it is where it was lost that something was there: who reads on says
// that it is missing.
func TestEntryAboveJunk(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	st.Set(number(1), []byte("junk"))
	ref, _ := mustSnapshot(t, w.open(w.writer), night(1), 1)
	if ref.Seq != 2 || len(fresh(t, st, w.owner).Snapshots()) != 1 {
		t.Fatalf("entry %d", ref.Seq)
	}
	st.Delete(number(1))
	for _, k := range []*keys.Keyring{w.writer, w.owner} {
		r, err := w.tryOpen(st, k)
		if k == w.owner && err == nil {
			continue // it has not seen the log
		}
		refused(t, "the machine that has published it", r, err)
	}
	st.Set(number(1), []byte("anything"))
	if n := len(w.open(w.writer).Snapshots()); n != 1 {
		t.Errorf("something is there again, and %d snapshots are listed", n)
	}
}

// A writer says that an entry is missing, and leaves numbers free below. Once an owner has accepted that and removed him, neither
// he nor a run that was in the middle puts an entry there, and nothing that was acknowledged is lost.
func TestAcceptedGapIsFilled(t *testing.T) {
	w, st, evil, first, c := twoInstances(t)
	prepared, early := fresh(t, st, evil), fresh(t, st, w.writer)
	wr, err := early.NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	head := early.Head()
	if err := fresh(t, st, evil).PublishAfter(t.Context(), evilSnapshot(), ledger.Head{Seq: head.Seq + 60, Hash: store.Name{1}}); err != nil {
		t.Fatal(err)
	}
	accepting, err := openRepo(t.Context(), st, w.owner, repo.Options{AcceptHead: true})
	if err == nil {
		err = accepting.RemovePerson(t.Context(), "evil")
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = prepared.PublishRaw(t.Context(), evilSnapshot())
	second, err := wr.Commit(t.Context(), []byte(`{"blobs":{}}`), ledger.SnapshotInfo{Instance: instance})
	if err != nil {
		t.Fatal(err)
	}
	o := fresh(t, st, w.owner)
	all := slices.DeleteFunc(o.Snapshots(), func(ref ledger.SnapshotRef) bool { return ref.Instance != instance })
	if len(o.Damage()) > 0 || len(all) != 2 || all[0].ID != first.ID || all[1].ID != second.ID {
		t.Errorf("%d snapshots, damage %v", len(all), o.Damage())
	}
	if res, problems := check(t, o, upkeep.CheckOptions{}); len(res.Accepted) != 1 || slices.ContainsFunc(problems, func(err error) bool { return strings.Contains(err.Error(), "log/") }) {
		t.Errorf("check: accepted %v, problems %v", res.Accepted, problems)
	}
	mustSnapshot(t, fresh(t, st, w.writer), c, 4)
}
