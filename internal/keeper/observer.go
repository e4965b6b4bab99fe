package keeper

import (
	"errors"
	"fmt"

	"permafrost/internal/escape"
	"permafrost/repo/inspection"
	"permafrost/repo/store"
	"permafrost/snapshot/backup"
)

// An Observer hears what happens while a verb works. Its methods may be called from several goroutines at once.
type Observer interface {
	// Phase hears how far a phase is.
	Phase(Phase)

	// Found hears what somebody may have to do something about.
	Found(Finding)

	// Tell hears a part of the result as soon as it is known.
	Tell(Message)
}

// A Phase is how far a component is, or a part of a verb's work.
type Phase struct {
	Name  string
	Files int64 // files: done so far, where they are counted
	Done  int64 // bytes: or objects, so far
	Total int64 // bytes: or objects, in all; 0 where that is not known
	About bool  // Total is only what it was the time before
	Ended bool  // nothing more comes

	// Traffic, where it is given, is asked for Done and Total from then on: how many bytes of packs are durable on the storage, of how
	// many so far.
	Traffic func() (sent, packed int64)
}

// phases returns a function that tells of phases.
func phases(news Observer) func(name string, done, total int64) {
	return func(name string, done, total int64) { news.Phase(Phase{Name: name, Done: done, Total: max(total, 0)}) }
}

// A Severity says how serious a finding is.
type Severity string

// The severities.
const (
	Minor    Severity = "note"    // why something is done otherwise, or takes longer
	Notable  Severity = "warning" // it deserves attention, and stops nothing
	Damaging Severity = "damage"  // something stored is missing, or not what it should be
)

// A Finding is what a verb has met that somebody may have to do something about.
type Finding struct {
	Severity Severity
	Object   string // name of the object on the storage that it is about, "" for none
	Part     string // part of a snapshot that it is about, as dump takes it, "" for none
	Err      error
	Do       string // what to do; "" leaves it to the program to know that from Err
}

// finding returns an error as a finding, with what it is about as far as the error says so.
func finding(severity Severity, err error) Finding {
	f := Finding{Severity: severity, Err: err}
	var damage *store.DamageError
	if errors.As(err, &damage) {
		f.Object = damage.Object
	}
	var part *inspection.PartError
	var component *backup.PartError
	var failed *backup.FailedError
	switch {
	case errors.As(err, &failed):
		f.Part = failed.Component
	case errors.As(err, &component):
		f.Part = component.Part
	case errors.As(err, &part):
		f.Part = part.Part
	}
	return f
}

// note returns a finding for those who watch.
func note(format string, args ...any) Finding { return finding(Minor, fmt.Errorf(format, args...)) }

// warning returns a finding that deserves attention.
func warning(format string, args ...any) Finding {
	return finding(Notable, fmt.Errorf(format, args...))
}

// Message returns the finding as JSON has it.
func (f Finding) Message() Message {
	a := About{Object: f.Object, Part: f.Part, Message: escape.Cut(f.Err.Error(), escape.MaxMessage), Do: f.Do}
	switch f.Severity {
	case Damaging:
		return Damage{a}
	case Minor:
		return Note{a}
	}
	return Warning{a}
}

// About is what a finding is about.
type About struct {
	Object  string `json:"object,omitempty"` // name of the object on the storage
	Part    string `json:"part,omitempty"`   // part of a snapshot, as dump takes it
	Message string `json:"message"`
	Do      string `json:"hint,omitempty"` // what to do
}

// A Note tells why something is done otherwise than usual, or takes longer. It goes to standard error, and not with --quiet.
type Note struct{ About }

// MessageType returns "note".
func (Note) MessageType() string { return "note" }

// A Warning tells what deserves attention and stops nothing. It goes to standard error.
type Warning struct{ About }

// MessageType returns "warning".
func (Warning) MessageType() string { return "warning" }

// A Damage is something damaged that a check, a scrub or a repair met. An object, or a snapshot, is told of once.
type Damage struct{ About }

// MessageType returns "damage".
func (Damage) MessageType() string { return "damage" }
