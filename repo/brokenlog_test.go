package repo_test

import (
	"errors"
	"slices"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// idle is an entry that says nothing of moment.
func idle() *ledger.Entry {
	return &ledger.Entry{Damage: &ledger.DamageEntry{Packs: []store.Name{{1}}}}
}

// falseLoss has a writer leave numbers free below an entry, and say that one is lost there.
func falseLoss(t *testing.T, st *storetest.Mem, evil *keys.Keyring, next, free uint64) {
	t.Helper()
	lost := ledger.Head{Seq: next + free - 1, Hash: store.Name{1}}
	if err := fresh(t, st, evil).PublishBehind(t.Context(), idle(), lost, next+free); err != nil {
		t.Fatal(err)
	}
}

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
		for _, k := range []*keys.Keyring{w.writer, w.owner} {
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
	mine, err := wr.Commit(t.Context(), []byte(`{"blobs":{}}`), ledger.SnapshotInfo{Instance: instance})
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
	var rolled *ledger.RollbackError
	if r, err := w.tryOpen(st, w.writer); !errors.As(err, &rolled) {
		t.Errorf("%v, damage %v", err, r.Damage())
	}
}

// A writer leaves numbers free, and signs above them what can't be so, and that there were more snapshots: the owner accepts that
// once, and all go on.
func TestAcceptedAboveAGap(t *testing.T) {
	w, st, evil, ref, _ := twoInstances(t)
	r := fresh(t, st, evil)
	r.Believe(func(b *ledger.Basis) { b.Snapshots++ })
	if err := r.PublishBehind(t.Context(), idle(), ledger.Head{Seq: ref.Seq, Hash: store.Name{1}}, ref.Seq+3); err != nil {
		t.Fatal(err)
	}
	r, err := openFresh(t.Context(), st, w.owner)
	refused(t, "the owner", r, err)
	r, err = openRepo(t.Context(), st, w.owner, repo.Options{AcceptHead: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.RepairIndex(t.Context(), r, mark, upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, fresh(t, st, w.writer), night(2), 2)
	mustBeClean(t, fresh(t, st, w.owner))
}

// farEntry puts an entry that is out of reach, and returns its number and what brings it into reach: one more entry by the same
// signer.
func farEntry(t *testing.T, st *storetest.Mem, evil *keys.Keyring, next uint64) (far uint64, reach func()) {
	t.Helper()
	forged := st.Clone()
	far = next + 101
	if err := fresh(t, forged, evil).PublishRaw(t.Context(), idle()); err != nil {
		t.Fatal(err)
	}
	falseLoss(t, forged, evil, next+1, 100)
	st.Set(number(far), forged.Bytes(number(far)))
	return far, func() { st.Set(number(next), forged.Bytes(number(next))) }
}

// An entry that was out of reach when the log was read, and may come into reach, is nothing that a prune removes: others may have
// seen it as the newest before it is gone.
func TestFarEntryComesIntoReach(t *testing.T) {
	for name, when := range map[string]string{"before the prune looks": "", "before it deletes": "log/"} {
		t.Run(name, func(t *testing.T) {
			w, st, evil, ref, _ := twoInstances(t)
			far, reach := farEntry(t, st, evil, ref.Seq+1)
			st.Set("log/junk", []byte("junk"))
			var o *repo.Repo
			if when == "" {
				o = fresh(t, st, w.owner)
				reach()
			} else {
				o = fresh(t, before(st, "Remove", when, reach), w.owner)
			}
			if _, err := upkeep.Prune(t.Context(), o, mark, upkeep.PruneOptions{}); err != nil {
				t.Error(err)
			}
			if !slices.Contains(st.Names(), number(far)) || slices.Contains(st.Names(), "log/junk") {
				t.Errorf("left are %v", objectsOf(st, "log"))
			}
			if head := fresh(t, st, w.writer).Head(); head.Seq != far {
				t.Errorf("the newest entry is %d", head.Seq)
			}
		})
	}
}
