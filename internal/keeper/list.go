package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"permafrost/internal/escape"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
	"permafrost/source"
	"permafrost/source/media/pattern"
)

// ErrNoMatch says that no file matches a pattern.
var ErrNoMatch = errors.New("nothing matches")

// List tells of each [Entry] of a snapshot at a path and below it; "" is all of it. Its errors are those of [retain.Find] and
// [snapshot.Load], and one where nothing is there.
func List(ctx context.Context, r *repo.Repo, c Choice, path string, news Observer) error {
	path = strings.Trim(path, "/")
	_, m, err := c.manifest(ctx, r, path, news)
	if err != nil {
		return err
	}
	found := false
	err = entries(ctx, r, m, path, func(e Entry) {
		found = true
		news.Tell(e)
	})
	if err != nil || found {
		return err
	}
	if err := m.Lacks(r.Snapshots(), path); err != nil {
		return err
	}
	return fmt.Errorf("%s is not in that snapshot", escape.Name(path))
}

// entries passes each entry of a snapshot at path and below it to emit.
func entries(ctx context.Context, r *repo.Repo, m *snapshot.Manifest, path string, emit func(Entry)) error {
	tree, err := snapshot.OpenTree(ctx, r, m)
	if err != nil {
		return err
	}
	for n, err := range tree.Walk(cmp.Or(path, ".")) {
		if err != nil {
			return err
		}
		e := n.Entry
		link := snapshot.Text("")
		if e.Link != "" {
			link = snapshot.Text("media/" + e.Link)
		}
		emit(Entry{
			Path: snapshot.Text(n.Path), Type: string(e.Type), Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, MTime: n.ModTime(),
			Target: snapshot.Text(e.Target), Link: link,
		})
	}
	return nil
}

// FindOptions say where files are looked for.
type FindOptions struct {
	Choice  // all that are selected, where no name is given
	Pattern pattern.Pattern
}

// Find tells of each [Match] of a pattern, in one snapshot or in all that are selected. Its errors are [ErrNoMatch], and those of
// [retain.Find] and [snapshot.Load].
func Find(ctx context.Context, r *repo.Repo, o FindOptions, news Observer) error {
	refs := o.Of(r.Snapshots())
	if o.Name != "" {
		ref, err := o.pick(r, retain.Wish{}, news)
		if err != nil {
			return err
		}
		refs = []ledger.SnapshotRef{ref}
	}
	found := false
	for _, ref := range refs {
		m, err := snapshot.Load(ctx, r, ref)
		if err != nil {
			return err
		}
		err = entries(ctx, r, m, "", func(e Entry) {
			if o.Pattern.Match(string(e.Path), e.Type == string(source.Dir)) {
				found = true
				news.Tell(Match{Snapshot: ref.ID.String(), Date: ref.Date, Entry: e})
			}
		})
		if err != nil {
			return err
		}
	}
	if !found {
		return ErrNoMatch
	}
	return nil
}

// Dump writes a part of a snapshot, by the name that List lists. It takes the owner key. Its errors are those of [retain.Find],
// [snapshot.Load] and [snapshot.Dump].
func Dump(ctx context.Context, r *repo.Repo, c Choice, part string, to io.Writer, news Observer) error {
	_, m, err := c.manifest(ctx, r, part, news)
	if err != nil {
		return err
	}
	return snapshot.Dump(ctx, r, m, part, to)
}
