package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"permafrost/repo"
	"permafrost/snapshot"
	"permafrost/source"
	"permafrost/source/media"
)

func (a *app) findCommand() *cobra.Command {
	var (
		pick selection
		in   string
		long bool
	)
	cmd := &cobra.Command{
		Use:   "find PATTERN",
		Short: "find files in the snapshots",
		Long: `Find lists what matches a pattern, in all snapshots or in one. Paths are those that ls
lists. ` + "`permafrost help patterns`" + ` says what a pattern is.`,
		Example: `  permafrost find '*.webm'
  permafrost find 'media/accounts/avatars/*/*' --in latest --long`,
		Args: args("one pattern", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pattern, err := media.ParsePattern(args[0])
			if err != nil {
				return &usageError{err}
			}
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			refs := pick.of(r.Snapshots())
			if in != "" {
				ref, err := snapshot.Find(refs, in)
				if err != nil {
					return err
				}
				refs = []repo.SnapshotRef{ref}
			}
			found := false
			for _, ref := range refs {
				here, err := a.findIn(cmd.Context(), r, ref, pattern, long)
				if err != nil {
					return err
				}
				found = found || here
			}
			if !found {
				return errors.New("nothing matches")
			}
			return nil
		},
	}
	pick.flags(cmd)
	cmd.Flags().StringVar(&in, "in", "", "look in this `snapshot` only")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, owner, size and time")
	return cmd
}

// findIn lists what matches in one snapshot, each line after the snapshot's ID.
func (a *app) findIn(ctx context.Context, r *session, ref repo.SnapshotRef, pattern media.Pattern, long bool) (found bool, err error) {
	m, err := snapshot.Load(ctx, r.Repo, ref)
	if err != nil {
		return false, err
	}
	err = entries(ctx, r, m, "", func(l listLine) {
		if !pattern.Match(string(l.Path), l.Type == string(source.Dir)) {
			return
		}
		found = true
		a.ui.JSON("match", struct {
			Snapshot string `json:"snapshot"`
			Date     string `json:"date"`
			listLine
		}{ref.ID.String(), ref.Date, l})
		a.ui.Print("%s %s  %s", ref.ID.Short(), printable(ref.Date), l.text(long))
	})
	return found, err
}

func (a *app) diffCommand() *cobra.Command {
	var (
		pick     selection
		metadata bool
	)
	cmd := &cobra.Command{
		Use:   "diff SNAP SNAP",
		Short: "tell what changed in the media between two snapshots",
		Long: `Diff lists the media files that came (+), went (-) or changed (M) from the first
snapshot to the second; with --metadata also those whose owner, mode or times alone
changed (m). What both snapshots share is not read.`,
		Example: "  permafrost diff latest~1 latest",
		Args:    args("two snapshots", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			_, from, err := r.manifest(cmd.Context(), &pick, args[0])
			if err != nil {
				return err
			}
			_, to, err := r.manifest(cmd.Context(), &pick, args[1])
			if err != nil {
				return err
			}
			rd, err := r.NewReader(cmd.Context(), to.Instance)
			if err != nil {
				return err
			}
			var sum diffSum
			for c, err := range snapshot.Diff(cmd.Context(), rd, from, to) {
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
			a.ui.JSON("summary", sum)
			a.ui.Report("%s", &sum)
			return nil
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVar(&metadata, "metadata", false, "list also what changed in owner, mode or times alone")
	return cmd
}

// A diffSum counts changes.
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
	return fmt.Sprintf("%s added, %s removed, %s modified, %s in metadata alone; %v came, %v went",
		formatCount(s.Added), formatCount(s.Removed), formatCount(s.Modified), formatCount(s.Metadata), size(s.AddedBytes), size(s.RemovedBytes))
}
