package keeper

import (
	"context"

	"permafrost/internal/escape"
	"permafrost/repo"
	"permafrost/snapshot"
)

// DiffOptions name two snapshots of a selection.
type DiffOptions struct {
	Selection
	From, To string // as retain.Find reads them
	Metadata bool   // media are told of too that differ in owner, mode or times alone
}

// Diff tells of each [SecretChange], [TableChange] and [MediaChange] from one snapshot to another, and counts those of the media. It
// does not read what both share. Its errors are those of [retain.Find], [snapshot.Load] and [snapshot.Diff].
func Diff(ctx context.Context, r *repo.Repo, o DiffOptions, news Observer) (*Compared, error) {
	var m [2]*snapshot.Manifest
	for i, name := range []string{o.From, o.To} {
		c := Choice{o.Selection, name}
		var err error
		if _, m[i], err = c.manifest(ctx, r, "", news); err != nil {
			return nil, err
		}
	}
	for _, c := range snapshot.DiffSecrets(m[0], m[1]) {
		news.Tell(SecretChange{Change: c.Kind, Name: snapshot.Text(c.Name)})
	}
	diffTables(m[0], m[1], news)
	return diffMedia(ctx, r, m[0], m[1], o.Metadata, news)
}

// diffTables tells of the tables that differ.
func diffTables(from, to *snapshot.Manifest, news Observer) {
	changes, counted := snapshot.DiffTables(from, to)
	if !counted {
		news.Found(note("the tables are not compared: a snapshot has no count of their rows"))
	}
	for _, c := range changes {
		kind := "M"
		switch {
		case c.New == nil:
			kind = "-"
		case c.Old == nil:
			kind = "+"
		}
		news.Tell(TableChange{Change: kind, Table: c.Table, Before: c.Old, After: c.New})
	}
}

// diffMedia tells of the media that differ, where both snapshots have some.
func diffMedia(ctx context.Context, r *repo.Repo, from, to *snapshot.Manifest, metadata bool, news Observer) (*Compared, error) {
	sum := new(Compared)
	for _, m := range []*snapshot.Manifest{from, to} {
		if m.Media.State != snapshot.Captured {
			f := warning("the media are not compared: in the snapshot of %s they are %s", escape.Name(m.Date), m.Media.State)
			f.Part = "media"
			news.Found(f)
			return sum, nil
		}
	}
	rd, err := r.NewReader(ctx, to.Instance)
	if err != nil {
		return nil, err
	}
	for c, err := range snapshot.Diff(ctx, rd, from, to) {
		if err != nil {
			return nil, err
		}
		if kind := sum.add(&c); kind != "m" || metadata {
			news.Tell(MediaChange{Change: kind, Path: snapshot.Text("media/" + c.Path())})
		}
	}
	return sum, nil
}
