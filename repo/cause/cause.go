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

// Causes in key files and recipients.
const (
	KeyFileAbsent     Cause = "key file absent"     // a key file is not there
	KeyFileDirectory  Cause = "key file directory"  // a directory was named as a key file
	KeyFileEmpty      Cause = "key file empty"      // a key file is empty
	KeyFileEncrypted  Cause = "key file encrypted"  // a key file is encrypted to a key; the fact: its path
	KeyFilePassphrase Cause = "key file passphrase" // a key file to be replaced is encrypted with a passphrase; the fact: its path
	KeyFileNoKey      Cause = "key file no key"     // a line of a key file is no key
	KeyFilePublic     Cause = "key file public"     // a public key was given as a private one
	KeyFileCut        Cause = "key file cut"        // a key was cut or mistyped
	KeyFileOldSSH     Cause = "key file old ssh"    // an encrypted SSH key in an old format has no public key beside it; the fact: its path
	KeyFileNote       Cause = "key file note"       // a line of a key file is neither a comment nor a key
	KeyFileDamaged    Cause = "key file damaged"    // a key file is damaged or cut
	KeyFileEdited     Cause = "key file edited"     // a key file has an identity that is not the keyring's
	KeyFileExists     Cause = "key file exists"     // a file is where a key file was to be written
	KeyFileShared     Cause = "key file shared"     // others may write where a key file was to be written
	TooManyEpochs     Cause = "too many epochs"     // the keys were rotated too often
	RecipientLines    Cause = "recipient lines"     // several lines were given as a recipient
	RecipientCut      Cause = "recipient cut"       // a recipient was cut or mistyped
	RecipientPrivate  Cause = "recipient private"   // a private key was given as a recipient
	RecipientSSH      Cause = "recipient ssh"       // age can't encrypt to SSH keys of this type
	RecipientFile     Cause = "recipient file"      // a file's name was given as a recipient
	RecipientUnknown  Cause = "recipient unknown"   // a text is no recipient
	PluginAbsent      Cause = "plugin absent"       // an age plugin is not installed; the fact: its name
)

// Causes why nothing is repaired.
const (
	NoPacks     Cause = "no packs"     // a storage that is to be repaired holds no pack
	IndexNeeded Cause = "index needed" // packs can't be repaired without the index
	IndexNewer  Cause = "index newer"  // an index object is of a newer version
)

// Causes in the choice of snapshots.
const (
	NoSnapshots        Cause = "no snapshots"         // there is no snapshot to choose from
	SeveralInstances   Cause = "several instances"    // snapshots of several instances fit
	NoSnapshotName     Cause = "no snapshot name"     // a text names no snapshot
	NoSnapshotID       Cause = "no snapshot id"       // no snapshot has such an ID
	PolicyKeepsNothing Cause = "policy keeps nothing" // a policy has no rule
	PolicyRemovesAll   Cause = "policy removes all"   // a policy would leave an instance without a snapshot that looks right
)

// An Error is an error and its cause. Its text is the error's alone.
type Error struct {
	Cause Cause
	Facts []string // as the cause's documentation tells
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Errorf is fmt.Errorf with a cause.
func Errorf(c Cause, format string, args ...any) error {
	return &Error{Cause: c, Err: fmt.Errorf(format, args...)}
}

// Of returns err with a cause, and with the facts that this cause has.
func Of(c Cause, err error, facts ...string) error {
	return &Error{Cause: c, Facts: facts, Err: err}
}
