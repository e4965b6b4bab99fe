package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/keeper"
)

func snapshotsCommand(a *app) *cobra.Command {
	var (
		pick selection
		head bool
	)
	cmd := &cobra.Command{
		Use:   "snapshots",
		Short: "list the snapshots",
		Long: `Snapshots lists the snapshots that can be restored. With --head it prints the log's head
instead. Note it elsewhere, and give it to check or restore with --head later. They then
find a storage that hides newer snapshots, even on a machine that has never seen it.`,
		Example: `  permafrost snapshots
  permafrost snapshots --head
  permafrost snapshots --tag before-upgrade --json`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			if head {
				a.ui.JSON(keeper.Head{Head: r.Head().String()})
				a.ui.Print("%v", r.Head())
				return nil
			}
			all := keeper.Snapshots(r.Repo, pick.Selection)
			a.ui.Lines(report.Snapshots(all))
			for _, l := range all {
				a.ui.JSON(l)
			}
			tellRequests(a.ui, r.Repo)
			return nil
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVar(&head, "head", false, "print the log's head, to be noted elsewhere")
	return cmd
}

// A selection is a part of a repository's snapshots.
type selection struct{ keeper.Selection }

func (s *selection) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.Instance, "instance", "", "only snapshots of the instance with this `domain`")
	cmd.Flags().StringArrayVar(&s.Tags, "tag", nil, "only snapshots with this `tag`; repeatable")
}

// choice returns one snapshot of the selection, by name.
func (s *selection) choice(name string) keeper.Choice {
	return keeper.Choice{Selection: s.Selection, Name: name}
}
