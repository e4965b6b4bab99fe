package main

import (
	"context"
	"errors"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/hints"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
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

// asUsageError returns err as one of wrong usage, except where it already is an error with a code of its own.
func asUsageError(err error) error {
	if exitCode(err) != exitFailed {
		return err
	}
	return usage.Wrap(err)
}

// exitCode returns the exit code that tells err.
func exitCode(err error) int {
	var after *keeper.RetentionError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case isA[*console.UnreportedError](err):
		return exitUnreported
	case isA[*usage.Error](err), isA[*keys.NoKeyError](err):
		return exitUsage
	case errors.As(err, &after) && after.Wrong != nil:
		return exitCode(after.Wrong)
	case after != nil:
		return exitRetention
	case errors.Is(err, repo.ErrNoRepository):
		return exitNoRepository
	case isA[*lease.LockedError](err):
		return exitLocked
	case isA[*keys.MissingKeyError](err), isA[*repo.ForeignKeyError](err), isA[*repo.FingerprintError](err), errors.Is(err, ledger.ErrNotAllowed):
		return exitWrongKey
	case isA[*store.DamageError](err), isA[*ledger.RollbackError](err), isA[*damageError](err):
		return exitDamage
	case isA[*keeper.IncompleteError](err):
		return exitIncomplete
	case isA[*keeper.SuspectError](err):
		return exitSuspect
	case isA[*keeper.LeftOutError](err), isA[*keeper.AbsentError](err), isA[*keeper.RefusedError](err),
		isA[*keeper.LostError](err), isA[*keeper.UnrepairedError](err):
		return exitPartial
	}
	return exitFailed
}

// isA reports whether err is of a type, or wraps one that is.
func isA[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}

// withHint returns err with a hint, unless it has one.
func withHint(err error, text string) error {
	if hints.For(err) != "" {
		return err
	}
	return hint.Wrap(err, text)
}
