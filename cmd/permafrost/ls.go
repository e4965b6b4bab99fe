package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/keeper"
)

func lsCommand(a *app) *cobra.Command {
	var (
		pick selection
		long bool
	)
	cmd := &cobra.Command{
		Use:   "ls SNAP [PATH]",
		Short: "list what is in a snapshot",
		Long: `Ls lists what a snapshot holds, under the names that dump takes: secrets/PATH, postgres,
redis and media/PATH. It lists sidekiq too, if Sidekiq has a Redis of its own. With PATH
it lists that and everything below it.

The host's key can read names and sizes, and no content.`,
		Example: `  permafrost ls latest
  permafrost ls 2026-06-27 media/accounts/avatars --long`,
		Args: args("a snapshot, and perhaps a path", 1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			n := report.New(a.ui)
			n.Long = long
			return keeper.List(cmd.Context(), r.Repo, pick.choice(args[0]), append(args, "")[1], n)
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, owner, size and time")
	return cmd
}
