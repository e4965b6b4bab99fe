package main

import (
	"context"
	"errors"
	"fmt"

	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// Exit codes. Scripts depend on them: see `permafrost help exit-codes`.
const (
	exitDone         = 0
	exitFailed       = 1
	exitUsage        = 2
	exitPartial      = 3
	exitSuspect      = 4
	exitIncomplete   = 5
	exitRetention    = 6
	exitUnreported   = 9
	exitNoRepository = 10
	exitLocked       = 11
	exitWrongKey     = 12
	exitDamage       = 13
	exitInterrupted  = 130
)

// errInterrupted says that a signal ended the command.
var errInterrupted = errors.New("interrupted")

// A usageError says that a command was called wrongly.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// asUsageError returns err as a usageError, except where it already is an error with a code of its own.
func asUsageError(err error) error {
	if exitCode(err) != exitFailed {
		return err
	}
	return &usageError{err}
}

// exitCode returns the exit code that tells err.
func exitCode(err error) int {
	var (
		usage      *usageError
		suspect    *keeper.SuspectError
		lacking    *keeper.IncompleteError
		silent     *unreportedError
		locked     *repo.LockedError
		noKey      *keys.MissingKeyError
		foreign    *repo.ForeignKeyError
		keyless    *keys.NoKeyError
		damage     *store.DamageError
		rollback   *ledger.RollbackError
		found      *damageError
		keys       *repo.FingerprintError
		after      *keeper.RetentionError
		left       *keeper.LeftOutError
		absent     *keeper.AbsentError
		refused    *keeper.RefusedError
		lost       *keeper.LostError
		unrepaired *keeper.UnrepairedError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &silent):
		return exitUnreported
	case errors.As(err, &usage), errors.As(err, &keyless):
		return exitUsage
	case errors.As(err, &after):
		if after.Wrong != nil {
			return exitCode(after.Wrong)
		}
		return exitRetention
	case errors.Is(err, repo.ErrNoRepository):
		return exitNoRepository
	case errors.As(err, &locked):
		return exitLocked
	case errors.As(err, &noKey), errors.As(err, &foreign), errors.As(err, &keys), errors.Is(err, ledger.ErrNotAllowed):
		return exitWrongKey
	case errors.As(err, &damage), errors.As(err, &rollback), errors.As(err, &found):
		return exitDamage
	case errors.As(err, &lacking):
		return exitIncomplete
	case errors.As(err, &suspect):
		return exitSuspect
	case errors.As(err, &left), errors.As(err, &absent), errors.As(err, &refused), errors.As(err, &lost), errors.As(err, &unrepaired):
		return exitPartial
	}
	return exitFailed
}

// withHint returns err with a hint, unless it has one.
func withHint(err error, text string) error {
	if hintFor(err) != "" {
		return err
	}
	return hint.Wrap(err, text)
}
