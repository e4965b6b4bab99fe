package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/snapshot/retain"
)

func (a *app) confirmCommand() *cobra.Command {
	var revoke, dryRun bool
	cmd := &cobra.Command{
		Use:   "confirm ID...",
		Short: "accept snapshots that look wrong and are right",
		Long: `Confirm says that a person has looked at snapshots which look wrong, and found that
this is how the instance is now: media were moved away, an old account with half of
the posts was deleted. They count as sound from then on, and later snapshots are
compared with them. It takes IDs only, and prints what is wrong with each.

It takes a key that may remove snapshots: the owner key, or that of a writer which was
not made with --append-only or --no-forget. With --revoke a confirmation is taken back.`,
		Example: `  permafrost confirm ab12cd34
  permafrost confirm --revoke ab12cd34`,
		Args: args("the IDs of snapshots", 1, 1000),
		RunE: func(cmd *cobra.Command, specs []string) error {
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			refs, err := byID(r.Snapshots(), specs)
			if err != nil {
				return err
			}
			verdicts := retain.JudgeAll(r, refs)
			todo, err := a.toConfirm(refs, verdicts, revoke)
			if err != nil || len(todo) == 0 || dryRun {
				return err
			}
			if err := r.Confirm(cmd.Context(), todo, revoke, verdicts.Records(r.Head().Seq)...); err != nil {
				return fmt.Errorf("%s: %w", map[bool]string{true: "revoking", false: "confirming"}[revoke], err)
			}
			done := map[bool]string{true: "is no longer confirmed", false: "is confirmed"}[revoke]
			if len(todo) > 1 {
				done = map[bool]string{true: "are no longer confirmed", false: "are confirmed"}[revoke]
			}
			a.ui.Done("%s %s", units.Plural(int64(len(todo)), "snapshot", "snapshots"), done)
			a.ui.Report("%s %s", units.Plural(int64(len(todo)), "snapshot", "snapshots"), done)
			a.tellHead(r)
			return nil
		},
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "take a confirmation back")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only print what is wrong with them")
	return cmd
}

// byID returns the snapshots that specs name by their IDs. No other name will do: what latest means changes, and a date may
// mean several.
func byID(refs []repo.SnapshotRef, specs []string) (named []repo.SnapshotRef, err error) {
	seen := make(map[repo.Name]bool)
	for _, spec := range specs {
		ref, err := retain.FindID(refs, spec)
		if err != nil {
			return nil, hint.Wrap(err, "confirm takes IDs: permafrost snapshots lists them")
		}
		if !seen[ref.ID] {
			seen[ref.ID] = true
			named = append(named, ref)
		}
	}
	return named, nil
}

// toConfirm prints what is wrong with snapshots, and returns those of which the log does not say yet what a person says now.
func (a *app) toConfirm(refs []repo.SnapshotRef, verdicts retain.Judgements, revoke bool) (todo []repo.Name, err error) {
	for i := range refs {
		ref := &refs[i]
		v := verdicts.Of(ref)
		switch {
		case revoke && !v.Confirmed:
			return nil, fmt.Errorf("snapshot %s is not confirmed: there is nothing to take back", ref.ID.Short())
		case !revoke && len(v.Doubts) == 0:
			return nil, hint.Wrap(fmt.Errorf("snapshot %s does not look wrong: there is nothing to confirm", ref.ID.Short()),
				"permafrost snapshots marks those that do")
		}
		doubts := keeper.Doubts(v)
		a.ui.JSON(keeper.Confirmation{Snapshot: keeper.NewSnapshot(ref), Revoke: revoke, News: revoke || !v.Confirmed, Doubts: doubts})
		for _, d := range doubts {
			a.ui.Report("snapshot %s of %s, %s: %s", ref.ID.Short(), printable(ref.Instance), printable(ref.Date), d.Text)
		}
		if !revoke && v.Confirmed {
			a.ui.Say("snapshot %s is confirmed already", ref.ID.Short())
			continue
		}
		todo = append(todo, ref.ID)
	}
	return todo, nil
}
