// Package cause names why an operation on a repository failed, for errors that have no type of their own. The program that a person
// runs can tell by the cause what to do about it.
package cause

import "fmt"

// A Cause says what an error is about.
type Cause string

// Causes of what the storage does.
const (
	HiddenEntries Cause = "hidden entries" // it has many log entries that it does not list
	JunkInLog     Cause = "junk in log"    // it has many objects below log/ that are no entries
	TakenNumbers  Cause = "taken numbers"  // it says that the log's next number is taken, and shows nothing there
	NoRoom        Cause = "no room"        // it is full, and nothing can be deleted without room for a log entry
)

// Causes in the log. Each is of a DamageError, or stands around one.
const (
	EmptyLog     Cause = "empty log"     // init was interrupted, or all is lost
	LostRoster   Cause = "lost roster"   // a later list of keys than the one in use is lost
	LostEpoch    Cause = "lost epoch"    // a later rotation than the one in use is lost
	LogDamaged   Cause = "log damaged"   // nothing is added to it until an owner accepts the damage
	FalseListing Cause = "false listing" // of two listings of a pack one is false, and this key can't tell which
)

// Causes why nothing is pruned.
const (
	Outrun          Cause = "outrun"           // others were faster each time; a LockedError
	LogUnsound      Cause = "log unsound"      // the log is damaged
	IndexDamaged    Cause = "index damaged"    // an index object is missing or damaged, and it is needed
	IndexMissing    Cause = "index missing"    // an index object that the log names is not listed
	ManifestMissing Cause = "manifest missing" // likewise of a manifest
	CopyUnread      Cause = "copy unread"      // of two copies the one that is to stay can't be read
	SnapshotLacks   Cause = "snapshot lacks"   // something that a snapshot needs is lost
	SnapshotUntold  Cause = "snapshot untold"  // what a snapshot needs can't be told, or is not lost though losses are accepted
)

// Causes in the list of keys.
const (
	NameTaken  Cause = "name taken"
	NameAbsent Cause = "name absent"
	Rotated    Cause = "rotated" // another owner has rotated the keys meanwhile

	// Unannounced is that the key file has keys which the log does not announce.
	Unannounced Cause = "unannounced"
)

// HeadUnread is that this machine can't read what it remembers of the log, so that a rollback would pass unnoticed.
const HeadUnread Cause = "head unread"

// FingerprintUnread is that this machine can't read the fingerprint that it remembers, so that it can't tell whose keys these are.
const FingerprintUnread Cause = "fingerprint unread"

// An Error is an error and its cause. Its text is the error's alone.
type Error struct {
	Cause Cause
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf is fmt.Errorf with a cause.
func Errorf(c Cause, format string, args ...any) error {
	return &Error{c, fmt.Errorf(format, args...)}
}
