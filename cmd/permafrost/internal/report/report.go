// Package report tells people what the verbs of permafrost/internal/keeper do and find: while they work, and what their results are. A
// Reporter is a verb's observer. It writes each message as JSON or as lines, on a console, with the hint for what went wrong. The functions
// lay out results.
package report

import (
	"errors"
	"fmt"
	"sync"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/hints"
	"permafrost/internal/keeper"
)

// A Reporter tells on a console what a verb has to say. Its methods may be called from several goroutines at once.
type Reporter struct {
	console *console.Console
	Long    bool // entries are shown with mode, owner, size and time

	mu       sync.Mutex
	progress *console.Progress // nil while no phase is shown
	hinted   map[string]bool   // hints that were given: each once
	begun    bool              // a restore has begun to write
}

// New returns a reporter for one verb.
func New(c *console.Console) *Reporter { return &Reporter{console: c, hinted: make(map[string]bool)} }

// Begun reports whether a restore has begun to write.
func (r *Reporter) Begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun
}

// Phase shows how far a phase is.
func (r *Reporter) Phase(p keeper.Phase) {
	r.mu.Lock()
	if r.progress == nil {
		r.progress = console.NewProgress(r.console)
	}
	shown := r.progress
	r.mu.Unlock()
	shown.Phase(p)
}

// Close takes off what shows phases: a result follows.
func (r *Reporter) Close() {
	r.mu.Lock()
	shown := r.progress
	r.progress = nil
	r.mu.Unlock()
	if shown != nil {
		shown.Close()
	}
}

// Found tells a finding, and what to do about it: damage among the data, anything else on standard error.
func (r *Reporter) Found(f keeper.Finding) {
	if f.Do == "" {
		f.Do = hints.For(f.Err)
	}
	r.console.Finding(f)
	if f.Do != "" && r.first(&f) && !(r.console.Quiet && f.Severity == keeper.Minor) {
		r.console.Hint(f.Do)
	}
}

// first reports whether a hint is the first of its kind. That for a snapshot which looks wrong is one kind, whichever it names.
func (r *Reporter) first(f *keeper.Finding) bool {
	kind := f.Do
	if suspect := (*keeper.SuspectError)(nil); errors.As(f.Err, &suspect) {
		kind = fmt.Sprintf("%T", suspect)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.hinted[kind]
	r.hinted[kind] = true
	return !told
}

// ShortID is the beginning of an ID, which names it as well.
func ShortID(id string) string { return id[:min(8, len(id))] }
