package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
	"permafrost/source/postgres"
)

func (a *app) diffCommand() *cobra.Command {
	var (
		pick     selection
		metadata bool
	)
	cmd := &cobra.Command{
		Use:   "diff SNAP SNAP",
		Short: "tell what changed between two snapshots",
		Long: `Diff lists what was added (+), removed (-) or modified (M) from the first snapshot to the
second. It names secrets, tables with their rows and bytes, and media files. With
--metadata it also lists media of which only owner, mode or times changed (m). It does
not read what both snapshots share.`,
		Example: "  permafrost diff latest~1 latest",
		Args:    args("two snapshots", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			_, from, err := a.manifest(cmd.Context(), r, &pick, args[0], retain.Wish{})
			if err != nil {
				return err
			}
			_, to, err := a.manifest(cmd.Context(), r, &pick, args[1], retain.Wish{})
			if err != nil {
				return err
			}
			a.diffSecrets(from, to)
			a.diffTables(from, to)
			var sum keeper.Compared
			if err := a.diffMedia(cmd.Context(), r.Repo, from, to, &sum, metadata); err != nil {
				return err
			}
			a.ui.JSON(sum)
			a.ui.Report("%s", compared(&sum))
			return nil
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVar(&metadata, "metadata", false, "list also what changed in owner, mode or times alone")
	return cmd
}

// diffSecrets lists the secrets that differ.
func (a *app) diffSecrets(from, to *snapshot.Manifest) {
	for _, c := range snapshot.DiffSecrets(from, to) {
		a.ui.JSON(keeper.SecretChange{Change: c.Kind, Name: snapshot.Text(c.Name)})
		a.ui.Print("%s %s", c.Kind, printable(c.Name))
	}
}

// diffTables lists the tables that differ.
func (a *app) diffTables(from, to *snapshot.Manifest) {
	changes, counted := snapshot.DiffTables(from, to)
	if !counted {
		a.ui.Say("the tables are not compared: a snapshot has no count of their rows")
	}
	for _, c := range changes {
		kind, old, now := "M", postgres.Table{}, postgres.Table{}
		if c.Old == nil {
			kind = "+"
		} else {
			old = *c.Old
		}
		if c.New == nil {
			kind = "-"
		} else {
			now = *c.New
		}
		a.ui.JSON(keeper.TableChange{Change: kind, Table: c.Table, Before: c.Old, After: c.New})
		a.ui.Print("%s postgres %s: %s to %s, %v to %v", kind, printable(c.Table), units.Count(old.Rows), units.Plural(now.Rows, "row", "rows"), size(old.Bytes), size(now.Bytes))
	}
}

// diffMedia lists the media that differ, where both snapshots have some.
func (a *app) diffMedia(ctx context.Context, r *repo.Repo, from, to *snapshot.Manifest, sum *keeper.Compared, metadata bool) error {
	for _, m := range []*snapshot.Manifest{from, to} {
		if m.Media.State != snapshot.Captured {
			a.ui.Warn("the media are not compared: in the snapshot of %s they are %s", printable(m.Date), m.Media.State)
			return nil
		}
	}
	rd, err := r.NewReader(ctx, to.Instance)
	if err != nil {
		return err
	}
	for c, err := range snapshot.Diff(ctx, rd, from, to) {
		if err != nil {
			return err
		}
		if kind := sum.Add(&c); kind != "m" || metadata {
			a.ui.JSON(keeper.MediaChange{Change: kind, Path: snapshot.Text("media/" + c.Path())})
			a.ui.Print("%s media/%s", kind, printable(c.Path()))
		}
	}
	return nil
}

// compared says in how many files of the media two snapshots differ.
func compared(s *keeper.Compared) string {
	return fmt.Sprintf("media: %s added, %s removed, %s modified, %s with other metadata only; %v added, %v removed",
		units.Count(s.Added), units.Count(s.Removed), units.Count(s.Modified), units.Count(s.Metadata), size(s.AddedBytes), size(s.RemovedBytes))
}
