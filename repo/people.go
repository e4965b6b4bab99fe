package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"permafrost/repo/cause"
	"permafrost/repo/internal/index"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"

	"filippo.io/age"
)

// keyringObject returns the content of an object below keys/: nil where it is not there, or longer than any keyring.
func keyringObject(ctx context.Context, st store.Store, object string) ([]byte, error) {
	data, err := store.ReadAll(ctx, st, object, keys.MaxWrapped)
	var d *store.DamageError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &d):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading a keyring: %w", err)
	}
	return data, nil
}

// copyKeys completes the copies in the state directory of the keyrings that the list of keys names. No command reads them: where
// the storage has lost keys/, a person can put the objects back from any machine that knew the repository. What is there is
// never replaced, but for what has not the hash that names it: an object does not change, unless the storage has spoilt it.
func (r *Repo) copyKeys(ctx context.Context) error {
	if !r.core.Machine.Remembers() {
		return nil
	}
	for _, object := range r.core.Log.Roster.KeyObjects() {
		if have, err := r.core.Machine.Read(object, keys.MaxWrapped); err == nil && have != nil && keyObject(have) == object {
			continue
		}
		data, err := keyringObject(ctx, r.core.Store, object)
		if err != nil {
			return err
		}
		if data == nil || keyObject(data) != object {
			continue // lost or spoilt, which a check names
		}
		if err := r.core.Machine.Write(object, data); err != nil {
			r.core.Note("keeping a copy of a keyring: %v", err)
			return nil
		}
	}
	return nil
}

// ownerOnly returns an error unless the repository was opened with the owner key.
func (r *Repo) ownerOnly(what string) error {
	if r.core.Key.Role != keys.RoleOwner {
		return &keys.MissingKeyError{Need: "the owner key (-i RECOVERY-FILE)", For: what}
	}
	return nil
}

// keyObject is the name of a wrapped keyring in the store. It says nothing of whom it is for.
func keyObject(data []byte) string { return store.Key.Object(store.NameOf(data)) }

// putKeyring wraps k to a recipient and puts it below keys/.
func (r *Repo) putKeyring(ctx context.Context, k *keys.Keyring, to age.Recipient) (object string, err error) {
	data, err := keys.Wrap(k, to)
	if err != nil {
		return "", err
	}
	object = keyObject(data)
	if err := r.core.Store.Put(ctx, object, data); err != nil {
		return "", fmt.Errorf("putting a keyring: %w", err)
	}
	return object, nil
}

// AddPerson puts somebody on the roster and gives them k, the repository's own keyring or one that Keyring.NewWriter made. It wraps k to
// the recipient to and puts that below keys/; if to is nil the caller hands over a key file. recipient is the text of to, kept on the
// roster so that later epochs reach the person too. It is "" for a passphrase. Of p it takes Name, Instance and MayForget.
//
// It takes the owner key. A name that is on the roster already is an error of cause.NameTaken.
func (r *Repo) AddPerson(ctx context.Context, k *keys.Keyring, p ledger.Person, to age.Recipient, recipient string) error {
	if err := r.ownerOnly("adding a key"); err != nil {
		return err
	}
	if err := keys.CheckName(p.Name); err != nil {
		return err
	}
	if len(p.Instance) > index.MaxInstance {
		return fmt.Errorf("an instance's name has at most %d bytes", index.MaxInstance)
	}
	p.Role, p.VerifyKey = k.Role, k.VerifyKey()
	p.Recipient = recipient
	if to == nil && k.Identity != nil {
		p.Recipient = k.Identity.Recipient().String()
	}
	if err := nameFree(r.core.Log.History, p.Name); err != nil {
		return err
	}
	if to != nil {
		object, err := r.putKeyring(ctx, k, to)
		if err != nil {
			return err
		}
		p.Keys = []string{object}
	}
	return r.publishRoster(ctx, func(h *ledger.History) ([]ledger.Person, error) {
		return append(slices.Clone(h.Roster.People), p), nameFree(h, p.Name)
	})
}

func nameFree(h *ledger.History, name string) error {
	if slices.ContainsFunc(h.Roster.People, func(p ledger.Person) bool { return p.Name == name }) {
		return cause.Errorf(cause.NameTaken, "the list of keys has a %q already", name)
	}
	return nil
}

// publishRoster publishes what change makes of the roster as it stands.
func (r *Repo) publishRoster(ctx context.Context, change func(*ledger.History) ([]ledger.Person, error)) error {
	e := &ledger.Entry{Roster: new(ledger.RosterEntry)}
	return r.core.Log.Publish(ctx, e, func(h *ledger.History) (err error) {
		e.Roster.People, err = change(h)
		return err
	})
}

