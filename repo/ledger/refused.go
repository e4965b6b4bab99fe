package ledger

import (
	"errors"
	"fmt"
)

// ErrNotAllowed says that the roster does not let this key do what was asked.
var ErrNotAllowed = errors.New("this key is not allowed to do that")

// A Right is what the list of keys may withhold from a key.
type Right string

// The rights.
const (
	RightAny      Right = "any"      // the list of keys does not have the key at all
	RightInstance Right = "instance" // to make snapshots of this instance
	RightForget   Right = "forget"   // to forget these snapshots
	RightConfirm  Right = "confirm"  // to confirm these snapshots
	RightPrune    Right = "prune"    // to prune
)

// A NotAllowedError says what the list of keys does not let this key do. It wraps ErrNotAllowed.
type NotAllowedError struct {
	Right Right
	Why   string
	Who   []string // of RightConfirm: the writers, by name, whose keys have it
}

func (e *NotAllowedError) Error() string { return ErrNotAllowed.Error() + ": " + e.Why }
func (e *NotAllowedError) Unwrap() error { return ErrNotAllowed }

// A RollbackError says that the log is not a continuation of the one that was seen before.
type RollbackError struct {
	Remembered, Found Head
	Lost              string // what the remembered log was built on, where its head may be there and that is not; else ""
	Since             bool   // Remembered was seen since the repository was opened: the storage does not show the same log each time
}

func (e *RollbackError) Error() string {
	if e.Lost != "" {
		return fmt.Sprintf("the log ends at entry %v, unlike what this machine has seen (%s): the storage lost or rolled back entries", e.Found, e.Lost)
	}
	return fmt.Sprintf("the log ends at entry %v, but this machine has seen entry %v: the storage lost or rolled back entries", e.Found, e.Remembered)
}
