package report

import (
	"fmt"

	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/source/postgres/archive"
)

// Tell tells a part of a verb's result: as JSON, or as the lines that people read.
func (r *Reporter) Tell(m keeper.Message) {
	switch m := m.(type) {
	case *keeper.Taken:
		r.Close()
		r.console.Done("snapshot %s of %s is committed", ShortID(m.ID), escape.Name(m.Instance))
	case *keeper.Pruned:
		r.Close()
		if !m.DryRun {
			r.console.Done("the prune is done")
		}
	case keeper.Removed:
		r.console.Done("snapshot %s is removed", ShortID(m.ID))
	case keeper.Restoring:
		r.mu.Lock()
		r.begun = true
		r.mu.Unlock()
	}
	r.console.JSON(m)
	if !r.console.InJSON {
		r.lines(m)
	}
}

// lines writes the lines of a message.
func (r *Reporter) lines(m keeper.Message) {
	switch m := m.(type) {
	case keeper.Entry:
		r.console.Print("%s", entryText(&m, r.Long))
	case keeper.Match:
		r.console.Print("%s %s  %s", ShortID(m.Snapshot), escape.Name(m.Date), entryText(&m.Entry, r.Long))
	case keeper.SecretChange:
		r.console.Print("%s %s", m.Change, escape.Name(string(m.Name)))
	case keeper.TableChange:
		r.console.Print("%s", tableChange(&m))
	case keeper.MediaChange:
		r.console.Print("%s %s", m.Change, escape.Name(string(m.Path)))
	case keeper.Confirmation:
		r.confirmation(&m)
	case keeper.Removed:
		r.console.Report("removed snapshot %s, %s", ShortID(m.ID), escape.Name(m.Date))
	case keeper.Planned:
		r.console.Print("%-6s  %s", m.Action, escape.Name(string(m.Path)))
	case keeper.Restoring:
		does := map[bool]string{true: "going on with", false: "restoring"}[m.Resumed]
		r.console.Say("%s snapshot %s of %s, %s, taken %s", does, ShortID(m.ID), escape.Name(m.Instance), escape.Name(m.Date), units.Time(m.Time))
	case keeper.Lost:
		r.lost(&m)
	case *keeper.Taken:
		r.taken(m)
	case *keeper.Pruned:
		r.pruned(m)
	}
}

func (r *Reporter) confirmation(c *keeper.Confirmation) {
	for _, d := range c.Doubts {
		r.console.Report("snapshot %s of %s, %s: %s", ShortID(c.ID), escape.Name(c.Instance), escape.Name(c.Date), d.Text)
	}
	if !c.News {
		r.console.Say("snapshot %s is confirmed already", ShortID(c.ID))
	}
}

// lostTold is how many lost parts of a snapshot are named where nobody asked for more.
const lostTold = 10

// lost names a part that a snapshot lacks.
func (r *Reporter) lost(l *keeper.Lost) {
	if l.Index == 0 {
		r.console.Print("snapshot %s of %s lacks %s:", ShortID(l.Snapshot), escape.Name(l.Date), units.Plural(int64(l.Count), "part", "parts"))
	}
	switch {
	case l.Index < lostTold || r.console.Verbose:
		r.console.Print("  %s", escape.Name(l.Part))
	case l.Index == lostTold:
		r.console.Print("  and %d more, which --verbose names", l.Count-l.Index)
	}
}

// taken tells what a snapshot holds and cost.
func (r *Reporter) taken(t *keeper.Taken) {
	if !r.console.Quiet {
		r.console.Lines(components(t.Contents))
	}
	r.console.Report("snapshot %s of %s, %s: %v, of which %v were stored, in %s", ShortID(t.ID), escape.Name(t.Instance), t.Date,
		units.Bytes(t.Size), units.Bytes(t.Stored), units.Seconds(t.Seconds))
	r.console.Detail("log head %s", t.Head)
}

// pruned tells what a prune did.
func (r *Reporter) pruned(p *keeper.Pruned) {
	is := func(now, was string) string { return map[bool]string{true: now, false: was}[p.DryRun] }
	r.console.Report("%s %s and %s, %s %v", is("would remove", "removed"), units.Plural(int64(p.Removed), "pack", "packs"),
		units.Plural(int64(p.LeftOver), "left-over object", "left-over objects"), is("would free", "freed"), units.Bytes(p.Freed))
	if p.Lost > 0 {
		r.console.Report("%s that snapshots need %s lost; that was accepted", units.Plural(int64(p.Lost), "blob", "blobs"), map[bool]string{true: "is", false: "are"}[p.Lost == 1])
	}
	if p.Rewritten > 0 {
		r.console.Report("rewrote %s, storing %v anew", units.Plural(int64(p.Rewritten), "pack", "packs"), units.Bytes(p.Moved))
	}
	r.console.Report("the packs %s %v, of which %v %s needed", is("hold", "held"), units.Bytes(p.Live+p.Dead), units.Bytes(p.Live), is("are", "were"))
	if p.Waiting > 0 {
		r.console.Report("%s with %v that nothing needs wait for a prune with the owner key (-i RECOVERY-FILE)", units.Plural(int64(p.Waiting), "pack", "packs"), units.Bytes(p.WaitingBytes))
	}
	if !p.DryRun {
		r.console.Detail("log head %s", p.Head)
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

// Compared says in how many files of the media two snapshots differ.
func Compared(s *keeper.Compared) string {
	return fmt.Sprintf("media: %s added, %s removed, %s modified, %s with other metadata only; %v added, %v removed",
		units.Count(s.Added), units.Count(s.Removed), units.Count(s.Modified), units.Count(s.Metadata), units.Bytes(s.AddedBytes), units.Bytes(s.RemovedBytes))
}
