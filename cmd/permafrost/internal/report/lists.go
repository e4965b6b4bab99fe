package report

import (
	"fmt"
	"slices"
	"strings"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/snapshot/retain"
)

// Snapshots lays snapshots out as a table, with the instances where there are several.
func Snapshots(all []keeper.Listed) []string {
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
		row := []string{ShortID(l.ID), escape.Name(l.Date), units.Time(l.Time), escape.Name(l.Host), printableList(l.Tags),
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

// Decisions lays decisions out as a table, what goes first.
func Decisions(decisions []retain.Decision, dryRun bool) []string {
	if len(decisions) == 0 {
		return []string{"no snapshots"}
	}
	t := console.NewTable("", "ID", "Instance", "Date", "Time", "Reasons")
	add := func(verb string, d *retain.Decision) {
		r := &d.Snapshot
		t.Add(verb, r.ID.Short(), escape.Name(r.Instance), escape.Name(r.Date), units.Time(r.Time), printableReasons(d.Reasons))
	}
	removed, kept, count := "removed", "kept", "%s kept, %d removed"
	if dryRun {
		removed, kept, count = "would remove", "would keep", "%s would be kept, %d removed"
	}
	n := int64(0)
	for i := range decisions {
		if !decisions[i].Keep() {
			add(removed, &decisions[i])
		}
	}
	for i := range decisions {
		if decisions[i].Keep() {
			add(kept, &decisions[i])
			n++
		}
	}
	return append(t.Lines(), fmt.Sprintf(count, units.Plural(n, "snapshot", "snapshots"), int64(len(decisions))-n))
}

func printableReasons(reasons []string) string {
	shown := make([]string, len(reasons))
	for i, r := range reasons {
		shown[i] = escape.Name(r)
	}
	return strings.Join(shown, "; ")
}
