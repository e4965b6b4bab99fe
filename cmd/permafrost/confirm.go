package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
)

func confirmCommand(a *app) *cobra.Command {
	var revoke, dryRun bool
	cmd := &cobra.Command{
		Use:   "confirm ID...",
		Short: "accept snapshots that look wrong and are right",
		Long: `Confirm accepts snapshots that look wrong and are right. Use it after a person has
looked. Perhaps media were moved away, or an account with half of the posts was deleted.
These snapshots count as sound from then on, and later ones are compared with them.
It takes IDs only, and prints what looks wrong with each.

It needs the owner key, or the key of a writer that may remove snapshots (made without
--append-only and --no-forget). --revoke takes a confirmation back.`,
		Example: `  permafrost confirm ab12cd34
  permafrost confirm --revoke ab12cd34`,
		Args: args("the IDs of snapshots", 1, 1000),
		RunE: func(cmd *cobra.Command, specs []string) error {
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			changed, err := keeper.Confirm(cmd.Context(), r.Repo, keeper.ConfirmOptions{IDs: specs, Revoke: revoke, DryRun: dryRun}, report.New(a.ui))
			if err != nil || changed == 0 {
				return err
			}
			done := map[bool]string{true: "is no longer confirmed", false: "is confirmed"}[revoke]
			if changed > 1 {
				done = map[bool]string{true: "are no longer confirmed", false: "are confirmed"}[revoke]
			}
			a.ui.Done("%s %s", units.Plural(int64(changed), "snapshot", "snapshots"), done)
			a.ui.Report("%s %s", units.Plural(int64(changed), "snapshot", "snapshots"), done)
			tellHead(a.ui, r)
			return nil
		},
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "take a confirmation back")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only print what is wrong with them")
	return cmd
}
