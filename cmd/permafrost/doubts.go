package main

import (
	"errors"
	"fmt"

	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/snapshot/retain"
)

// A suspectError says that a snapshot was made, and looks wrong.
type suspectError struct{ err error }

func (e *suspectError) Error() string { return e.err.Error() }
func (e *suspectError) Unwrap() error { return e.err }

// looksWrong says that a snapshot is in doubt, and why.
func looksWrong(ref *repo.SnapshotRef, v *retain.Verdict) string {
	return fmt.Sprintf("snapshot %s looks wrong: %s", ref.ID.Short(), keeper.DoubtsText(v))
}

// whatToDo is the hint for snapshots in doubt.
func whatToDo(id repo.Name) string {
	return fmt.Sprintf("if the instance really is like that: permafrost confirm %s; if not, find out why, and remove the snapshot: permafrost forget %s", id.Short(), id.Short())
}

// doubtful returns the error for a snapshot that was just made, if it is in doubt.
func doubtful(ref *repo.SnapshotRef, v *retain.Verdict) error {
	if v.Sound() {
		return nil
	}
	return hint.Wrap(&suspectError{errors.New(looksWrong(ref, v))}, whatToDo(ref.ID))
}

// tellDoubts tells of each snapshot in doubt, in one line, and by how much the storage's clock is off where nobody was told.
func (a *app) tellDoubts(refs []repo.SnapshotRef, verdicts retain.Judgements) {
	var last *repo.SnapshotRef
	for i := range refs {
		ref := &refs[i]
		v := verdicts.Of(ref)
		if v.Sound() {
			continue
		}
		last = ref
		a.ui.JSON(keeper.Suspect{Snapshot: keeper.NewSnapshot(ref), Doubts: keeper.Doubts(v)})
		a.ui.Warn("%s", looksWrong(ref, v))
	}
	if last != nil {
		a.ui.Hint(whatToDo(last.ID))
	}
	a.tellClock(verdicts)
}

// tellClock says by how much the storage's clock is off, where no log entry has it.
func (a *app) tellClock(verdicts retain.Judgements) {
	for _, j := range verdicts {
		if off, news := j.Clock(); news {
			a.ui.Warn("the storage's clock is %s: retention allows for that", off)
			return
		}
	}
}
