package keeper

import (
	"context"
	"errors"
	"fmt"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot/retain"
)

// What can't be confirmed, or no longer be.
var (
	ErrNotSuspect   = errors.New("does not look wrong: there is nothing to confirm")
	ErrNotConfirmed = errors.New("is not confirmed: there is nothing to take back")
)

// ConfirmOptions say what a person says of snapshots that look wrong.
type ConfirmOptions struct {
	IDs    []string // of the snapshots. No other name will do: what "latest" means changes, and a date may mean several
	Revoke bool     // a confirmation is taken back
	DryRun bool     // say what is wrong, and change nothing
}

// Confirm says that a person has found right what looks wrong, or takes that back. It tells of each snapshot, and returns of how
// many the log says something new. Its errors are an [IDError], [ErrNotSuspect], [ErrNotConfirmed] and those of
// [repo.Repo.Confirm].
func Confirm(ctx context.Context, r *repo.Repo, o ConfirmOptions, news Observer) (changed int, err error) {
	refs, err := byID(r.Snapshots(), o.IDs)
	if err != nil {
		return 0, err
	}
	verdicts := retain.JudgeAll(r, refs)
	var todo []store.Name
	for i := range refs {
		c, err := confirmation(&refs[i], verdicts.Of(&refs[i]), o.Revoke)
		if err != nil {
			return 0, err
		}
		news.Tell(c)
		if c.News {
			todo = append(todo, refs[i].ID)
		}
	}
	if len(todo) == 0 || o.DryRun {
		return 0, nil
	}
	if err := r.Confirm(ctx, todo, o.Revoke, verdicts.Records(r.Head().Seq)...); err != nil {
		return 0, fmt.Errorf("%s: %w", map[bool]string{true: "revoking", false: "confirming"}[o.Revoke], err)
	}
	return len(todo), nil
}

// confirmation returns what a person says of a snapshot.
func confirmation(ref *ledger.SnapshotRef, v *retain.Verdict, revoke bool) (Confirmation, error) {
	switch {
	case revoke && !v.Confirmed:
		return Confirmation{}, fmt.Errorf("snapshot %s %w", ref.ID.Short(), ErrNotConfirmed)
	case !revoke && len(v.Doubts) == 0:
		return Confirmation{}, fmt.Errorf("snapshot %s %w", ref.ID.Short(), ErrNotSuspect)
	}
	return Confirmation{Snapshot: newSnapshot(ref), Revoke: revoke, News: revoke || !v.Confirmed, Doubts: Doubts(v)}, nil
}

// byID returns the snapshots that have these IDs, each once.
func byID(refs []ledger.SnapshotRef, ids []string) (chosen []ledger.SnapshotRef, err error) {
	seen := make(map[store.Name]bool)
	for _, id := range ids {
		ref, err := retain.FindID(refs, id)
		if err != nil {
			return nil, &IDError{err}
		}
		if !seen[ref.ID] {
			seen[ref.ID] = true
			chosen = append(chosen, ref)
		}
	}
	return chosen, nil
}

// An IDError says why a text is no snapshot's ID.
type IDError struct{ Err error }

func (e *IDError) Error() string { return e.Err.Error() }
func (e *IDError) Unwrap() error { return e.Err }
