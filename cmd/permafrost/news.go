package main

import (
	"errors"
	"fmt"
	"sync"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/hints"
	"permafrost/internal/keeper"
)

// A news tells on the ui what a verb has to say. Its methods may be called from several goroutines at once.
type news struct {
	ui   *console.Console
	long bool // entries are shown with mode, owner, size and time

	mu       sync.Mutex
	progress *console.Progress // nil while no phase is shown
	hinted   map[string]bool   // hints that were given: each once
	begun    bool              // a restore has begun to write
}

func (a *app) news() *news { return &news{ui: a.ui, hinted: make(map[string]bool)} }

// Phase shows how far a phase is.
func (n *news) Phase(p keeper.Phase) {
	n.mu.Lock()
	if n.progress == nil {
		n.progress = console.NewProgress(n.ui)
	}
	shown := n.progress
	n.mu.Unlock()
	shown.Phase(p)
}

// Close takes off what shows phases: a result follows.
func (n *news) Close() {
	n.mu.Lock()
	shown := n.progress
	n.progress = nil
	n.mu.Unlock()
	if shown != nil {
		shown.Close()
	}
}

// Found tells a finding, and what to do about it: damage among the data, anything else on standard error.
func (n *news) Found(f keeper.Finding) {
	if f.Do == "" {
		f.Do = hints.For(f.Err)
	}
	n.ui.Finding(f)
	if f.Do != "" && n.first(&f) && !(n.ui.Quiet && f.Severity == keeper.Minor) {
		n.ui.Hint(f.Do)
	}
}

// first reports whether a hint is the first of its kind. That for a snapshot which looks wrong is one kind, whichever it names.
func (n *news) first(f *keeper.Finding) bool {
	kind := f.Do
	if suspect := (*keeper.SuspectError)(nil); errors.As(f.Err, &suspect) {
		kind = fmt.Sprintf("%T", suspect)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.hinted[kind]
	n.hinted[kind] = true
	return !told
}

// shortID is the beginning of an ID, which names it as well.
func shortID(id string) string { return id[:min(8, len(id))] }
