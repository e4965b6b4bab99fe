package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
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
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			if head {
				a.ui.JSON(keeper.Head{Head: r.Head().String()})
				a.ui.Print("%v", r.Head())
				return nil
			}
			all := keeper.Snapshots(r.Repo, pick.Selection)
			a.ui.Lines(listSnapshots(all))
			for _, l := range all {
				a.ui.JSON(l)
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

// choice returns one snapshot of the selection, by name.
func (s *selection) choice(name string) keeper.Choice {
	return keeper.Choice{Selection: s.Selection, Name: name}
}

// listSnapshots lays snapshots out as a table, with the instances where there are several.
func listSnapshots(all []keeper.Listed) []string {
	if len(all) == 0 {
		return []string{"no snapshots"}
	}
	several := slices.ContainsFunc(all, func(l keeper.Listed) bool { return l.Instance != all[0].Instance })
	heads := []string{"ID", "Date", "Time", "Host", "Tags", ">Size", ">Stored", ""}
	if several {
		heads = slices.Insert(heads, 1, "Instance")
	}
	t := console.NewTable(heads...)
	for i := range all {
		l := &all[i]
		row := []string{shortID(l.ID), escape.Name(l.Date), units.Time(l.Time), escape.Name(l.Host), printableList(l.Tags),
			units.Bytes(l.Size), units.Bytes(l.Stored), marks(l)}
		if several {
			row = slices.Insert(row, 1, escape.Name(l.Instance))
		}
		t.Add(row...)
	}
	return append(t.Lines(), units.Plural(int64(len(all)), "snapshot", "snapshots"))
}

func printableList(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return escape.Name(strings.Join(words, ","))
}

// marks tells what a list of snapshots says of one beside its numbers.
func marks(l *keeper.Listed) string {
	var all []string
	if len(l.Failed) > 0 {
		all = append(all, strings.Join(l.Failed, ", ")+" failed")
	}
	for _, name := range l.Incomplete {
		all = append(all, name+": incomplete")
	}
	if len(l.Skipped) > 0 {
		all = append(all, strings.Join(l.Skipped, ", ")+" skipped")
	}
	if l.LeftOut > 0 {
		all = append(all, fmt.Sprintf("partial, %d left out", l.LeftOut))
	}
	if !l.Sound {
		all = append(all, "looks wrong: "+keeper.DoubtsText(l.Doubts))
	}
	return strings.Join(all, "; ")
}
