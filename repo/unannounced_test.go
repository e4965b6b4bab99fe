package repo_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// Nobody but the owner has the keys of an epoch that the log has not announced: neither by a rotation that has died, nor as somebody
// who was given a key since. What such a one makes under these keys would be an entry to the owner and junk to all others, who
// would add their own behind it that the owner then passes over.
func TestNobodyHasKeysToCome(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	onDisk := w.owner
	was := st.Names()
	dies := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "Put" && strings.HasPrefix(op.Name, "log/") {
			return storetest.NotDone
		}
		return storetest.None
	}}
	if _, err := fresh(t, dies, w.owner).Rotate(t.Context(), func(k *keys.Keyring) error { onDisk = viaFile(t, k); return nil }); err == nil {
		t.Fatal("the rotation did not die")
	}
	if is := st.Names(); !slices.Equal(was, is) {
		t.Errorf("before the new keys are announced the storage has %v, and had %v", is, was)
	}
	late, err := fresh(t, st, onDisk).AnnouncedKey().NewWriter("late")
	if err != nil {
		t.Fatal(err)
	}
	if len(onDisk.Epochs) != 2 || len(late.Epochs) != 1 {
		t.Errorf("the owner has %d epochs, and gives %d to a new writer", len(onDisk.Epochs), len(late.Epochs))
	}
	if _, err := accepting(t, st, onDisk).Rotate(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*keys.Keyring{w.owner, onDisk, w.writer, evil} {
		if n := len(fresh(t, st, k).AnnouncedKey().Epochs); n != 3 {
			t.Errorf("%s has %d epochs", k.Name, n)
		}
	}
}

// accepting opens a repository for a person who has said that the log is as it should be.
func accepting(t *testing.T, st store.Store, k *keys.Keyring) *repo.Repo {
	t.Helper()
	r, err := openRepo(t.Context(), storetest.Alone(st), k, repo.Options{AcceptHead: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A machine that has never seen the log, and is shown that of before a rotation, is told by the new key file. It gives the keys in
// that file to nobody on the older list.
func TestKeyFileAheadOfTheLog(t *testing.T) {
	w, st, _, _, _ := twoInstances(t)
	old := st.Clone()
	recovery := w.owner
	if _, err := fresh(t, st, w.owner).Rotate(t.Context(), func(k *keys.Keyring) error { recovery = viaFile(t, k); return nil }); err != nil {
		t.Fatal(err)
	}
	for shown, want := range map[*storetest.Mem]bool{st: false, old: true} {
		told := false
		note := func(s string) { told = told || strings.Contains(s, "does not announce epoch 2 of the key file") }
		if _, err := openRepo(t.Context(), shown, recovery, repo.Options{Note: note}); err != nil {
			t.Fatal(err)
		}
		if told != want {
			t.Errorf("told: %v, want %v", told, want)
		}
		before := shown.Names()
		_, err := fresh(t, shown, recovery).Rotate(t.Context(), nothing)
		if why := (*cause.Error)(nil); want != (errors.As(err, &why) && why.Cause == cause.Unannounced) || want != slices.Equal(before, shown.Names()) {
			t.Errorf("rotating: %v", err)
		}
	}
}
