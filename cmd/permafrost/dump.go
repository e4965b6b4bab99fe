package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
)

func dumpCommand(a *app) *cobra.Command {
	var pick selection
	cmd := &cobra.Command{
		Use:   "dump SNAP postgres|redis|sidekiq|secrets|media/PATH",
		Short: "write one part of a snapshot to standard output",
		Long: `Dump writes one part of a snapshot to standard output, by the name that ls lists.
Postgres is for pg_restore, redis is an RDB file, and secrets is .env.production.
Secrets/PATH and media/PATH are single files. It needs the owner key.

A stream is known to be whole at its end: use the output only if the exit code is 0.
The database's dump is for a superuser of PostgreSQL, who gives each table back to its
owner. The owner's role must exist.`,
		Example: `  permafrost dump -i permafrost-recovery.key latest postgres > mastodon.dump
  permafrost dump -i permafrost-recovery.key latest postgres | runuser -u postgres -- pg_restore -d mastodon_restored
  permafrost dump -i permafrost-recovery.key 2026-06-27 secrets`,
		Args: args("a snapshot, and the name of a part", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.ui.Terminal() && args[1] != "secrets" {
				return hint.Wrap(usage.Errorf("dump does not write a file's bytes to a terminal"), "redirect standard output: > FILE")
			}
			r, err := a.open(cmd.Context(), keeper.ContentKey)
			if err != nil {
				return err
			}
			defer r.Close()
			out := a.ui.Raw()
			if args[1] == "secrets" {
				out = a.ui.Text()
			}
			return keeper.Dump(cmd.Context(), r.Repo, pick.choice(args[0]), args[1], out, report.New(a.ui))
		},
	}
	pick.flags(cmd)
	return cmd
}
