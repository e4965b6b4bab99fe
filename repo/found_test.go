package repo_test

import (
	"errors"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/upkeep"
)

// What TestHostileHistories once found, each by itself.

// Who was removed gets no keys from an owner who is shown a log that has lost the removal: a rotation that is refused gives none
// out.
func TestRefusedRotationGivesNoKeys(t *testing.T) {
	w, st, gone := removed(t)
	removal := w.open(w.owner).Head().Seq
	recovery := w.owner
	save := func(k *keys.Keyring) error { recovery = viaFile(t, k); return nil }
	if _, err := w.open(w.owner).Rotate(t.Context(), save); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, w.open(w.writer), night(2), 2)
	st.Delete(number(removal))
	st.Delete(number(removal + 1)) // the list of keys that the rotation has made of it
	if _, err := fresh(t, st, recovery).Rotate(t.Context(), save); err == nil {
		t.Error("the keys are rotated though the list of keys is lost")
	}
	for _, object := range objectsOf(st, "keys") {
		if update, err := keys.Unwrap(st.Bytes(object), gone.Identity); err == nil && len(update.Epochs) > 1 {
			t.Errorf("who was removed finds the keys of %d epochs", len(update.Epochs))
		}
	}
}

// A check that a rotation overtakes finds no damage in what was stored since.
func TestCheckOvertakenByRotation(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	early := []*repo.Repo{fresh(t, st, w.writer), fresh(t, st, w.owner)}
	if _, err := fresh(t, st, viaFile(t, w.owner)).Rotate(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, w.open(w.writer), night(2), 2)
	for _, r := range early {
		if res := mustBeClean(t, r); res.Snapshots != 2 {
			t.Errorf("%d snapshots", res.Snapshots)
		}
	}
}

// A storage shows a machine the removal of a writer, and the new keys, and when the log is read once more it shows neither:
// nothing is written by what it shows then.
func TestLogGoesBackWhileRead(t *testing.T) {
	w, st, _ := removed(t)
	removal := w.open(w.owner).Head().Seq
	if _, err := w.open(w.owner).Rotate(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	last := w.open(w.owner).Head().Seq
	st.Set(number(last+1), []byte("junk")) // so that it is read once more
	early := fresh(t, st, w.writer)
	lists := 0
	view := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "List" && op.Name == "log/" {
			if lists++; lists == 2 {
				for seq := removal; seq <= last; seq++ {
					st.Delete(number(seq))
				}
			}
		}
		return storetest.None
	}}
	var rolled *ledger.RollbackError
	if _, err := openFresh(t.Context(), view, w.writer); !errors.As(err, &rolled) {
		t.Errorf("open: %v", err)
	}
	if _, err := upkeep.Check(t.Context(), early, mark, upkeep.CheckOptions{}); !errors.As(err, &rolled) {
		t.Errorf("check: %v", err)
	}
}
