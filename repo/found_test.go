package repo_test

import (
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
)

// What TestHostileHistories once found, each by itself.

// Who was removed gets no keys from an owner who is shown a log that has lost the removal: a rotation that is refused gives none
// out.
func TestRefusedRotationGivesNoKeys(t *testing.T) {
	w, st, gone := removed(t)
	removal := w.open(w.owner).Head().Seq
	recovery := w.owner
	save := func(k *repo.Keyring) error { recovery = viaFile(t, k); return nil }
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
		if update, err := repo.UnwrapKeyring(st.Bytes(object), gone.Identity); err == nil && len(update.Epochs) > 1 {
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
