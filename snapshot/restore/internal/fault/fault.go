// Package fault tells whose fault it is that something is not restored: the repository's, or the target's.
package fault

import (
	"errors"

	"permafrost/repo/store"
)

type targetError struct{ err error }

func (e *targetError) Error() string { return e.err.Error() }
func (e *targetError) Unwrap() error { return e.err }

// OfTarget says of an error that the place which data is restored to has failed.
func OfTarget(err error) error { return &targetError{err} }

// IsOfTarget reports whether OfTarget was said of an error.
func IsOfTarget(err error) bool {
	var target *targetError
	return errors.As(err, &target)
}

// IsDamage reports whether an error is the fault of single objects of the repository, so that others may be sound.
func IsDamage(err error) bool {
	var damage *store.DamageError
	return errors.As(err, &damage) && !IsOfTarget(err) && !errors.Is(err, store.ErrNewerFormat)
}
