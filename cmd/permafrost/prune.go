package main

import (
	"context"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/keeper"
	"permafrost/repo/upkeep"
)

func pruneCommand(a *app) *cobra.Command {
	var (
		flags  pruneFlags
		dryRun bool
		accept bool
	)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "delete what no snapshot needs",
		Long: `Prune deletes what no snapshot needs any more, and what interrupted runs left. It
rewrites packs of which more than --max-unused is no longer needed. Rewriting needs the
owner key (-i RECOVERY-FILE). Without that key these packs wait, and prune says so.

Prune deletes nothing while a snapshot lacks something that might come back. With
--accept-lost it goes on without the content that repair packs has named as lost.`,
		Example: `  permafrost prune
  permafrost prune -i permafrost-recovery.key --max-unused 2%`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			return runPrune(cmd.Context(), a, r, upkeep.PruneOptions{MaxUnused: float64(flags.maxUnused), DryRun: dryRun, AcceptLost: accept})
		},
	}
	flags.flags(cmd)
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only tell what would be done")
	cmd.Flags().BoolVar(&accept, "accept-lost", false, "prune although snapshots lack content that repair packs has named as lost")
	return cmd
}

// pruneFlags say how far a prune goes.
type pruneFlags struct{ maxUnused value.Percent }

func (p *pruneFlags) flags(cmd *cobra.Command) {
	p.maxUnused = upkeep.DefaultMaxUnused
	cmd.Flags().Var(&p.maxUnused, "max-unused", "rewrite packs of which more than this `share` is unused")
}

// runPrune prunes the repository and tells what it did.
func runPrune(ctx context.Context, a *app, r *opened, o upkeep.PruneOptions) error {
	n := report.New(a.ui)
	defer n.Close()
	o.Patience = a.retryLock
	res, err := keeper.Prune(ctx, r.Repo, o, n)
	if err == nil {
		n.Tell(res)
	}
	return err
}