// RemovePerson takes a name off the roster and removes its keyrings from the storage. Whoever has seen these keeps them: Rotate makes
// new keys. It takes the owner key. The last owner can't be removed.
func (r *Repo) RemovePerson(ctx context.Context, name string) error {
	if err := r.ownerOnly("removing a key"); err != nil {
		return err
	}
	var removed ledger.Person
	err := r.publishRoster(ctx, func(h *ledger.History) ([]ledger.Person, error) {
		i := slices.IndexFunc(h.Roster.People, func(p ledger.Person) bool { return p.Name == name })
		if i < 0 {
			return nil, cause.Errorf(cause.NameAbsent, "the list of keys has no %q", name)
		}
		removed = h.Roster.People[i]
		if removed.Role == keys.RoleOwner && owners(h) == 1 {
			return nil, errors.New("the last owner can't be removed")
		}
		return slices.Delete(slices.Clone(h.Roster.People), i, i+1), nil
	})
	if err != nil {
		return err
	}
	if err := r.core.RemoveAll(ctx, removed.Keys, func(int) {}); err != nil {
		return fmt.Errorf("removing a keyring: %w", err)
	}
	return nil
}

func owners(h *ledger.History) (n int) {
	for _, p := range h.Roster.People {
		if p.Role == keys.RoleOwner {
			n++
		}
	}
	return n
}

// Rotate starts a new epoch: what is stored from now on is under new keys, and what was stored before stays readable with the old. The
// entry that announces the epoch gives the new keys to everybody on the roster who has a recipient. unreached are the names of the
// others, who have to be given them anew.
//
// save must make the grown keyring durable: it is called before anything depends on the new keys. Keys that a dying rotation leaves
// are never used, and nobody else has them: the next rotation makes its own.
//
// It takes the owner key. An error of cause.Rotated says that another owner was faster.
func (r *Repo) Rotate(ctx context.Context, save func(*keys.Keyring) error) (unreached []string, err error) {
	if err := r.ownerOnly("rotating the keys"); err != nil {
		return nil, err
	}
	// Before anybody is given keys: the list of keys may be an older one, with somebody on it who was removed since.
	if err := r.mayRotate(ctx); err != nil {
		return nil, err
	}
	if len(r.core.Log.LostRoster()) > 0 { // it is stated anew by this: nobody announces anything before
		if err := r.publishRoster(ctx, func(h *ledger.History) ([]ledger.Person, error) { return slices.Clone(h.Roster.People), nil }); err != nil {
			return nil, err
		}
	}
	if err := r.allAnnounced(); err != nil {
		return nil, err
	}
	grown := *r.Key()
	next, err := grown.NewEpoch()
	if err == nil {
		err = grown.AddEpoch(next)
	}
	if err != nil {
		return nil, err
	}
	if err := save(&grown); err != nil {
		return nil, fmt.Errorf("saving the new keys: %w", err)
	}
	e := &ledger.EpochEntry{Number: next.Number, Signature: next.Signature}
	err = r.core.Log.Publish(ctx, &ledger.Entry{Epoch: e}, func(h *ledger.History) (err error) {
		if h.Epochs.Newest >= next.Number {
			return cause.Errorf(cause.Rotated, "another owner rotated the keys meanwhile")
		}
		// Those who are given the keys are those on the list as the entry finds it.
		e.Keys, unreached, err = wrapEpoch(&grown, h.Roster.People, r.opts.Prompt)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.core.Log.Keys = &grown
	return unreached, nil
}

// mayRotate returns an error where the log is damaged, unless an owner has said that it goes on as it is.
func (r *Repo) mayRotate(ctx context.Context) error {
	if err := r.core.Log.CatchUp(ctx); err != nil {
		return err
	}
	if err := r.core.Log.AcceptDamage(ctx); err != nil || r.opts.AcceptHead {
		return err
	}
	return r.core.Log.MayAdd(&ledger.Entry{Epoch: new(ledger.EpochEntry)})
}

// allAnnounced returns an error where the key file has epochs that the log does not announce, unless an owner has said that the log is
// as it should be. A rotation that died leaves such keys, which nobody uses. But if the storage shows an older log they are in use, and
// a rotation would give them to all on its list, with whoever was removed since.
func (r *Repo) allAnnounced() error {
	if len(r.core.Log.LostEpoch()) > 0 {
		return nil // later entries say so, and that nobody on the list of keys was removed since
	}
	if n := len(r.core.Log.Keys.Epochs); int(r.core.Log.Epochs.LastOf(r.core.Log.Keys)) < n && !r.opts.AcceptHead {
		return cause.Errorf(cause.Unannounced, "the key file has keys of epoch %d, which the log does not announce", n)
	}
	return nil
}

// wrapEpoch returns the keys for everybody on the roster who has a recipient, and the names of those who have none.
func wrapEpoch(grown *keys.Keyring, people []ledger.Person, person keys.Prompt) (wrapped [][]byte, unreached []string, err error) {
	for _, p := range people {
		if p.Recipient == "" {
			unreached = append(unreached, p.Name)
			continue
		}
		to, _, _, err := keys.ParseRecipient(p.Recipient, person)
		if err != nil {
			return nil, nil, fmt.Errorf("recipient of %s: %w", p.Name, err)
		}
		give := grown.ForWriter()
		if p.Role == keys.RoleOwner {
			if give, err = grown.ForOwner(p.Name); err != nil {
				return nil, nil, err
			}
		}
		data, err := keys.Wrap(give, to)
		if err != nil {
			return nil, nil, err
		}
		wrapped = append(wrapped, data)
	}
	return wrapped, unreached, nil
}
