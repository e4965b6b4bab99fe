package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo/ledger"
	"permafrost/snapshot/retain"
)

func (a *app) snapshotsCommand() *cobra.Command {
	var (
		pick selection
		head bool
	)
	cmd := &cobra.Command{
		Use:   "snapshots",
		Short: "list the snapshots",
		Long: `Snapshots lists the snapshots that can be restored. With --head it prints the log's head
instead. Note it elsewhere, and give it to check or restore with --head later. They then
find a storage that hides newer snapshots, even on a machine that has never seen it.`,
		Example: `  permafrost snapshots
  permafrost snapshots --head
  permafrost snapshots --tag before-upgrade --json`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			if head {
				a.ui.JSON(keeper.Head{Head: r.Head().String()})
				a.ui.Print("%v", r.Head())
				return nil
			}
			refs := pick.Of(r.Snapshots())
			verdicts := retain.JudgeAll(r, refs)
			a.ui.Lines(listSnapshots(refs, verdicts))
			for i := range refs {
				a.ui.JSON(keeper.NewListed(&refs[i], verdicts.Of(&refs[i])))
			}
			a.tellRequests(r.Repo)
			return nil
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVar(&head, "head", false, "print the log's head, to be noted elsewhere")
	return cmd
}

// A selection is a part of a repository's snapshots.
type selection struct{ keeper.Selection }

func (s *selection) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.Instance, "instance", "", "only snapshots of the instance with this `domain`")
	cmd.Flags().StringArrayVar(&s.Tags, "tag", nil, "only snapshots with this `tag`; repeatable")
}

// find returns the selected snapshot that a person names, for the sake of a wish. It names those that it passes over, and says
// where the one that it finds looks wrong.
func (a *app) find(r *opened, pick *selection, spec string, wish retain.Wish) (ledger.SnapshotRef, error) {
	refs := pick.Of(r.Snapshots())
	verdicts := retain.JudgeAll(r, refs)
	found, err := retain.Find(refs, verdicts, spec, wish)
	if err != nil {
		return found.SnapshotRef, err
	}
	const named = 5
	for i := range found.Over {
		ref := &found.Over[i]
		if i == named {
			a.ui.Warn("%s more are skipped", units.Count(int64(len(found.Over)-named)))
			break
		}
		why := "it lacks " + joined(wish.Lacks(&ref.Holding))
		if v := verdicts.Of(ref); wish.Doubted(v) {
			why = "it looks wrong: " + keeper.DoubtsText(v)
		}
		a.ui.Warn("snapshot %s of %s is skipped: %s", ref.ID.Short(), printable(ref.Date), why)
	}
	if v := verdicts.Of(&found.SnapshotRef); wish.Doubted(v) {
		a.ui.Warn("%v", keeper.Suspicion(&found.SnapshotRef, v))
	}
	return found.SnapshotRef, nil
}

// listSnapshots lays refs out as a table, with the instances where there are several.
func listSnapshots(refs []ledger.SnapshotRef, verdicts retain.Judgements) []string {
	if len(refs) == 0 {
		return []string{"no snapshots"}
	}
	several := slices.ContainsFunc(refs, func(r ledger.SnapshotRef) bool { return r.Instance != refs[0].Instance })
	heads := []string{"ID", "Date", "Time", "Host", "Tags", ">Size", ">Stored", ""}
	if several {
		heads = slices.Insert(heads, 1, "Instance")
	}
	t := newTable(heads...)
	for _, r := range refs {
		var marks []string
		if failed := keeper.InState(&r.Holding, ledger.Failed); len(failed) > 0 {
			marks = append(marks, strings.Join(failed, ", ")+" failed")
		}
		for _, name := range keeper.InState(&r.Holding, ledger.Incomplete) {
			marks = append(marks, name+": incomplete")
		}
		if skipped := keeper.InState(&r.Holding, ledger.Skipped); len(skipped) > 0 {
			marks = append(marks, strings.Join(skipped, ", ")+" skipped")
		}
		if r.Partial > 0 {
			marks = append(marks, fmt.Sprintf("partial, %d left out", r.Partial))
		}
		if v := verdicts.Of(&r); !v.Sound() {
			marks = append(marks, "looks wrong: "+keeper.DoubtsText(v))
		}
		row := []string{r.ID.Short(), printable(r.Date), formatTime(r.Time), printable(r.Host), printableList(r.Tags),
			size(r.Size).String(), size(r.Stored).String(), strings.Join(marks, "; ")}
		if several {
			row = slices.Insert(row, 1, printable(r.Instance))
		}
		t.add(row...)
	}
	return append(t.lines(), units.Plural(int64(len(refs)), "snapshot", "snapshots"))
}

// joined lists components.
func joined(of []retain.Component) string {
	names := make([]string, len(of))
	for i, c := range of {
		names[i] = string(c)
	}
	return strings.Join(names, ", ")
}

func printableList(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return printable(strings.Join(words, ","))
}
