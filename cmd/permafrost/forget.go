package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo/upkeep"
	"permafrost/snapshot/retain"
)

func forgetCommand(a *app) *cobra.Command {
	var (
		policy policyFlags
		pick   selection
		clean  pruneFlags
		prune  bool
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "forget [SNAP]...",
		Short: "remove snapshots by a policy, or by name",
		Long: `Forget removes every snapshot that no rule of the policy keeps, or the snapshots that
you name. The next prune deletes their content.

The policy is the --keep flags, or the table [keep] of the configuration without them.
Each flag is a rule, and a snapshot stays if any rule keeps it. Each instance is judged
by itself. Days, weeks, months and years are those of the snapshot's date; of each the
newest snapshot is kept. A number of -1 or "all" means every one. A partial snapshot
never replaces the last complete one.

The rules are applied to each component by itself. They count the snapshots that have
the component and do not look wrong. A snapshot looks wrong if it has less than half of
an earlier one's rows or media, or impossible times. Forget names each. The same
rules keep some of these too, beside the others, until a person has looked. Then
permafrost confirm ID accepts one that is right, and permafrost forget ID removes it.

Some writers may not remove snapshots. Of these, --keep-last and --keep-hourly also keep
the newest snapshot of each of the last 14 days.`,
		Example: `  permafrost forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --prune
  permafrost forget --keep-within 30d --keep-tag before-upgrade --dry-run
  permafrost forget ab12cd34`,
		RunE: func(cmd *cobra.Command, specs []string) error {
			policy := policy.policy()
			if len(specs) > 0 && policyGiven(cmd.Flags()) {
				return usage.Errorf("forget takes either snapshots or a policy")
			}
			if len(specs) == 0 && policy.Empty() {
				return noPolicy()
			}
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			o := keeper.ForgetOptions{Selection: pick.Selection, Names: specs, Policy: policy, DryRun: dryRun}
			res, err := keeper.Forget(cmd.Context(), r.Repo, o, report.New(a.ui))
			if err != nil {
				return err
			}
			if removed := len(res.Removed()); removed > 0 && !dryRun {
				a.ui.Done("%s forgotten", units.Plural(int64(removed), "snapshot is", "snapshots are"))
			}
			tellForget(a.ui, r, res.Decisions, dryRun)
			if !prune {
				return nil
			}
			return runPrune(cmd.Context(), a, r, upkeep.PruneOptions{MaxUnused: float64(clean.maxUnused), DryRun: dryRun, Forgotten: res.Removed()})
		},
	}
	policy.flags(cmd.Flags())
	pick.flags(cmd)
	clean.flags(cmd)
	cmd.Flags().BoolVar(&prune, "prune", false, "prune afterwards")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only tell what would be removed")
	return cmd
}

func noPolicy() error {
	return hint.Wrap(usage.Errorf("forget needs a policy, or the names of snapshots"),
		"say what to keep, for example --keep-daily 7 --keep-weekly 4 --keep-monthly 12")
}

// tellForget tells the decisions, which have been carried out unless this is a dry run.
func tellForget(ui *console.Console, r *opened, decisions []retain.Decision, dryRun bool) {
	for i := range decisions {
		ui.JSON(keeper.NewDecision(&decisions[i]))
	}
	if !ui.Quiet {
		ui.Lines(report.Decisions(decisions, dryRun))
	}
	if !dryRun {
		tellHead(ui, r)
	}
}

// policyGiven reports whether the command line itself says what to keep.
func policyGiven(flags *pflag.FlagSet) (given bool) {
	flags.Visit(func(f *pflag.Flag) { given = given || strings.HasPrefix(f.Name, "keep-") })
	return given
}

// policyFlags are the flags that say what to keep.
type policyFlags struct {
	last, hourly, daily, weekly, monthly, yearly value.Count

	span      retain.Span
	tags      []string
	removeAll bool
}

func (p *policyFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.Var(&p.last, "keep-last", "keep the newest `N` snapshots")
	f.Var(&p.hourly, "keep-hourly", "of each of the newest `N` hours that have any, keep the newest snapshot")
	f.Var(&p.daily, "keep-daily", "of each of the newest `N` days that have any, keep the newest snapshot")
	f.Var(&p.weekly, "keep-weekly", "of each of the newest `N` weeks that have any, keep the newest snapshot")
	f.Var(&p.monthly, "keep-monthly", "of each of the newest `N` months that have any, keep the newest snapshot")
	f.Var(&p.yearly, "keep-yearly", "of each of the newest `N` years that have any, keep the newest snapshot")
	f.Var(&value.Span{Span: &p.span}, "keep-within", "keep snapshots at most this `span` older than the newest: 30d, 1y6m")
	f.StringArrayVar(&p.tags, "keep-tag", nil, "keep snapshots with this `tag`, or with all of several joined by commas; repeatable")
	f.BoolVar(&p.removeAll, "allow-remove-all", false, "let the policy remove every snapshot of an instance")
}

func (p *policyFlags) policy() retain.Policy {
	policy := retain.Policy{
		Last: int(p.last), Hourly: int(p.hourly), Daily: int(p.daily), Weekly: int(p.weekly), Monthly: int(p.monthly), Yearly: int(p.yearly),
		Within: p.span, AllowRemoveAll: p.removeAll,
	}
	for _, t := range p.tags {
		policy.Tags = append(policy.Tags, strings.Split(t, ","))
	}
	return policy
}
