package main

import (
	"context"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
)

func repairCommand(a *app) *cobra.Command {
	return family(&cobra.Command{
		Use:   "repair",
		Short: "repair what the storage has damaged",
		Long: `Repair saves what it can of the damage that permafrost check has found. It needs the owner
key. It deletes nothing. The next prune deletes the damaged packs that repair has taken
off the index: keep copies if you want them.

The next snapshot stores lost content again if the host still has it. Older snapshots
that need this content are then whole again.`,
		Example: `  permafrost check --read-data
  permafrost repair index -i permafrost-recovery.key
  permafrost repair packs -i permafrost-recovery.key
  permafrost snapshot`,
	}, repairIndexCommand(a), repairPacksCommand(a))
}

// runRepair opens the repository, has run repair it, and tells the log's head afterwards.
func runRepair(ctx context.Context, a *app, o *keeper.RepairOptions, run func(*repo.Repo, *report.Reporter) error) error {
	r, err := a.open(ctx, keeper.ContentKey)
	if err != nil {
		return err
	}
	defer r.Close()
	n := report.New(a.ui)
	defer n.Close()
	if !o.DryRun {
		a.ui.Done("the repair is done")
	}
	o.Patience = a.retryLock
	err = run(r.Repo, n)
	if err == nil && !o.DryRun {
		tellHead(a.ui, r)
	}
	return err
}

func repairIndexCommand(a *app) *cobra.Command {
	var o keeper.RepairOptions
	cmd := &cobra.Command{
		Use:   "index",
		Short: "list again what no index lists",
		Long: `Repair index takes missing and damaged index objects off the log. It reads the packs that
no index lists and verifies each blob in them. It lists again the packs that a snapshot
needs. It needs the owner key.

Exit codes: 0 everything is listed, 3 content was not found, or its packs are damaged
or can't be opened. permafrost help exit-codes has the others.`,
		Example: `  permafrost check
  permafrost repair index -i permafrost-recovery.key`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRepair(cmd.Context(), a, &o, func(r *repo.Repo, n *report.Reporter) error {
				res, err := keeper.RepairIndex(cmd.Context(), r, o, n)
				if res != nil {
					tellIndexRepair(a.ui, res)
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "only tell what would be done")
	return cmd
}

func tellIndexRepair(ui *console.Console, res *keeper.IndexRepaired) {
	ui.JSON(res)
	if res.Dropped+res.Read == 0 && !res.Lacking {
		ui.Report("the index is whole: nothing to repair")
		return
	}
	took, listed := "took", "listed again"
	if res.DryRun {
		took, listed = "would take", "to be listed again"
	}
	ui.Report("%s %s off the log that were missing or damaged", took, units.Plural(int64(res.Dropped), "index object", "index objects"))
	ui.Report("%s that no index listed: %s needed, and %s", units.Plural(int64(res.Read), "pack", "packs"), units.Count(int64(res.Listed)), listed)
}

func repairPacksCommand(a *app) *cobra.Command {
	var o keeper.RepairOptions
	cmd := &cobra.Command{
		Use:   "packs",
		Short: "save what verifies in damaged packs",
		Long: `Repair packs copies everything that verifies in damaged packs to new packs. It takes
damaged and missing packs off the index. Then it names what each snapshot lacks. A pack
is damaged if its size is wrong, or if permafrost check --read-data has found damage in
it. It needs the owner key.

Exit codes: 0 every snapshot is whole, 3 something is lost, and was named; others as
permafrost help exit-codes tells.`,
		Example: `  permafrost check --read-data
  permafrost repair packs -i permafrost-recovery.key
  permafrost snapshot`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRepair(cmd.Context(), a, &o, func(r *repo.Repo, n *report.Reporter) error {
				res, err := keeper.RepairPacks(cmd.Context(), r, o, n)
				if res != nil {
					tellPackRepair(a.ui, res)
				}
				if err != nil || o.DryRun {
					return err
				}
				err = keeper.Losses(cmd.Context(), r, n)
				if err == nil {
					a.ui.Report("every snapshot is whole")
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "only tell what would be done")
	return cmd
}

func tellPackRepair(ui *console.Console, res *keeper.PacksRepaired) {
	ui.JSON(res)
	if res.Packs == 0 {
		ui.Report("no pack is known to be damaged; `permafrost check --read-data` reads each of them")
		return
	}
	saved := "saved"
	if res.DryRun {
		saved = "can be saved"
	}
	ui.Report("%s: %s %s, %s lost", units.Plural(int64(res.Packs), "damaged or missing pack", "damaged or missing packs"),
		units.Plural(int64(res.Saved), "blob", "blobs"), saved, units.Count(int64(res.Lost)))
}
