// Package inspection tells what a snapshot needs of a repository, without knowing what a snapshot consists of.
//
// An [Inspector] knows that: it tells a [Visitor] of each [Need]. [Losses] names the parts of snapshots that can't be put together
// again.
package inspection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"permafrost/chunk"
	"permafrost/internal/escape"
	"permafrost/repo"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A Need is what a snapshot needs of one blob.
type Need struct {
	Part   string // of the snapshot that needs it, as package snapshot names it: "postgres", "media/accounts/a.png"
	Blob   chunk.ID
	Offset int  // bytes into the blob
	Length int  // bytes from there on; 0: the whole blob, however long it is
	Whole  bool // the blob has no more than these bytes
}

// fits returns an error unless a blob of length bytes has what is needed.
func (n *Need) fits(length int) error {
	if n.Offset+n.Length > length || n.Whole && n.Length != length {
		return &store.DamageError{Object: "blob " + n.Blob.String()[:8], Err: fmt.Errorf("it has %d bytes, a recipe wants %d from %d on", length, n.Length, n.Offset)}
	}
	return nil
}

// An Inspector knows what snapshots consist of. It serves the snapshots of one instance, and reads their listings and
// recipes by one Reader.
type Inspector interface {
	// Inspect tells a Visitor all that the snapshot of a manifest needs, and which of its parts can't be put together
	// again. What lies below a listing's or recipe's blob that was found good is not told again for the snapshots that
	// come after. It returns what the manifest says that the snapshot holds. A DamageError, unless it is the Visitor's,
	// is of the manifest.
	Inspect(ctx context.Context, manifest []byte, v Visitor) (ledger.Holding, error)
}

// A Visitor is told of an inspection.
type Visitor interface {
	// Need returns why a blob can't be had, if it can't. By a DamageError the part that needs it is lost; any other error
	// ends the inspection.
	Need(ctx context.Context, n Need) error

	// Lost hears of a part that can't be put together again, once. An error that it returns ends the inspection.
	Lost(part string, err error) error
}

// A Maker makes the Inspector of an instance's snapshots that reads by rd.
type Maker func(rd *repo.Reader) Inspector

// All holds the Inspectors of all instances, by one index. It is for one goroutine at a time.
type All struct {
	core  *core.Core
	index *index.Index
	make  Maker
	known map[string]Inspector
}

// NewAll returns an All whose Inspectors inspect makes, each when it is first asked for.
func NewAll(c *core.Core, x *index.Index, inspect Maker) *All {
	return &All{c, x, inspect, make(map[string]Inspector)}
}

// For returns the Inspector for an instance's snapshots, and what the index has for these.
func (s *All) For(instance string) (Inspector, *index.Index) {
	x := s.index.For(instance)
	in := s.known[instance]
	if in == nil {
		in = s.make(repo.ReaderOf(s.core, x))
		s.known[instance] = in
	}
	return in, x
}

// MustHave returns an error unless the index lists a pack that has what is needed and is not known to be damaged.
func MustHave(x *index.Index, n *Need) error {
	pl, ok, err := x.Best(n.Blob)
	if err != nil {
		return err
	}
	if !ok {
		return blobs.Missing(n.Blob)
	}
	if p := &x.Packs[pl.Pack]; p.Reported {
		return &store.DamageError{Object: store.Pack.Object(p.Name), Err: fmt.Errorf("a check has found it damaged, and no other pack has blob %s…", n.Blob.String()[:8])}
	}
	return n.fits(int(pl.Length))
}

// A PartError says of which part of a snapshot an error is.
type PartError struct {
	Part string // as in a Need
	Err  error
}

func (e *PartError) Error() string { return escape.Name(e.Part) + ": " + e.Err.Error() }
func (e *PartError) Unwrap() error { return e.Err }

// A Loss is a part of a snapshot that can't be put together again.
type Loss struct {
	Part string // as in a Need; "all of it" for a manifest that can't be read
	Err  error
}

// losses is the Visitor that collects what a snapshot lacks.
type losses struct {
	index *index.Index
	parts []Loss
}

// Need implements Visitor.
func (l *losses) Need(_ context.Context, n Need) error { return MustHave(l.index, &n) }

// Lost implements Visitor.
func (l *losses) Lost(part string, err error) error {
	l.parts = append(l.parts, Loss{part, err})
	return nil
}

// maxTries is how often a damaged local index is made anew.
const maxTries = 8

// Losses calls f with each snapshot that can't be put together again from what the index lists, oldest first. The content of
// packs is not looked at. Its error is one of reading.
func Losses(ctx context.Context, r *repo.Repo, inspect Maker, f func(ref ledger.SnapshotRef, lost []Loss)) error {
	c := r.Core()
	var in *All
	for _, ref := range c.Log.Snapshots.Live() {
		for tries := 0; ; tries++ {
			if in == nil {
				x, err := c.LoadIndex(ctx)
				if err != nil {
					return err
				}
				in = NewAll(c, x, inspect)
			}
			lost, err := in.losses(ctx, ref)
			if err == nil && len(lost) == 0 {
				break
			}
			// A prune may have moved meanwhile what is missing, or have taken all of a snapshot that was forgotten.
			pruned, logErr := c.CatchUp(ctx)
			if logErr != nil {
				return logErr
			}
			if pruned || index.IsTableDamage(err) && tries < maxTries {
				in = nil
				if !slices.ContainsFunc(c.Log.Snapshots.Live(), func(s ledger.SnapshotRef) bool { return s.ID == ref.ID }) {
					break
				}
				continue
			}
			if err != nil {
				return err
			}
			f(ref, lost)
			break
		}
	}
	return nil
}

// losses returns what a snapshot lacks.
func (s *All) losses(ctx context.Context, ref ledger.SnapshotRef) ([]Loss, error) {
	in, x := s.For(ref.Instance)
	found := losses{index: x}
	text, err := s.core.Manifest(ctx, ref)
	if err == nil {
		_, err = in.Inspect(ctx, text, &found)
	}
	if d := (*store.DamageError)(nil); errors.As(err, &d) && !errors.Is(err, store.ErrNewerFormat) {
		return []Loss{{"all of it", err}}, nil
	}
	return found.parts, err
}
