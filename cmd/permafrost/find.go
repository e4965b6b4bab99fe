package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/keeper"
	"permafrost/source/media/pattern"
)

func findCommand(a *app) *cobra.Command {
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
			p, err := pattern.Parse(args[0])
			if err != nil {
				return usage.Wrap(err)
			}
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			n := report.New(a.ui)
			n.Long = long
			return keeper.Find(cmd.Context(), r.Repo, keeper.FindOptions{Choice: pick.choice(in), Pattern: p}, n)
		},
	}
	pick.flags(cmd)
	cmd.Flags().StringVar(&in, "in", "", "look in this `snapshot` only")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, owner, size and time")
	return cmd
}
