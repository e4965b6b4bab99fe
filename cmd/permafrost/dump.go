package main

import (
	"github.com/spf13/cobra"

	"permafrost/internal/hint"
	"permafrost/snapshot"
)

func (a *app) dumpCommand() *cobra.Command {
	var pick selection
	cmd := &cobra.Command{
		Use:   "dump SNAP postgres|redis|sidekiq|secrets|media/PATH",
		Short: "write one part of a snapshot to standard output",
		Long: `Dump writes one part of a snapshot to standard output: the database as pg_restore
takes it, Redis' data as an RDB file, secrets (.env.production) or secrets/PATH, or a
file of the media, under the names that ls lists. It takes the owner key.

Whether a stream is whole is known at its end: use the output only where the exit
code is 0. The dump of the database is for a superuser of PostgreSQL, who gives each
table back to its owner; the role of that name has to be there.`,
		Example: `  permafrost dump -i permafrost-recovery.key latest postgres > mastodon.dump
  permafrost dump -i permafrost-recovery.key latest postgres | runuser -u postgres -- pg_restore -d mastodon_restored
  permafrost dump -i permafrost-recovery.key 2026-06-27 secrets`,
		Args: args("a snapshot, and the name of a part", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.ui.terminal() && args[1] != "secrets" {
				return hint.Wrap(usagef("dump does not write a file's bytes to a terminal"), "redirect standard output: > FILE")
			}
			r, err := a.open(cmd.Context(), contentKey)
			if err != nil {
				return err
			}
			defer r.Close()
			_, m, err := a.manifest(cmd.Context(), r, &pick, args[0], wishFor(args[1]))
			if err != nil {
				return err
			}
			out := a.ui.Raw()
			if args[1] == "secrets" {
				out = a.ui.Text()
			}
			return snapshot.Dump(cmd.Context(), r.Repo, m, args[1], out)
		},
	}
	pick.flags(cmd)
	return cmd
}
