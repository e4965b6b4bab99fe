package repo_test

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// leavesFree has a writer leave numbers of the log free, by the last of some entries that a machine then takes for the newest, and
// returns that one's number.
var leavesFree = map[string]func(t *testing.T, st *storetest.Mem, liar *keys.Keyring, of string) uint64{
	"above one that is passed over": func(t *testing.T, st *storetest.Mem, liar *keys.Keyring, of string) uint64 {
		r := fresh(t, st, liar)
		head := r.Head()
		if err := r.PublishAt(t.Context(), liarsSnapshot(of, 1), head.Seq+4); err != nil {
			t.Fatal(err)
		}
		below := ledger.Head{Seq: head.Seq + 4, Hash: sha256.Sum256(st.Bytes(number(head.Seq + 4)))}
		if err := r.PublishBehind(t.Context(), liarsSnapshot(of, 2), below, head.Seq+7); err != nil {
			t.Fatal(err)
		}
		return head.Seq + 7
	},
	"above one that never was": func(t *testing.T, st *storetest.Mem, liar *keys.Keyring, of string) uint64 {
		r := fresh(t, st, liar)
		head := r.Head()
		if err := r.PublishBehind(t.Context(), liarsSnapshot(of, 1), ledger.Head{Seq: head.Seq + 4, Hash: store.Name{1}}, head.Seq+7); err != nil {
			t.Fatal(err)
		}
		return head.Seq + 7
	},
}

func liarsSnapshot(of string, n byte) *ledger.Entry {
	return &ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: store.Name{n}, SnapshotInfo: ledger.SnapshotInfo{Instance: of, Date: "2026-06-02"}}}
}

// A machine remembers an entry of another instance's writer, who has left numbers free below it. Honest ones take a number there
// and leave it out: the storage is not blamed for that, and all go on once an owner has accepted that the log was broken.
func TestLeftOutIsNoRollback(t *testing.T) {
	for name, leaves := range leavesFree {
		for _, removed := range []bool{false, true} {
			w, st, evil, first, _ := twoInstances(t)
			early, owner := fresh(t, st, w.writer), fresh(t, st, w.owner)
			newest := leaves(t, st, evil, "evil.example")
			if head := w.open(w.writer).Head(); head.Seq != newest {
				t.Fatalf("%s: the machine takes entry %d for the newest", name, head.Seq)
			}
			if removed {
				if err := owner.RemovePerson(t.Context(), "evil"); err != nil {
					t.Fatal(err)
				}
				early = fresh(t, st, w.writer)
			}
			var second ledger.SnapshotRef
			if !removed {
				second, _ = mustSnapshot(t, early, night(2), 2)
			}
			r, err := w.tryOpen(st, w.writer)
			if err != nil {
				t.Fatalf("%s, removed: %v: %v", name, removed, err)
			}
			if removed != (len(r.Damage()) == 0) {
				t.Errorf("%s, removed: %v: damage %v", name, removed, r.Damage())
			}
			accepting, err := openRepo(t.Context(), st, w.owner, repo.Options{AcceptHead: true})
			if err == nil {
				_, err = upkeep.RepairIndex(t.Context(), accepting, mark, upkeep.RepairOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
			mustSnapshot(t, w.open(w.writer), night(3), 3)
			all := fresh(t, st, w.owner).Snapshots()
			if all[0].ID != first.ID || !removed && all[1].ID != second.ID {
				t.Errorf("%s, removed: %v: %d snapshots", name, removed, len(all))
			}
		}
	}
}

// What is left out is still there; and among entries of the own instance an acknowledged snapshot may be.
func TestLeftOutAndLost(t *testing.T) {
	for name, leaves := range leavesFree {
		for what, of := range map[string]string{"it is gone": "evil.example", "it is of the own instance": instance} {
			w, st, evil, _, _ := twoInstances(t)
			if of == instance {
				evil = secondWriter(t, w)
			}
			early := fresh(t, st, w.writer)
			newest := leaves(t, st, evil, of)
			if head := w.open(w.writer).Head(); head.Seq != newest {
				t.Fatalf("%s: the machine takes entry %d for the newest", name, head.Seq)
			}
			mustSnapshot(t, early, night(2), 2)
			if of != instance {
				st.Delete(number(newest))
			}
			var rolled *ledger.RollbackError
			if _, err := w.tryOpen(st, w.writer); !errors.As(err, &rolled) {
				t.Errorf("%s, and %s: %v", name, what, err)
			}
		}
	}
}

// secondWriter adds a further writer of the instance.
func secondWriter(t *testing.T, w *world) *keys.Keyring {
	t.Helper()
	k, err := w.owner.NewWriter("second")
	if err == nil {
		err = w.open(w.owner).AddPerson(t.Context(), k, ledger.Person{Name: "second", Instance: instance}, nil, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A storage shows an entry above a number that is taken, to a machine of another instance; and then something else under that number,
// which leaves the entry out. It was valid, and nothing was broken then.
func TestLeftOutOfAWholeLog(t *testing.T) {
	w, st, evil, ref, _ := twoInstances(t)
	other := st.Clone()
	mustSnapshot(t, fresh(t, other, w.writer), night(2), 2)
	st.Set(number(ref.Seq+1), []byte("junk"))
	if err := fresh(t, st, evil).PublishRaw(t.Context(), evilSnapshot()); err != nil {
		t.Fatal(err)
	}
	if head := w.open(w.writer).Head(); head.Seq != ref.Seq+2 {
		t.Fatalf("the newest entry is %d", head.Seq)
	}
	st.Set(number(ref.Seq+1), other.Bytes(number(ref.Seq+1)))
	var rolled *ledger.RollbackError
	if _, err := w.tryOpen(st, w.writer); !errors.As(err, &rolled) {
		t.Error(err)
	}
}

// What an entry may name that is left out stays for its signer's sake, and nobody else's leftovers do.
func TestLeftoversWhereSomebodyIsLeftOut(t *testing.T) {
	w, st, evil, ref, _ := twoInstances(t)
	left := func(k *keys.Keyring, of string) (object string) {
		before := st.Names()
		wr, err := fresh(t, st, k).NewWriter(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		b := []byte("what a run has left of " + of)
		if _, err := wr.Add(t.Context(), repo.Media, wr.Sum(repo.Media, b), b); err != nil {
			t.Fatal(err)
		}
		if err := wr.Flush(); err != nil {
			t.Fatal(err)
		}
		wr.Abort()
		for _, name := range st.Names() {
			if strings.HasPrefix(name, "packs/") && !slices.Contains(before, name) {
				object = name
			}
		}
		return object
	}
	ours, theirs := left(w.writer, instance), left(evil, "evil.example")
	if err := fresh(t, st, evil).PublishAt(t.Context(), evilSnapshot(), ref.Seq+4); err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{Grace: -time.Hour}); err != nil {
		t.Fatal(err)
	}
	if names := st.Names(); slices.Contains(names, ours) || !slices.Contains(names, theirs) {
		t.Errorf("ours is left: %v, theirs: %v", slices.Contains(names, ours), slices.Contains(names, theirs))
	}
}
