package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

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
		Long: `Diff lists the secrets that came (+), went (-) or changed (M) from the first snapshot to
the second, by name; the tables of the database, by rows and bytes; and the media files,
with --metadata also those whose owner, mode or times alone changed (m). What both
snapshots share is not read.`,
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
			var sum diffSum
			if err := a.diffMedia(cmd.Context(), r, from, to, &sum, metadata); err != nil {
				return err
			}
			a.ui.JSON("summary", sum)
			a.ui.Report("%s", &sum)
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
		a.ui.JSON("secret", struct {
			Change string        `json:"change"`
			Name   snapshot.Text `json:"name"`
		}{c.Kind, snapshot.Text(c.Name)})
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
		a.ui.JSON("table", struct {
			Change string          `json:"change"`
			Table  string          `json:"table"`
			Before *postgres.Table `json:"before,omitempty"`
			After  *postgres.Table `json:"after,omitempty"`
		}{kind, c.Table, c.Old, c.New})
		a.ui.Print("%s postgres %s: %s to %s, %v to %v", kind, printable(c.Table), formatCount(old.Rows), plural(now.Rows, "row", "rows"), size(old.Bytes), size(now.Bytes))
	}
}

// diffMedia lists the media that differ, where both snapshots have some.
func (a *app) diffMedia(ctx context.Context, r *session, from, to *snapshot.Manifest, sum *diffSum, metadata bool) error {
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
		if kind := sum.add(&c); kind != "m" || metadata {
			a.ui.JSON("change", struct {
				Change string        `json:"change"`
				Path   snapshot.Text `json:"path"`
			}{kind, snapshot.Text("media/" + c.Path())})
			a.ui.Print("%s media/%s", kind, printable(c.Path()))
		}
	}
	return nil
}

// A diffSum counts changes of media.
type diffSum struct {
	Added        int64 `json:"added"`
	Removed      int64 `json:"removed"`
	Modified     int64 `json:"modified"`
	Metadata     int64 `json:"metadata"`
	AddedBytes   int64 `json:"bytes_added"`
	RemovedBytes int64 `json:"bytes_removed"`
}

// add counts a change and returns its letter.
func (s *diffSum) add(c *snapshot.Change) string {
	if c.Old != nil && c.Content() {
		s.RemovedBytes += c.Old.Size
	}
	if c.New != nil && c.Content() {
		s.AddedBytes += c.New.Size
	}
	switch {
	case c.Old == nil:
		s.Added++
		return "+"
	case c.New == nil:
		s.Removed++
		return "-"
	case c.Content():
		s.Modified++
		return "M"
	}
	s.Metadata++
	return "m"
}

func (s *diffSum) String() string {
	return fmt.Sprintf("media: %s added, %s removed, %s modified, %s with other metadata only; %v added, %v removed",
		formatCount(s.Added), formatCount(s.Removed), formatCount(s.Modified), formatCount(s.Metadata), size(s.AddedBytes), size(s.RemovedBytes))
}
