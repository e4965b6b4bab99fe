package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"permafrost/internal/keeper"
	"permafrost/internal/units"
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
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			o := keeper.DiffOptions{Selection: pick.Selection, From: args[0], To: args[1], Metadata: metadata}
			sum, err := keeper.Diff(cmd.Context(), r.Repo, o, a.news())
			if err != nil {
				return err
			}
			a.ui.JSON(sum)
			a.ui.Report("%s", compared(sum))
			return nil
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVar(&metadata, "metadata", false, "list also what changed in owner, mode or times alone")
	return cmd
}

// compared says in how many files of the media two snapshots differ.
func compared(s *keeper.Compared) string {
	return fmt.Sprintf("media: %s added, %s removed, %s modified, %s with other metadata only; %v added, %v removed",
		units.Count(s.Added), units.Count(s.Removed), units.Count(s.Modified), units.Count(s.Metadata), units.Bytes(s.AddedBytes), units.Bytes(s.RemovedBytes))
}
