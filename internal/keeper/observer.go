package keeper

// An Observer hears what happens while a verb works. Its methods may be called from several goroutines at once.
type Observer interface {
	// Phase hears how far a phase is, of how many bytes or objects in all; the total is 0 where it is not known.
	Phase(name string, done, total int64)

	// Found hears what somebody may have to do something about.
	Found(Finding)

	// Tell hears a part of the result as soon as it is known.
	Tell(Message)
}

// A Severity says how bad a finding is.
type Severity string

// The severities.
const (
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

// Message returns the finding as JSON has it.
func (f Finding) Message() Message {
	if f.Severity == Damaging {
		return Damage{Object: f.Object, Message: f.Err.Error()}
	}
	return Warning{Message: f.Err.Error()}
}
