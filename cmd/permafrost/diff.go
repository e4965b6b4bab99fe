package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/keeper"
)

func diffCommand(a *app) *cobra.Command {
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
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			o := keeper.DiffOptions{Selection: pick.Selection, From: args[0], To: args[1], Metadata: metadata}
			sum, err := keeper.Diff(cmd.Context(), r.Repo, o, report.New(a.ui))
			if err != nil {
				return err
			}
			a.ui.JSON(sum)
			a.ui.Report("%s", report.Compared(sum))
			return nil
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVar(&metadata, "metadata", false, "list also what changed in owner, mode or times alone")
	return cmd
}
