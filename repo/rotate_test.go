package repo_test

import (
	"errors"
	"strings"
	"testing"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
)

// viaFile passes a keyring through its file, as another machine has it.
func viaFile(t *testing.T, k *keys.Keyring) *keys.Keyring {
	t.Helper()
	data, err := k.KeyFile()
	if err != nil {
		t.Fatal(err)
	}
	k, err = keys.ParseFile(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func nothing(*keys.Keyring) error { return nil }

// After a rotation both old key files still open the repository, by the storage's help; what is stored from then on is
// under new keys; and older snapshots stay readable.
func TestRotate(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	oldOwner, oldWriter := viaFile(t, w.owner), viaFile(t, w.writer)
	c := night(1)
	first, _ := mustSnapshot(t, w.open(w.writer), c, 1)
	var saved *keys.Keyring
	without, err := w.open(w.owner).Rotate(t.Context(), func(k *keys.Keyring) error {
		saved = viaFile(t, k)
		return nil
	})
	if err != nil || len(without) != 0 || saved.CurrentEpoch().Number != 2 {
		t.Fatalf("rotate: %v, without %v", err, without)
	}
	host := w.open(oldWriter)
	second, stats := mustSnapshot(t, host, c, 2)
	if s := stats[repo.Media]; s.Fresh != s.Logical {
		t.Errorf("after a rotation the old keys' blobs are referenced: %+v", s)
	}
	if k := host.Key(); k.CurrentEpoch().Number != 2 || k.CanRead() || oldWriter.CurrentEpoch().Number != 1 {
		t.Errorf("the writer holds epoch %d, can read: %v; its own keyring then has %d", k.CurrentEpoch().Number, k.CanRead(), oldWriter.CurrentEpoch().Number)
	}
	for _, k := range []*keys.Keyring{oldOwner, saved} {
		r := w.open(k)
		for _, ref := range []ledger.SnapshotRef{first, second} {
			if err := verify(t.Context(), r, ref, c); err != nil {
				t.Error(err)
			}
		}
		mustBeClean(t, r)
	}
}

// A rotation that fails anywhere locks nobody out, whatever it left on the storage, and the next one goes through.
func TestRotateFails(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	c := content{repo.Media: blobs(1, 3, 1000)}
	first, _ := mustSnapshot(t, w.open(w.writer), c, 1)
	points := 0
	for _, fault := range []storetest.Fault{storetest.NotDone, storetest.Done} {
		for n := 0; ; n++ {
			mine := st.Clone()
			view, failed := failAt(mine, n, fault)
			r, err := openFresh(t.Context(), view, viaFile(t, w.owner))
			if err != nil {
				t.Fatal(err)
			}
			onDisk := viaFile(t, w.owner)
			_, err = r.Rotate(t.Context(), func(k *keys.Keyring) error { onDisk = viaFile(t, k); return nil })
			if !failed() {
				break
			}
			if err == nil {
				t.Fatalf("fault %d at change %d: no error", fault, n)
			}
			points++
			r, err = openRepo(t.Context(), storetest.Alone(mine), onDisk, repo.Options{AcceptHead: true})
			if err != nil {
				t.Fatalf("fault %d at change %d: the key file that was saved: %v", fault, n, err)
			}
			if _, err := r.Rotate(t.Context(), nothing); err != nil {
				t.Fatalf("fault %d at change %d: rotating again: %v", fault, n, err)
			}
			for _, k := range []*keys.Keyring{viaFile(t, w.owner), viaFile(t, onDisk)} {
				if r, err = openFresh(t.Context(), mine, k); err == nil {
					err = verify(t.Context(), r, first, c)
				}
				if err != nil {
					t.Fatalf("fault %d at change %d: %v", fault, n, err)
				}
			}
			if r, err = openFresh(t.Context(), mine, viaFile(t, w.writer)); err != nil {
				t.Fatalf("fault %d at change %d: the writer: %v", fault, n, err)
			}
			if _, _, err := snapshot(t.Context(), r, c, 2); err != nil {
				t.Fatalf("fault %d at change %d: the writer: %v", fault, n, err)
			}
		}
	}
	if points < 2 {
		t.Errorf("only %d points", points)
	}
}

// People with keys of their own: they open the repository by them, before and after a rotation, and not when removed.
func TestPeople(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	c := content{repo.Media: blobs(1, 3, 1000)}
	ref, _ := mustSnapshot(t, w.open(w.writer), c, 1)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	o := w.open(w.owner)
	hers, err := w.owner.ForOwner("alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.AddPerson(t.Context(), hers, ledger.Person{Name: "alice"}, id.Recipient(), id.Recipient().String()); err != nil {
		t.Fatal(err)
	}
	if err := o.AddPerson(t.Context(), hers, ledger.Person{Name: "alice"}, id.Recipient(), id.Recipient().String()); err == nil {
		t.Error("one name twice")
	}
	open := func() error {
		// Junk, and a keyring that the storage made up for her, must not keep her out.
		forged, err := keys.NewOwner()
		if err != nil {
			t.Fatal(err)
		}
		data, err := keys.Wrap(forged, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		st.Set("keys/00000000000000000000000000000000.age", data)
		st.Set("keys/00000000000000000000000000000001.age", []byte("junk"))
		ids := []age.Identity{id}
		k, err := repo.Unlock(t.Context(), st, &keys.Identity{Identities: ids}, func(k *keys.Keyring) error {
			if k.Fingerprint() != w.owner.Fingerprint() {
				return errors.New("another fingerprint")
			}
			return nil
		})
		if err != nil {
			return err
		}
		r, err := openRepo(t.Context(), st, k, repo.Options{Identities: ids})
		if err != nil {
			return err
		}
		return verify(t.Context(), r, ref, c)
	}
	if err := open(); err != nil {
		t.Errorf("alice: %v", err)
	}
	if _, err := w.open(w.owner).Rotate(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	ref, _ = mustSnapshot(t, w.open(w.writer), c, 2)
	if err := open(); err != nil {
		t.Errorf("alice, after a rotation: %v", err)
	}
	if err := w.open(w.owner).RemovePerson(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Errorf("alice was removed: %v", err)
	}
}

// Whoever is removed while he begins a snapshot, and finds an index object gone, is told that he has no key any more.
func TestRemovedWhileBeginning(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	host := fresh(t, st, w.writer)
	owner := fresh(t, st, w.owner)
	if err := owner.RemovePerson(t.Context(), "web1"); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh(t, st, w.owner).Rotate(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	for _, object := range objectsOf(st, "index") {
		if err := st.Remove(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	_, err := host.NewWriter(t.Context(), instance)
	if lacks := (*keys.MissingKeyError)(nil); !errors.As(err, &lacks) {
		t.Errorf("%v", err)
	}
}
