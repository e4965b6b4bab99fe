package main

import (
	"fmt"

	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/source/postgres/archive"
)

// Tell tells a part of a verb's result: as JSON, or as the lines that people read.
func (n *news) Tell(m keeper.Message) {
	switch m := m.(type) {
	case *keeper.Taken:
		n.Close()
		n.ui.Done("snapshot %s of %s is committed", shortID(m.ID), escape.Name(m.Instance))
	case *keeper.Pruned:
		n.Close()
		if !m.DryRun {
			n.ui.Done("the prune is done")
		}
	case keeper.Removed:
		n.ui.Done("snapshot %s is removed", shortID(m.ID))
	case keeper.Restoring:
		n.mu.Lock()
		n.begun = true
		n.mu.Unlock()
	}
	n.ui.JSON(m)
	if !n.ui.InJSON {
		n.lines(m)
	}
}

// lines writes the lines of a message.
func (n *news) lines(m keeper.Message) {
	switch m := m.(type) {
	case keeper.Entry:
		n.ui.Print("%s", entryText(&m, n.long))
	case keeper.Match:
		n.ui.Print("%s %s  %s", shortID(m.Snapshot), escape.Name(m.Date), entryText(&m.Entry, n.long))
	case keeper.SecretChange:
		n.ui.Print("%s %s", m.Change, escape.Name(string(m.Name)))
	case keeper.TableChange:
		n.ui.Print("%s", tableChange(&m))
	case keeper.MediaChange:
		n.ui.Print("%s %s", m.Change, escape.Name(string(m.Path)))
	case keeper.Confirmation:
		n.confirmation(&m)
	case keeper.Removed:
		n.ui.Report("removed snapshot %s, %s", shortID(m.ID), escape.Name(m.Date))
	case keeper.Planned:
		n.ui.Print("%-6s  %s", m.Action, escape.Name(string(m.Path)))
	case keeper.Restoring:
		does := map[bool]string{true: "going on with", false: "restoring"}[m.Resumed]
		n.ui.Say("%s snapshot %s of %s, %s, taken %s", does, shortID(m.ID), escape.Name(m.Instance), escape.Name(m.Date), units.Time(m.Time))
	case keeper.Lost:
		n.lost(&m)
	case *keeper.Taken:
		n.taken(m)
	case *keeper.Pruned:
		n.pruned(m)
	}
}

func (n *news) confirmation(c *keeper.Confirmation) {
	for _, d := range c.Doubts {
		n.ui.Report("snapshot %s of %s, %s: %s", shortID(c.ID), escape.Name(c.Instance), escape.Name(c.Date), d.Text)
	}
	if !c.News {
		n.ui.Say("snapshot %s is confirmed already", shortID(c.ID))
	}
}

// lostTold is how many lost parts of a snapshot are named where nobody asked for more.
const lostTold = 10

// lost names a part that a snapshot lacks.
func (n *news) lost(l *keeper.Lost) {
	if l.Index == 0 {
		n.ui.Print("snapshot %s of %s lacks %s:", shortID(l.Snapshot), escape.Name(l.Date), units.Plural(int64(l.Count), "part", "parts"))
	}
	switch {
	case l.Index < lostTold || n.ui.Verbose:
		n.ui.Print("  %s", escape.Name(l.Part))
	case l.Index == lostTold:
		n.ui.Print("  and %d more, which --verbose names", l.Count-l.Index)
	}
}

// taken tells what a snapshot holds and cost.
func (n *news) taken(t *keeper.Taken) {
	if !n.ui.Quiet {
		n.ui.Lines(components(t.Contents))
	}
	n.ui.Report("snapshot %s of %s, %s: %v, of which %v were stored, in %s", shortID(t.ID), escape.Name(t.Instance), t.Date,
		units.Bytes(t.Size), units.Bytes(t.Stored), units.Seconds(t.Seconds))
	n.ui.Detail("log head %s", t.Head)
}

// pruned tells what a prune did.
func (n *news) pruned(p *keeper.Pruned) {
	is := func(now, was string) string { return map[bool]string{true: now, false: was}[p.DryRun] }
	n.ui.Report("%s %s and %s, %s %v", is("would remove", "removed"), units.Plural(int64(p.Removed), "pack", "packs"),
		units.Plural(int64(p.LeftOver), "left-over object", "left-over objects"), is("would free", "freed"), units.Bytes(p.Freed))
	if p.Lost > 0 {
		n.ui.Report("%s that snapshots need %s lost; that was accepted", units.Plural(int64(p.Lost), "blob", "blobs"), map[bool]string{true: "is", false: "are"}[p.Lost == 1])
	}
	if p.Rewritten > 0 {
		n.ui.Report("rewrote %s, storing %v anew", units.Plural(int64(p.Rewritten), "pack", "packs"), units.Bytes(p.Moved))
	}
	n.ui.Report("the packs %s %v, of which %v %s needed", is("hold", "held"), units.Bytes(p.Live+p.Dead), units.Bytes(p.Live), is("are", "were"))
	if p.Waiting > 0 {
		n.ui.Report("%s with %v that nothing needs wait for a prune with the owner key (-i RECOVERY-FILE)", units.Plural(int64(p.Waiting), "pack", "packs"), units.Bytes(p.WaitingBytes))
	}
	if !p.DryRun {
		n.ui.Detail("log head %s", p.Head)
	}
}

// tableChange tells in what a table differs between two snapshots.
func tableChange(c *keeper.TableChange) string {
	of := func(t *archive.Table) archive.Table {
		if t == nil {
			return archive.Table{}
		}
		return *t
	}
	old, now := of(c.Before), of(c.After)
	return fmt.Sprintf("%s postgres %s: %s to %s, %v to %v", c.Change, escape.Name(c.Table), units.Count(old.Rows),
		units.Plural(now.Rows, "row", "rows"), units.Bytes(old.Bytes), units.Bytes(now.Bytes))
}
