package keeper

import (
	"context"
	"fmt"
	"os"

	"filippo.io/age"

	"permafrost/internal/escape"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
)

// A Recipient is what somebody's keyring is wrapped to.
type Recipient struct {
	To   age.Recipient
	Text string // kept in the list of keys; "" for a passphrase
	Weak string // what is weak about it, "" for nothing
}

// warn tells of a weak recipient.
func (to *Recipient) warn(news Observer) {
	if to.Weak != "" {
		news.Found(warning("this key is the weakest of the repository: %s", to.Weak))
	}
}

// AddKeyOptions describe who is given a key, and how.
type AddKeyOptions struct {
	Role      keys.Role
	Name      string     // in the list of keys
	Instance  string     // of a writer, whose snapshots it makes; "" for any
	MayForget bool       // of a writer
	To        *Recipient // nil where the key is written to File
	File      string     // of a writer: where its key file is written, and nothing must be yet
}

// AddKey gives somebody a key. It takes the owner key. Where it fails no key file is left. Its errors are those of
// [keys.WriteFile] and [repo.Repo.AddPerson].
func AddKey(ctx context.Context, r *repo.Repo, o AddKeyOptions, news Observer) error {
	if o.To == nil {
		o.To = new(Recipient)
	}
	o.To.warn(news)
	p, keyring := ledger.Person{Name: o.Name}, r.AnnouncedKey().ForOwner
	if o.Role == keys.RoleWriter {
		p.Instance, p.MayForget = o.Instance, o.MayForget
		keyring = r.AnnouncedKey().NewWriter
	}
	k, err := keyring(o.Name)
	if err != nil {
		return err
	}
	if o.File != "" {
		if err := keys.WriteFile(o.File, k); err != nil {
			return err
		}
	}
	if err := r.AddPerson(ctx, k, p, o.To.To, o.To.Text); err != nil {
		if o.File != "" {
			os.Remove(o.File)
		}
		return fmt.Errorf("adding %s: %w", escape.Name(o.Name), err)
	}
	return nil
}

// RemoveKey takes a name off the list of keys. It takes the owner key. Its errors are those of [repo.Repo.RemovePerson].
func RemoveKey(ctx context.Context, r *repo.Repo, name string) error {
	if err := r.RemovePerson(ctx, name); err != nil {
		return fmt.Errorf("removing %s: %w", escape.Name(name), err)
	}
	return nil
}

// A Rotated says which keys are in use after a rotation, and who has none of them.
type Rotated struct {
	Epoch   uint32   // number of the keys in use
	Keyless []string // names of those that must be added anew
}

// RotateKeys puts new keys into use. It takes the owner key. Where file is not "" it is the key file that is replaced by one with
// both the old keys and the new ones, before anything is stored with these. Its errors are those of [keys.ReplaceFile] and
// [repo.Repo.Rotate].
func RotateKeys(ctx context.Context, r *repo.Repo, file string) (*Rotated, error) {
	without, err := r.Rotate(ctx, func(k *keys.Keyring) error {
		if file == "" {
			return nil // its new keys come through the storage, as everybody's do
		}
		return keys.ReplaceFile(file, k)
	})
	if err != nil {
		return nil, fmt.Errorf("rotating the keys: %w", err)
	}
	return &Rotated{r.Key().CurrentEpoch().Number, without}, nil
}
