package repo_test

import (
	"errors"
	"testing"

	"permafrost/repo"
)

// idle is an entry that says nothing of moment.
func idle() *repo.Entry { return &repo.Entry{Bad: &repo.BadEntry{Packs: []repo.Name{{1}}}} }

// A storage had junk under the number below the entry by which a writer was removed, and puts this writer's own entry there: to
// one who is shown the removal it is not undone.
func TestForkBelowARemoval(t *testing.T) {
	for _, more := range []bool{false, true} {
		w, st, evil, ref, _ := twoInstances(t)
		forged := st.Clone()
		if err := fresh(t, forged, evil).PublishRaw(t.Context(), idle()); err != nil {
			t.Fatal(err)
		}
		st.Set(number(ref.Seq+1), []byte("junk"))
		if err := w.open(w.owner).RemovePerson(t.Context(), "evil"); err != nil {
			t.Fatal(err)
		}
		if more {
			mustSnapshot(t, w.open(w.writer), night(2), 2)
		}
		w.open(w.owner)
		st.Delete(number(ref.Seq + 1))
		st.Set(number(ref.Seq+1), forged.Bytes(number(ref.Seq+1)))
		r, err := openFresh(t.Context(), st, w.owner)
		refused(t, "the owner", r, err)
		r, err = openFresh(t.Context(), st, w.writer)
		refused(t, "the writer", r, err)
		for _, k := range []*repo.Keyring{w.writer, w.owner} {
			r, err := w.tryOpen(st, k)
			refused(t, "the machine of the "+string(k.Role), r, err)
		}
	}
}

// A machine has published an entry where the storage made a number free, and then sees a log that does not go on from there. Once
// the storage has taken that entry away too, the log is whole, and ends as it was seen to end; but it is not the one that was seen.
func TestBrokenLogHealsWithoutAnEntry(t *testing.T) {
	w, st, evil, ref, _ := twoInstances(t)
	full := st.Clone()
	full.Set(number(ref.Seq+1), []byte("junk"))
	if err := fresh(t, full, evil).PublishRaw(t.Context(), evilSnapshot()); err != nil {
		t.Fatal(err)
	}
	if err := fresh(t, full, w.owner).RemovePerson(t.Context(), "evil"); err != nil {
		t.Fatal(err)
	}
	wr, err := w.open(w.writer).NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{ref.Seq + 2, ref.Seq + 3} {
		st.Set(number(seq), full.Bytes(number(seq)))
	}
	mine, err := wr.Commit(t.Context(), []byte(`{"blobs":{}}`), repo.SnapshotInfo{Instance: instance})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and as often as it looks
		r, err := w.tryOpen(st, w.writer)
		if refused(t, "the machine", r, err); err != nil || r.Head().Seq == mine.Seq {
			t.Errorf("the log is not broken above what was published: %v", err)
		}
	}
	st.Set(number(mine.Seq), []byte("junk"))
	var rolled *repo.RollbackError
	if r, err := w.tryOpen(st, w.writer); !errors.As(err, &rolled) {
		t.Errorf("%v, damage %v", err, r.Damage())
	}
}

// A writer leaves numbers free, and signs above them what can't be so, and that there were more snapshots: the owner accepts that
// once, and all go on.
func TestAcceptedAboveAGap(t *testing.T) {
	w, st, evil, ref, _ := twoInstances(t)
	r := fresh(t, st, evil)
	r.Believe(func(b *repo.Basis) { b.Snapshots++ })
	if err := r.PublishBehind(t.Context(), idle(), repo.Head{Seq: ref.Seq, Hash: repo.Name{1}}, ref.Seq+3); err != nil {
		t.Fatal(err)
	}
	r, err := openFresh(t.Context(), st, w.owner)
	refused(t, "the owner", r, err)
	r, err = repo.Open(t.Context(), st, w.owner, repo.Options{AcceptHead: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.RepairIndex(t.Context(), mark, repo.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, fresh(t, st, w.writer), night(2), 2)
	mustBeClean(t, fresh(t, st, w.owner))
}
