// Package headers reads the headers of packs: for which instance each was written, so that a listing for another one is not believed.
package headers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"
)

// SortOut reads the headers of packs, hides their false listings, and calls found with an error for each index object that
// has some. A listing stays where the header is missing or damaged; and where this key can't open it: undecided hears then
// of a pack that is listed for several instances.
func SortOut(ctx context.Context, c *core.Core, h *ledger.History, x *index.Index, packs []store.Name, found, undecided func(error)) error {
	openers, err := Read(ctx, c, x.Keys, packs)
	if err != nil {
		return err
	}
	instances := h.Instances()
	told, asked := make(map[uint32]bool), make(map[uint32]bool) // index objects
	for i, name := range packs {
		listed := x.Listed(name)
		if first := x.Packs[listed[0]].Object; openers[i] == nil && !c.Key.CanRead() && !asked[first] && x.IsContested(name) {
			asked[first] = true
			undecided(undecidedListing(x, listed))
		}
		for _, n := range listed {
			p := &x.Packs[n]
			if openers[i] == nil || openers[i].IsFor(p.Instance) {
				continue
			}
			p.Foreign, p.Hidden = true, true
			if !told[p.Object] {
				told[p.Object] = true
				found(blobs.FalseListing(x, p, openers[i].Whose(instances)))
			}
		}
	}
	x.Arrange()
	return nil
}

// NoteError returns what notes an error that hinders nobody.
func NoteError(c *core.Core) func(error) { return func(err error) { c.Note("%v", err) } }

func Ignore(error) {}

// undecidedListing returns the error of a pack's listings for several instances, where this key can't tell which is false.
func undecidedListing(x *index.Index, listed []uint32) error {
	a := &x.Packs[listed[0]]
	i := slices.IndexFunc(listed, func(n uint32) bool { return x.Packs[n].Instance != a.Instance })
	b := &x.Packs[listed[i]]
	return &cause.Error{Cause: cause.FalseListing, Err: &store.DamageError{Object: store.Index.Object(x.Objects[a.Object].Name), Err: fmt.Errorf("it lists pack %s for %q, and %s lists it for %q: one of them is false",
		a.Name.Short(), a.Instance, store.Index.Object(x.Objects[b.Object].Name), b.Instance)}}
}

// Read opens the headers of packs: nil for one that is missing or can't be opened.
func Read(ctx context.Context, c *core.Core, keys *keys.Keyring, packs []store.Name) ([]*pack.Opener, error) {
	openers := make([]*pack.Opener, len(packs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(core.StatsInFlight)
	for i, name := range packs {
		g.Go(func() error {
			o, err := ReadOne(ctx, c, keys, name)
			if d := (*store.DamageError)(nil); errors.As(err, &d) {
				return nil
			}
			openers[i] = o
			return err
		})
	}
	return openers, g.Wait()
}

// ReadOne opens the header of a pack. What is missing, or can't be opened, is a DamageError.
func ReadOne(ctx context.Context, c *core.Core, keys *keys.Keyring, name store.Name) (*pack.Opener, error) {
	object, head, n := store.Pack.Object(name), make([]byte, pack.MaxAgeHeader), 0
	err := Again(ctx, c, object, func() (err error) {
		n, err = c.Store.ReadAt(ctx, object, head, 0)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = &store.DamageError{Object: object, Err: err}
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	o := &pack.Opener{Identities: append(keys.MetaIdentities(), keys.DataIdentities()...)}
	if _, err := age.Decrypt(bytes.NewReader(head[:n]), o); err != nil {
		return nil, &store.DamageError{Object: object, Err: fmt.Errorf("decrypting: %w", err)}
	}
	return o, nil
}

// Again reads an object, or a part of it, by read: once more where it fails. What fails twice while the storage still gives
// another object is a DamageError: a disk fails in places.
func Again(ctx context.Context, c *core.Core, object string, read func() error) error {
	plain := func(err error) bool {
		d := (*store.DamageError)(nil)
		return err == nil || err == io.EOF || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.As(err, &d)
	}
	err := read()
	if plain(err) {
		return err
	}
	if err = read(); plain(err) || ctx.Err() != nil {
		return err
	}
	if _, other := repo.Find(ctx, c.Store); other != nil {
		return err
	}
	return &store.DamageError{Object: object, Err: fmt.Errorf("can't be read: %w", err)}
}
