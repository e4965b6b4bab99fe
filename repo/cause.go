package repo

import "fmt"

// A Cause says what an error is about, where no type of its own does. What a person can do about it is for the program to
// say that the person runs.
type Cause string

// Causes of what the storage does.
const (
	CauseHiddenEntries Cause = "hidden entries" // it has many log entries that it does not list
	CauseJunkInLog     Cause = "junk in log"    // it has many objects below log/ that are no entries
	CauseTakenNumbers  Cause = "taken numbers"  // it says that the log's next number is taken, and shows nothing there
	CauseNoRoom        Cause = "no room"        // it is full, and nothing can be deleted without room for a log entry
)

// Causes in the log. Each is of a DamageError, or stands around one.
const (
	CauseEmptyLog     Cause = "empty log"     // init was interrupted, or all is lost
	CauseLostRoster   Cause = "lost roster"   // a later list of keys than the one in use is lost
	CauseLostEpoch    Cause = "lost epoch"    // a later rotation than the one in use is lost
	CauseLogDamaged   Cause = "log damaged"   // nothing is added to it until an owner accepts the damage
	CauseFalseListing Cause = "false listing" // of two listings of a pack one is false, and this key can't tell which
)

// Causes why nothing is pruned.
const (
	CauseOutrun          Cause = "outrun"           // others were faster each time; a LockedError
	CauseLogUnsound      Cause = "log unsound"      // the log is damaged
	CauseIndexDamaged    Cause = "index damaged"    // an index object is missing or damaged, and it is needed
	CauseIndexMissing    Cause = "index missing"    // an index object that the log names is not listed
	CauseManifestMissing Cause = "manifest missing" // likewise of a manifest
	CauseCopyUnread      Cause = "copy unread"      // of two copies the one that is to stay can't be read
	CauseSnapshotLacks   Cause = "snapshot lacks"   // something that a snapshot needs is lost
	CauseSnapshotUntold  Cause = "snapshot untold"  // what a snapshot needs can't be told, or is not lost though losses are accepted
)

// Causes in the list of keys.
const (
	CauseNameTaken  Cause = "name taken"
	CauseNameAbsent Cause = "name absent"
	CauseRotated    Cause = "rotated" // another owner has rotated the keys meanwhile

	// CauseUnannounced is that the key file has keys which the log does not announce.
	CauseUnannounced Cause = "unannounced"
)

// CauseHeadUnread is that this machine can't read what it remembers of the log, so that a rollback would pass unnoticed.
const CauseHeadUnread Cause = "head unread"

// A CauseError is an error and its cause. Its text is the error's alone.
type CauseError struct {
	Cause Cause
	Err   error
}

func (e *CauseError) Error() string { return e.Err.Error() }
func (e *CauseError) Unwrap() error { return e.Err }

// because is fmt.Errorf with a cause.
func because(c Cause, format string, args ...any) error {
	return &CauseError{c, fmt.Errorf(format, args...)}
}
