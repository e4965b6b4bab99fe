package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/keeper"
)

func showCommand(a *app) *cobra.Command {
	var pick selection
	cmd := &cobra.Command{
		Use:   "show [SNAP]",
		Short: "tell all about a snapshot",
		Long: `Show tells what a snapshot holds of each component, when and how it was taken, and what it
cost. Without SNAP it shows the latest one.

The table has the size of each component, the new bytes in it, and the storage that
these took. Wasted bytes are parts of an earlier dump that this snapshot does not use.
They are kept because it needs another part of their blob.`,
		Example: `  permafrost show latest
  permafrost show 2026-06-27 --json`,
		Args: args("one snapshot", 0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			m, err := keeper.Show(cmd.Context(), r.Repo, pick.choice(append(args, "latest")[0]), report.New(a.ui))
			if err != nil {
				return err
			}
			a.ui.JSON(m)
			a.ui.Lines(report.Snapshot(m))
			return nil
		},
	}
	pick.flags(cmd)
	return cmd
}
