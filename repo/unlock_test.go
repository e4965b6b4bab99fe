package repo_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A counting identity counts what it was asked to open.
type countingIdentity struct {
	age.Identity
	asked *atomic.Int64
}

func (c countingIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	c.asked.Add(1)
	return c.Identity.Unwrap(stanzas)
}

// A person who brought a key of their own gets the keyring that the list of keys says to be theirs: not one that a writer of
// another instance has wrapped for them, be it as genuine as that writer's own. And what anybody puts below keys/ afterwards is
// not even tried.
func TestUnlockByTheList(t *testing.T) {
	for _, role := range []keys.Role{keys.RoleWriter, keys.RoleOwner} {
		w, st, evil, _, _ := twoInstances(t)
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		hers, err := w.owner.ForOwner("alice")
		if role == keys.RoleWriter {
			hers, err = w.owner.NewWriter("alice")
		}
		if err != nil {
			t.Fatal(err)
		}
		p := ledger.Person{Name: "alice", Instance: instance}
		if err := fresh(t, st, w.owner).AddPerson(t.Context(), hers, p, id.Recipient(), id.Recipient().String()); err != nil {
			t.Fatal(err)
		}
		if _, err := fresh(t, st, w.owner).Rotate(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
		data, err := keys.Wrap(evil, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		theirs := objectsOf(st, "keys")
		asked := new(atomic.Int64)
		unlock := func() *keys.Keyring {
			t.Helper()
			asked.Store(0)
			k, err := repo.Unlock(context.Background(), st, &keys.Identity{Identities: []age.Identity{countingIdentity{id, asked}}},
				func(k *keys.Keyring) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		unlock()
		most := asked.Load()
		for i := range 50 {
			for _, name := range []string{fmt.Sprintf("keys/%064x.age", i), fmt.Sprintf("keys/f%063x.age", i)} {
				st.Set(name, data)
				st.SetTime(name, time.Now().Add(time.Hour))
			}
		}
		if k := unlock(); k.Name != "alice" || k.Role != role {
			t.Errorf("alice, %s, gets the keyring of %s", role, k.Name)
		}
		if n := asked.Load(); n > most {
			t.Errorf("her identity is asked %d times, and %d times before", n, most)
		}
		// The forged one is the older: she is who she was all the same.
		for _, name := range objectsOf(st, "keys") {
			st.SetTime(name, time.Now().Add(time.Hour))
		}
		st.SetTime(fmt.Sprintf("keys/%064x.age", 0), time.Now())
		if k := unlock(); k.Name != "alice" || k.Role != role {
			t.Errorf("alice, %s, gets the keyring of %s", role, k.Name)
		}
		if role == keys.RoleWriter {
			lost := st.Clone()
			for _, name := range theirs {
				lost.Delete(name)
			}
			if k, err := repo.Unlock(context.Background(), lost, &keys.Identity{Identities: []age.Identity{id}}, func(*keys.Keyring) error { return nil }); err == nil {
				t.Errorf("alice, whose keyring is lost, gets that of %s", k.Name)
			}
			r, err := openRepo(t.Context(), st, unlock(), repo.Options{Identities: []age.Identity{id}})
			if err != nil {
				t.Fatal(err)
			}
			mustSnapshot(t, r, night(3), 3)
		}
	}
}

// Who has found the repository has read its config, and to open it doesn't read that again.
func TestConfigIsReadOnce(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	reads := 0
	st := &storetest.Hook{Store: w.store, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "ReadAt" && op.Name == "config" {
			reads++
		}
		return storetest.None
	}}
	id, err := repo.Find(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	k, err := repo.Unlock(t.Context(), st, &keys.Identity{Keyring: w.writer}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openRepo(t.Context(), st, k, repo.Options{ID: id}); err != nil || reads != 1 {
		t.Errorf("%v; the config was read %d times", err, reads)
	}
	if _, err := openRepo(t.Context(), st, k, repo.Options{ID: store.Name{1}}); !errors.As(err, new(*repo.ForeignKeyError)) {
		t.Errorf("the key of another repository: %v", err)
	}
}
