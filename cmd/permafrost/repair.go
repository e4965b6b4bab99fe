package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/repo/ledger"
)

// lostTold is how many lost parts of a snapshot are named where nobody asked for more.
const lostTold = 10

func (a *app) repairCommand() *cobra.Command {
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
	}, a.repairIndexCommand(), a.repairPacksCommand())
}

// repair opens the repository, has run repair it, and tells the log's head afterwards.
func (a *app) repair(ctx context.Context, o *keeper.RepairOptions, run func(*repo.Repo, *news) error) error {
	r, err := a.open(ctx, keeper.ContentKey)
	if err != nil {
		return err
	}
	defer r.Close()
	n := a.news()
	defer n.Close()
	if !o.DryRun {
		a.ui.Done("the repair is done")
	}
	o.Patience = a.retryLock
	err = run(r.Repo, n)
	if err == nil && !o.DryRun {
		a.tellHead(r)
	}
	return err
}

func (a *app) repairIndexCommand() *cobra.Command {
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
			return a.repair(cmd.Context(), &o, func(r *repo.Repo, n *news) error {
				res, unusable, err := keeper.RepairIndex(cmd.Context(), r, o, n)
				if err != nil {
					return err
				}
				return a.tellIndexRepair(res, unusable)
			})
		},
	}
	cmd.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "only tell what would be done")
	return cmd
}

func (a *app) tellIndexRepair(res *keeper.IndexRepaired, unusable int) error {
	a.ui.JSON(res)
	if res.Dropped+res.Read == 0 && !res.Lacking {
		a.ui.Report("the index is whole: nothing to repair")
		return nil
	}
	took, listed := "took", "listed again"
	if res.DryRun {
		took, listed = "would take", "to be listed again"
	}
	a.ui.Report("%s %s off the log that were missing or damaged", took, units.Plural(int64(res.Dropped), "index object", "index objects"))
	a.ui.Report("%s that no index listed: %s needed, and %s", units.Plural(int64(res.Read), "pack", "packs"), units.Count(int64(res.Listed)), listed)
	switch {
	case res.Damaged > 0:
		return hint.Wrap(&partialError{fmt.Errorf("%s among them", units.Plural(int64(res.Damaged), "damaged pack is", "damaged packs are"))},
			"`permafrost repair packs` saves what is whole in them; until then nothing uses them")
	case res.Lacking:
		return hint.Wrap(&partialError{errors.New("content that snapshots need was not found, or could not be looked for")},
			"`permafrost repair packs`, and a new snapshot, may bring some of it back; repair the index again after that")
	case unusable > 0:
		return &partialError{fmt.Errorf("%s can't be used, and no snapshot needs them", units.Plural(int64(unusable), "pack", "packs"))}
	}
	return nil
}

func (a *app) repairPacksCommand() *cobra.Command {
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
			return a.repair(cmd.Context(), &o, func(r *repo.Repo, n *news) error {
				res, err := keeper.RepairPacks(cmd.Context(), r, o, n)
				if err != nil {
					return err
				}
				a.tellPackRepair(res)
				switch {
				case !o.DryRun:
					return a.tellLosses(cmd.Context(), r)
				case res.Lost > 0:
					return &partialError{fmt.Errorf("%s lost", units.Plural(int64(res.Lost), "blob is", "blobs are"))}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "only tell what would be done")
	return cmd
}

func (a *app) tellPackRepair(res *keeper.PacksRepaired) {
	a.ui.JSON(res)
	if res.Packs == 0 {
		a.ui.Report("no pack is known to be damaged; `permafrost check --read-data` reads each of them")
		return
	}
	saved := "saved"
	if res.DryRun {
		saved = "can be saved"
	}
	a.ui.Report("%s: %s %s, %s lost", units.Plural(int64(res.Packs), "damaged or missing pack", "damaged or missing packs"),
		units.Plural(int64(res.Saved), "blob", "blobs"), saved, units.Count(int64(res.Lost)))
}

// tellLosses names what snapshots lack, and returns an error where that is something.
func (a *app) tellLosses(ctx context.Context, r *repo.Repo) error {
	snapshots, parts := 0, 0
	err := keeper.Losses(ctx, r, func(ref *ledger.SnapshotRef, lost []keeper.Lost) {
		snapshots++
		parts += len(lost)
		a.ui.Print("snapshot %s of %s lacks %s:", ref.ID.Short(), printable(ref.Date), units.Plural(int64(len(lost)), "part", "parts"))
		for i, l := range lost {
			a.ui.JSON(l)
			switch {
			case i < lostTold || a.ui.verbose:
				a.ui.Print("  %s", printable(l.Part))
			case i == lostTold:
				a.ui.Print("  and %d more, which --verbose names", len(lost)-i)
			}
		}
	})
	switch {
	case err != nil:
		return err
	case snapshots == 0:
		a.ui.Report("every snapshot is whole")
		return nil
	}
	return hint.Wrap(&partialError{fmt.Errorf("%s %s", units.Plural(int64(snapshots), "snapshot lacks", "snapshots lack"), units.Plural(int64(parts), "part", "parts"))},
		"make a snapshot: it stores lost content again if the host still has it. Then `permafrost repair index` lists what came back; `permafrost prune --accept-lost` goes on without the rest")
}
