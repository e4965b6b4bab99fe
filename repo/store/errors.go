package store

import (
	"errors"
	"fmt"
)

// ErrNewerFormat says that an object was written by a newer version of this program.
var ErrNewerFormat = errors.New("written by a newer version of permafrost")

// A DamageError says that an object of the repository is missing, cut, or not what it should be.
type DamageError struct {
	Object string // the object's name in the store
	Err    error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Object, e.Err) }
func (e *DamageError) Unwrap() error { return e.Err }
