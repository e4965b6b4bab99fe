package repo

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"permafrost/repo/internal/core"
	"permafrost/repo/internal/machine"
	"permafrost/repo/keys"
	"permafrost/repo/store"

	"filippo.io/age"
)

// Unlock returns the keyring that an identity file gives: its own, or one from keys/ that it opens. accept decides whether
// a keyring from the storage is the repository's: anyone who can write there could have put it.
//
// A writer can wrap a keyring for somebody else that is as genuine as its own: who took that would sign as that writer, or as
// nobody. So any of them serves to read the list of keys, which says which object is whose. The oldest come first: whatever
// anybody puts there later is not tried. That a repository stands there at all Find tells.
func Unlock(ctx context.Context, st store.Store, id *keys.Identity, accept func(*keys.Keyring) error) (*keys.Keyring, error) {
	if id.Keyring != nil {
		return id.Keyring, nil
	}
	u := &unlocking{store: store.NewWitness(st), ids: id.Identities, accept: accept}
	objects, err := u.objects(ctx)
	if err != nil {
		return nil, err
	}
	var found *keys.Keyring
	asked := make(map[int]bool) // by a keyring of so many epochs
	for _, o := range objects {
		k, err := u.open(ctx, o.Name)
		if err != nil {
			return nil, err
		}
		if k == nil {
			continue
		}
		if n := len(k.Epochs); !asked[n] {
			asked[n] = true
			if mine := u.listed(ctx, k); mine != nil {
				return mine, nil
			}
		}
		// Where the list can't be read, or an owner is none of it: the oldest epochs hold none that was never announced, and Open adds
		// those that were.
		if found == nil || k.Role == keys.RoleOwner && found.Role != keys.RoleOwner || k.Role == found.Role && len(k.Epochs) < len(found.Epochs) {
			found = k
		}
	}
	switch {
	case found != nil && (found.Role == keys.RoleOwner || !u.read):
		return found, nil
	case u.refused != nil:
		return nil, u.refused
	}
	return nil, &keys.MissingKeyError{Need: "a key of its list of keys; this one opens none of its keyrings", For: "opening the repository"}
}

// An unlocking looks for the keyring of who holds some identities.
type unlocking struct {
	store   *store.Witness
	ids     []age.Identity
	accept  func(*keys.Keyring) error
	refused error
	read    bool // the list was
}

// objects returns what lies below keys/, the oldest first.
func (u *unlocking) objects(ctx context.Context) (objects []store.Object, err error) {
	for o, err := range u.store.List(ctx, store.Key.Dir()) {
		if err != nil {
			return nil, fmt.Errorf("listing keyrings: %w", err)
		}
		objects = append(objects, o)
	}
	slices.SortStableFunc(objects, func(a, b store.Object) int { return a.Time.Compare(b.Time) })
	return objects, nil
}

// open returns the keyring in an object, or nil: it was made for somebody else, or is junk, or is refused.
func (u *unlocking) open(ctx context.Context, object string) (*keys.Keyring, error) {
	data, err := keyringObject(ctx, u.store, object)
	if data == nil || err != nil {
		return nil, err
	}
	k, err := keys.Unwrap(data, u.ids...)
	if err != nil || k.SignKey == nil {
		return nil, nil
	}
	if err := u.accept(k); err != nil {
		u.refused = err
		return nil, nil
	}
	return k, nil
}

// listed returns the keyring that the list of keys says to be theirs, rather an owner's; nil where it names none of theirs, or can't
// be read by k.
func (u *unlocking) listed(ctx context.Context, k *keys.Keyring) (mine *keys.Keyring) {
	h, err := core.New(u.store, k, new(machine.Memory), Options{Identities: u.ids}.log(), nil).Log.ReadLog(ctx, k, false)
	if err != nil {
		return nil
	}
	u.read = true
	for _, p := range h.Roster.People {
		for _, object := range p.Keys {
			k, err := u.open(ctx, object)
			if err == nil && k != nil && k.Role == p.Role && bytes.Equal(k.VerifyKey(), p.VerifyKey) && (mine == nil || k.Role == keys.RoleOwner) {
				mine = k
			}
		}
	}
	return mine
}
