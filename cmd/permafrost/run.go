package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
)

func (a *app) runCommand() *cobra.Command {
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
			var unlock func()
			err = a.patiently(cmd.Context(), func() (err error) {
				unlock, err = r.LockRun(inst.Domain)
				return err
			})
			if err != nil {
				return err
			}
			defer unlock()
			begin := time.Now()
			res, err := a.snapshot(cmd.Context(), r, inst, &flags)
			if res == nil {
				return err
			}
			n := &night{app: a, opened: r, res: res, policy: policy.policy(), maxUnused: float64(clean.maxUnused)}
			return n.end(cmd.Context(), begin, err)
		},
	}
	flags.flags(cmd.Flags())
	policy.flags(cmd.Flags())
	clean.flags(cmd)
	return cmd
}

// A retentionError says that a snapshot was kept, and that what was to be removed after it was not. Its exit code is the
// snapshot's, where that has one of its own.
type retentionError struct {
	err  error
	code int
}

func (e *retentionError) Error() string { return e.err.Error() }
func (e *retentionError) Unwrap() error { return e.err }

// A night is a run whose snapshot is kept.
type night struct {
	*app
	*opened
	res       *snapshot.Result
	policy    retain.Policy
	maxUnused float64

	kept, removed int // snapshots
}

// end removes what the policy does not keep and tells how the night was. wrong is what is wrong with its snapshot: it is
// not hidden by what comes after.
func (n *night) end(ctx context.Context, begin time.Time, wrong error) error {
	done, err := n.retain(ctx)
	if err != nil {
		done = "failed"
		code := exitRetention
		if wrong != nil {
			code = exitCode(wrong)
		}
		err = &retentionError{fmt.Errorf("snapshot %s is kept; removing old snapshots after it failed: %w", n.res.Ref.ID.Short(), err), code}
	}
	err = hint.Join(wrong, err)
	n.ui.JSON(keeper.Run{
		Snapshot: n.res.Ref.ID.String(), ExitCode: exitCode(err), Retention: done, Kept: n.kept, Removed: n.removed,
		Seconds: keeper.Seconds(time.Since(begin)),
	})
	switch done {
	case "done":
		n.ui.Report("%s kept, %d removed; the night took %s", units.Plural(int64(n.kept), "snapshot", "snapshots"), n.removed, units.Duration(time.Since(begin)))
	case "no policy":
		n.ui.Say("every snapshot stays, as there is no policy: add a table [keep] to the configuration, or use --keep-daily 7")
	case "not allowed":
		n.ui.Say("nothing is removed: this host's key may not remove snapshots; run forget and prune with the owner key")
	}
	return err
}

// retain applies the policy to the instance's snapshots and prunes. It returns what became of that.
func (n *night) retain(ctx context.Context) (done string, err error) {
	if done, err = n.forget(ctx); err != nil {
		return "", err
	}
	if done == "not allowed" {
		return done, nil
	}
	err = n.prune(ctx, n.opened, repo.PruneOptions{MaxUnused: n.maxUnused})
	if errors.Is(err, ledger.ErrNotAllowed) {
		return "not allowed", nil
	}
	return done, err
}

// forget removes what the policy does not keep.
func (n *night) forget(ctx context.Context) (done string, err error) {
	o := keeper.ForgetOptions{Selection: keeper.Selection{Instance: n.res.Ref.Instance}, Policy: n.policy, Known: n.res.Ref.ID}
	n.kept = len(o.Of(n.Snapshots()))
	if n.policy.Empty() {
		return "no policy", nil
	}
	res, err := n.app.forget(ctx, n.Repo, o)
	switch {
	case errors.Is(err, ledger.ErrNotAllowed):
		return "not allowed", nil
	case err != nil:
		return "", err
	}
	n.removed = len(res.Removed())
	n.kept = len(res.Decisions) - n.removed
	for i := range res.Decisions {
		if d := &res.Decisions[i]; !d.Keep() {
			n.ui.JSON(keeper.Removed{Snapshot: keeper.NewSnapshot(&d.Snapshot)})
			n.ui.Report("removed snapshot %s, %s", d.Snapshot.ID.Short(), printable(d.Snapshot.Date))
		}
	}
	return "done", nil
}
