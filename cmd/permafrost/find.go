package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"permafrost/internal/keeper"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
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
		Long: `Find lists files that match a pattern, in all snapshots or in one. Paths are as ls lists
them. ` + "`permafrost help patterns`" + ` explains patterns.`,
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
			refs := pick.Of(r.Snapshots())
			if in != "" {
				ref, err := a.find(r, &pick, in, retain.Wish{})
				if err != nil {
					return err
				}
				refs = []ledger.SnapshotRef{ref}
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
func (a *app) findIn(ctx context.Context, r *opened, ref ledger.SnapshotRef, pattern media.Pattern, long bool) (found bool, err error) {
	m, err := snapshot.Load(ctx, r.Repo, ref)
	if err != nil {
		return false, err
	}
	err = entries(ctx, r.Repo, m, "", func(l keeper.Entry) {
		if !pattern.Match(string(l.Path), l.Type == string(source.Dir)) {
			return
		}
		found = true
		a.ui.JSON(keeper.Match{Snapshot: ref.ID.String(), Date: ref.Date, Entry: l})
		a.ui.Print("%s %s  %s", ref.ID.Short(), printable(ref.Date), entryText(&l, long))
	})
	return found, err
}
