package main

import (
	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
)

func runCommand(a *app) *cobra.Command {
	var (
		flags  snapshotFlags
		policy policyFlags
		clean  pruneFlags
	)
	cmd := &cobra.Command{
		Use:   "run",
		Short: "the whole night: a snapshot, then the policy and a prune",
		Long: `Run makes a snapshot, removes the snapshots that no rule of the policy keeps, and
prunes. It is the whole night in one command, for cron or systemd. Only one run at a
time works on an instance.

The policy is applied after each snapshot that was kept. That includes one that lacks
files or a component, or looks wrong. The exit code is that of permafrost snapshot. It is 6 if
the snapshot is sound and removing old ones failed. The next run tries that again.

Without a policy every snapshot stays. If the host's key may not remove snapshots, run
only makes them. Somebody with the owner key then runs forget and prune.`,
		Example: `  permafrost run
  permafrost run --quiet --keep-daily 7 --keep-weekly 4 --keep-monthly 12`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, r, err := a.openInstance(cmd.Context(), &flags)
			if err != nil {
				return err
			}
			defer r.Close()
			n := report.New(a.ui)
			defer n.Close()
			o := keeper.NightOptions{Take: takeOptions(a, &flags), Policy: policy.policy(), MaxUnused: float64(clean.maxUnused)}
			night, err := keeper.Run(cmd.Context(), r.Repo, inst, o, n)
			n.Close()
			if night != nil {
				night.ExitCode = exitCode(err)
				tellNight(a.ui, night)
			}
			return err
		},
	}
	flags.flags(cmd.Flags())
	policy.flags(cmd.Flags())
	clean.flags(cmd)
	return cmd
}

// tellNight tells how a night was.
func tellNight(ui *console.Console, n *keeper.Night) {
	ui.JSON(n)
	switch n.Retention {
	case keeper.RetentionDone:
		ui.Report("%s kept, %d removed; the night took %s", units.Plural(int64(n.Kept), "snapshot", "snapshots"), n.Removed, units.Seconds(n.Seconds))
	case keeper.RetentionNoPolicy:
		ui.Say("every snapshot stays, as there is no policy: add a table [keep] to the configuration, or use --keep-daily 7")
	case keeper.RetentionNotAllowed:
		ui.Say("nothing is removed: this host's key may not remove snapshots; run forget and prune with the owner key")
	}
}
