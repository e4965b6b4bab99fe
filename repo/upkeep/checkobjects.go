package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"permafrost/repo/inspection"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// maxStrays bounds how many strays a check names.
const maxStrays = 1000

// note keeps the name of an object that nothing leads to.
func (c *checker) note(object string) {
	if len(c.res.Strays) < maxStrays {
		c.res.Strays = append(c.res.Strays, object)
	}
}

// strays lists what no log entry leads to, packs aside: what a run under way or an interrupted one has put, or what
// somebody has put there. Nothing references it.
func (c *checker) strays(ctx context.Context, h *ledger.History) error {
	known := h.Objects()
	for _, p := range h.Roster.People {
		for _, object := range p.Keys {
			known[object] = true
		}
	}
	for _, kind := range []store.Kind{store.Index, store.Manifest, store.Key} {
		for o, err := range c.core.Store.List(ctx, kind.Dir()) {
			if err != nil {
				return fmt.Errorf("listing %s: %w", kind.Dir(), err)
			}
			if k, _ := store.Parse(o.Name); k != store.None && !known[o.Name] {
				c.res.Unnamed++
				c.note(o.Name)
			}
		}
	}
	return eachJunk(ctx, c.core, h, append(store.Hashed(), store.Log), func(o store.Object) {
		c.res.Junk++
		c.note(o.Name)
	})
}

// eachJunk calls f with each object in the place of some kinds that has a name which no object of a repository has, or a number of
// the log out of reach. Who may write to the storage can put such, and nothing references them.
func eachJunk(ctx context.Context, c *core.Core, h *ledger.History, kinds []store.Kind, f func(store.Object)) error {
	for _, kind := range kinds {
		for o, err := range c.Store.List(ctx, kind.Dir()) {
			if err != nil {
				return fmt.Errorf("listing %s: %w", kind.Dir(), err)
			}
			if k, _ := store.Parse(o.Name); k == store.None || h.IsOutOfReach(o.Name) {
				f(o)
			}
		}
	}
	return nil
}

// keys reads the keyrings that the roster names. Whom one is for could not open the repository by it any more: that is
// better known before it is needed.
func (c *checker) keys(ctx context.Context, h *ledger.History) error {
	for _, p := range h.Roster.People {
		for _, object := range p.Keys {
			data, err := store.ReadAll(ctx, c.core.Store, object, keys.MaxWrapped)
			var long *store.DamageError
			switch {
			case errors.Is(err, fs.ErrNotExist):
				err = errors.New("is missing")
			case errors.As(err, &long):
				err = long.Err
			case err != nil:
				return fmt.Errorf("reading a keyring: %w", err)
			case store.Key.Object(store.NameOf(data)) != object:
				err = errors.New("its content does not match the hash in its name")
			}
			if err != nil {
				c.found = append(c.found, &store.DamageError{Object: object, Err: fmt.Errorf("%w; it is a keyring of %q: remove that key and add it anew", err, p.Name)})
			}
		}
	}
	return nil
}

// snapshots reads every manifest anew, and looks whether the snapshot can be put together again and is what its log entry says.
func (c *checker) snapshots(ctx context.Context, h *ledger.History, in *inspection.All) error {
	for _, s := range h.Snapshots.Live() {
		holding, err := c.snapshot(ctx, h.Keys, in, s)
		if err == nil {
			c.res.Snapshots++
			if !holding.Equal(&s.Holding) {
				c.wrong(&ledger.SnapshotError{Ref: s, Err: errors.New("its log entry and its manifest have different numbers")})
			}
			continue
		}
		if err := c.damaged(&ledger.SnapshotError{Ref: s, Err: err}); err != nil {
			return err
		}
	}
	return nil
}

// snapshot returns what a snapshot's manifest says that it holds. An error says what of it is lost, or why that can't be told.
func (c *checker) snapshot(ctx context.Context, keys *keys.Keyring, in *inspection.All, s ledger.SnapshotRef) (h ledger.Holding, err error) {
	data, err := store.ReadNamed(ctx, c.core.Store, store.Manifest.Object(s.Manifest), s.Manifest, store.MaxObject)
	if err != nil {
		return h, err
	}
	text, err := core.OpenManifest(c.core.Log.Envelopes().Unseal, keys, s, data)
	if err != nil {
		return h, err
	}
	inspector, x := in.For(s.Instance)
	found := checkedSnapshot{check: c, index: x}
	if h, err = inspector.Inspect(ctx, text, &found); err == nil {
		err = found.first
	}
	if found.lost > 1 {
		err = fmt.Errorf("%d parts can't be put together again, the first: %w", found.lost, err)
	}
	return h, err
}

// A checkedSnapshot is the Visitor that looks for all that a snapshot needs, and counts what is lost.
type checkedSnapshot struct {
	check *checker
	index *index.Index
	lost  int // parts
	first error
}

// Need implements Visitor.
func (s *checkedSnapshot) Need(_ context.Context, n inspection.Need) error {
	s.check.res.Blobs++
	return inspection.MustHave(s.index, &n)
}

// Lost implements Visitor.
func (s *checkedSnapshot) Lost(part string, err error) error {
	if s.lost++; s.lost == 1 {
		s.first = &inspection.PartError{Part: part, Err: err}
	}
	return nil
}
