package sftpstore

import (
	"errors"
	"fmt"

	"permafrost/internal/sshconn"
)

// A Cause says what an error is about. The program that a person runs says what can be done about it. An error in connecting or logging
// in has an sshconn.Cause instead.
type Cause string

// Causes on the way to the server.
const (
	CauseUnknownHost Cause = "unknown host" // the host's name has no address
	CauseNoContact   Cause = "no contact"   // the first connection got no answer
	CauseUnreachable Cause = "unreachable"  // connections broke, or could not be made, for as long as was tried
	CauseOverdue     Cause = "overdue"      // the server kept on answering, and an operation did not end
)

// Causes in what the server does.
const (
	CauseNotSFTP     Cause = "not SFTP"     // it sends a text where the protocol begins
	CauseFalseReport Cause = "false report" // it reported success for what it did not do
	CauseEndless     Cause = "endless"      // it lists more files than a repository has
	CauseDenied      Cause = "denied"       // the account may not write there
	CauseNoRemoval   Cause = "no removal"   // the account may not remove
	CauseUnexplained Cause = "unexplained"  // it refuses to store something, and does not say why
	CauseUnpublished Cause = "unpublished"  // a file can be given its name neither by a hard link nor by a rename
)

// A CauseError is an error and its cause. Its text is the error's alone.
type CauseError struct {
	Cause Cause
	Err   error
}

func (e *CauseError) Error() string { return e.Err.Error() }
func (e *CauseError) Unwrap() error { return e.Err }

// because returns err with a cause.
func because(c Cause, err error) error { return &CauseError{c, err} }

// becausef is because with a new error.
func becausef(c Cause, format string, args ...any) error {
	return because(c, fmt.Errorf(format, args...))
}

// explained reports whether an error has a cause, or a type of its own that tells as much.
func explained(err error) bool {
	var cause *CauseError
	var way *sshconn.CauseError
	var unfit *UnfitError
	return errors.As(err, &cause) || errors.As(err, &way) || errors.As(err, &unfit)
}
