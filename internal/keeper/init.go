package keeper

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"permafrost/internal/hostfs"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// InitOptions say how a repository is made.
type InitOptions struct {
	Recovery   string // where the owner's key file is written, absolute; nothing must be there
	Writer     string // likewise of the host's key file, whose directory is made
	Name       string // of the writer, in the list of keys
	Instance   string // whose snapshots the writer makes; "" for any
	AppendOnly bool   // the writer may not remove snapshots
	Owners     []Recipient
	Location   string // the address in full, to be told
}

// An InitError says how far the making of a repository went before it failed.
type InitError struct {
	Made  bool     // the repository may be there, in part or as a whole: the key files stay. Else there are none
	Files []string // the key files
	Err   error
}

func (e *InitError) Error() string { return e.Err.Error() }
func (e *InitError) Unwrap() error { return e.Err }

// Init makes a repository, and two key files. Of a repository that can't be made no key file is left; they stay where it is not
// certain that nothing was made with them. Its errors are [repo.ErrRepositoryExists], those of [keys.WriteFile], and an
// [InitError] from then on.
func Init(ctx context.Context, st store.Store, o InitOptions, news Observer) (*NewRepository, error) {
	// repo.Init itself refuses a place that is taken; asked first, no key files are written for nothing.
	if there, err := repo.Exists(ctx, st); err != nil {
		return nil, err
	} else if there {
		return nil, repo.ErrRepositoryExists
	}
	owner, err := keys.NewOwner()
	if err != nil {
		return nil, err
	}
	writer, err := owner.NewWriter(o.Name)
	if err != nil {
		return nil, err
	}
	if err := o.writeKeys(owner, writer); err != nil {
		return nil, err
	}
	if err := repo.Init(ctx, st, owner, writer, repo.InitOptions{Instance: o.Instance, AppendOnly: o.AppendOnly}); err != nil {
		return nil, o.failed(ctx, st, err)
	}
	if err := o.addOwners(ctx, st, owner, news); err != nil {
		return nil, &InitError{true, o.files(), err}
	}
	return &NewRepository{
		Repository: store.Name(owner.Repository).String(), Fingerprint: owner.Fingerprint(), Recovery: o.Recovery, Writer: o.Writer,
		Instance: o.Instance, AppendOnly: o.AppendOnly, Location: o.Location,
	}, nil
}

func (o *InitOptions) files() []string { return []string{o.Recovery, o.Writer} }

// writeKeys writes both key files, or none.
func (o *InitOptions) writeKeys(owner, writer *keys.Keyring) error {
	dir, err := hostfs.MakeDir(filepath.Dir(o.Writer))
	if err != nil {
		return fmt.Errorf("making a directory for the writer file: %w", err)
	}
	dir.Close()
	if err := keys.WriteFile(o.Recovery, owner); err != nil {
		return err
	}
	if err := keys.WriteFile(o.Writer, writer); err != nil {
		os.Remove(o.Recovery)
		return err
	}
	return nil
}

// failed removes the key files where it is sure that no repository was made with them.
func (o *InitOptions) failed(ctx context.Context, st store.Store, err error) error {
	there, ask := repo.Exists(ctx, st)
	if ask != nil || there {
		return &InitError{true, o.files(), err}
	}
	for _, file := range o.files() {
		os.Remove(file)
	}
	return &InitError{false, o.files(), err}
}

// addOwners gives keys to the further owners.
func (o *InitOptions) addOwners(ctx context.Context, st store.Store, owner *keys.Keyring, news Observer) error {
	if len(o.Owners) == 0 {
		return nil
	}
	r, err := repo.Open(ctx, st, owner, repo.Options{ID: store.Name(owner.Repository)})
	if err != nil {
		return err
	}
	for i := range o.Owners {
		add := AddKeyOptions{Role: keys.RoleOwner, Name: fmt.Sprintf("owner%d", i+1), To: &o.Owners[i]}
		if err := AddKey(ctx, r, add, news); err != nil {
			return err
		}
	}
	return nil
}
