package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
)

func (a *app) pruneCommand() *cobra.Command {
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
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			return a.prune(cmd.Context(), r, repo.PruneOptions{MaxUnused: float64(flags.maxUnused), DryRun: dryRun, AcceptLost: accept})
		},
	}
	flags.flags(cmd)
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only tell what would be done")
	cmd.Flags().BoolVar(&accept, "accept-lost", false, "prune although snapshots lack content that repair packs has named as lost")
	return cmd
}

// pruneFlags say how far a prune goes.
type pruneFlags struct{ maxUnused percent }

func (p *pruneFlags) flags(cmd *cobra.Command) {
	p.maxUnused = repo.DefaultMaxUnused
	cmd.Flags().Var(&p.maxUnused, "max-unused", "rewrite packs of which more than this `share` is unused")
}

// prune prunes the repository and tells what it did.
func (a *app) prune(ctx context.Context, r *opened, o repo.PruneOptions) error {
	p := newProgress(a.ui)
	defer p.Close()
	o.Patience = a.retryLock
	res, err := keeper.Prune(ctx, r.Repo, o, &news{a.ui, p})
	p.Close()
	if err != nil {
		return err
	}
	dryRun := o.DryRun
	if !dryRun {
		a.ui.Done("the prune is done")
	}
	a.ui.JSON(res)
	did, freed := "removed", "freed"
	if dryRun {
		did, freed = "would remove", "would free"
	}
	a.ui.Report("%s %s and %s, %s %v", did, units.Plural(int64(res.Removed), "pack", "packs"),
		units.Plural(int64(res.LeftOver), "left-over object", "left-over objects"), freed, size(res.Freed))
	if res.Lost > 0 {
		a.ui.Report("%s that snapshots need %s lost; that was accepted", units.Plural(int64(res.Lost), "blob", "blobs"), map[bool]string{true: "is", false: "are"}[res.Lost == 1])
	}
	if res.Rewritten > 0 {
		a.ui.Report("rewrote %s, storing %v anew", units.Plural(int64(res.Rewritten), "pack", "packs"), size(res.Moved))
	}
	a.ui.Report("the packs %s %v, of which %v %s needed", map[bool]string{true: "hold", false: "held"}[dryRun], size(res.Live+res.Dead), size(res.Live),
		map[bool]string{true: "are", false: "were"}[dryRun])
	if res.Waiting > 0 {
		a.ui.Report("%s with %v that nothing needs wait for a prune with the owner key (-i RECOVERY-FILE)", units.Plural(int64(res.Waiting), "pack", "packs"), size(res.WaitingBytes))
	}
	if !dryRun {
		a.tellHead(r)
	}
	return nil
}

// A percent is a share between 0 and 1, as a flag takes it: "5%".
type percent float64

func (p *percent) String() string { return strconv.FormatFloat(float64(*p)*100, 'f', -1, 64) + "%" }

// Set reads a number from 0 to 100 with or without a percent sign.
func (p *percent) Set(text string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("%q is not a share: write a percentage like 5%%", text)
	}
	*p = percent(v / 100)
	return nil
}

// Type names the flag's value in help texts.
func (p *percent) Type() string { return "percentage" }
