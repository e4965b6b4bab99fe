package main

import "permafrost/internal/keeper"

// A news tells on the ui what a verb has to say meanwhile.
type news struct {
	ui       *ui
	progress *progress // nil where nothing shows how far it is
}

// Phase shows how far a phase is.
func (n *news) Phase(name string, done, total int64) {
	if n.progress != nil {
		n.progress.Phase(name, done, total)
	}
}

// Found tells a finding: damage among the data, anything else as a warning.
func (n *news) Found(f keeper.Finding) {
	switch f.Severity {
	case keeper.Damaging:
		n.ui.JSON(f.Message())
		n.ui.Print("damage: %v", f.Err)
	default:
		n.ui.Warn("%v", f.Err)
	}
	if f.Do != "" {
		n.ui.Hint(f.Do)
	}
}

// Tell tells a part of the result, in lines for people where it has such.
func (n *news) Tell(m keeper.Message) {
	n.ui.JSON(m)
	if c, ok := m.(keeper.Confirmation); ok {
		n.confirmation(&c)
	}
}

func (n *news) confirmation(c *keeper.Confirmation) {
	for _, d := range c.Doubts {
		n.ui.Report("snapshot %s of %s, %s: %s", shortID(c.ID), printable(c.Instance), printable(c.Date), d.Text)
	}
	if !c.News {
		n.ui.Say("snapshot %s is confirmed already", shortID(c.ID))
	}
}

// shortID is the beginning of an ID, which names it as well.
func shortID(id string) string { return id[:min(8, len(id))] }
