// Package usage has the error that says that a command was called wrongly. Nothing was changed then.
package usage

import "fmt"

// An Error says that a command was called wrongly.
type Error struct{ err error }

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Errorf returns an Error with a text that fmt.Errorf makes.
func Errorf(format string, args ...any) error { return &Error{fmt.Errorf(format, args...)} }

// Wrap returns err as an Error.
func Wrap(err error) error { return &Error{err} }
