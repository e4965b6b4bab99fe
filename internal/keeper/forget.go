package keeper

import (
	"context"
	"fmt"
	"slices"
	"time"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
)

// ForgetOptions say which snapshots are removed.
type ForgetOptions struct {
	Selection
	Names  []string      // those to be removed, as retain.Find reads them; none leaves it to the policy
	Policy retain.Policy // what stays, where no names are given
	Known  store.Name    // a snapshot in doubt that was told of already
	DryRun bool          // decide, and remove nothing
}

// A Forgotten says what became of the snapshots that were selected.
type Forgotten struct {
	Decisions []retain.Decision
	Suspects  []*SuspectError // that the policy did not count; none where names were given
}

// Removed returns the IDs of the snapshots that are removed.
func (f *Forgotten) Removed() (removed []store.Name) {
	for i := range f.Decisions {
		if d := &f.Decisions[i]; !d.Keep() {
			removed = append(removed, d.Snapshot.ID)
		}
	}
	return removed
}

// Forget decides which snapshots stay and removes the others from the log: their content goes with the next prune. What looks
// wrong is told of before anything is decided; so the result holds the suspects also where an error comes with it.
//
// Its errors are those of [retain.Find], [retain.Policy.Apply] and [upkeep.Forget].
func Forget(ctx context.Context, r *repo.Repo, o ForgetOptions, news Observer) (*Forgotten, error) {
	refs := o.Of(r.Snapshots())
	verdicts := retain.JudgeAll(r, refs)
	res := new(Forgotten)
	var err error
	if len(o.Names) > 0 {
		res.Decisions, err = decide(refs, o.Names)
	} else {
		res.Suspects = suspects(refs, verdicts, o.Known, news)
		res.Decisions, err = o.Policy.Apply(refs, verdicts, time.Now())
	}
	if err != nil || o.DryRun {
		return res, err
	}
	if err := upkeep.Forget(ctx, r, res.Removed(), verdicts.Records(r.Head().Seq)...); err != nil {
		return res, fmt.Errorf("forgetting: %w", err)
	}
	return res, nil
}

// decide removes the snapshots that were chosen, and keeps the rest.
func decide(refs []ledger.SnapshotRef, names []string) ([]retain.Decision, error) {
	decisions := make([]retain.Decision, len(refs))
	for i, r := range refs {
		decisions[i] = retain.Decision{Snapshot: r, Reasons: []string{"not named"}}
	}
	for _, name := range names {
		found, err := retain.Find(refs, nil, name, retain.Wish{}) // what looks wrong too: it is what one wants to forget
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(refs, func(r ledger.SnapshotRef) bool { return r.ID == found.ID })
		decisions[i].Reasons = nil
	}
	return decisions, nil
}

// A SuspectError says that a snapshot looks wrong.
type SuspectError struct {
	Snapshot store.Name // the ID
	Text     string     // what is wrong, as [DoubtsText] has it
}

func (e *SuspectError) Error() string {
	return fmt.Sprintf("snapshot %s looks wrong: %s", e.Snapshot.Short(), e.Text)
}

// Suspicion returns a SuspectError for a snapshot in doubt, nil for a sound one.
func Suspicion(ref *ledger.SnapshotRef, v *retain.Verdict) *SuspectError {
	if v.Sound() {
		return nil
	}
	return &SuspectError{ref.ID, DoubtsText(Doubts(v))}
}

// suspects tells of each snapshot in doubt but one, and by how much the storage's clock is off where nobody was told.
func suspects(refs []ledger.SnapshotRef, verdicts retain.Judgements, known store.Name, news Observer) (all []*SuspectError) {
	for i := range refs {
		ref := &refs[i]
		v := verdicts.Of(ref)
		err := Suspicion(ref, v)
		if err == nil || ref.ID == known {
			continue
		}
		all = append(all, err)
		news.Tell(Suspect{Snapshot: newSnapshot(ref), Doubts: Doubts(v)})
		news.Found(finding(Notable, err))
	}
	tellClock(verdicts, news)
	return all
}

// tellClock says by how much the storage's clock is off, where no log entry has it.
func tellClock(verdicts retain.Judgements, news Observer) {
	for _, j := range verdicts {
		if off, is := j.Clock(); is {
			news.Found(warning("the storage's clock is %s; retention allows for that", off))
			return
		}
	}
}

// Prune deletes what no snapshot needs, and records what is thought of the snapshots' times. Of the options it sets Records and
// Progress itself. Its errors are those of [upkeep.Prune].
func Prune(ctx context.Context, r *repo.Repo, o upkeep.PruneOptions, news Observer) (*Pruned, error) {
	o.Progress = phases(news)
	verdicts := retain.JudgeAll(r, r.Snapshots())
	o.Records = verdicts.Records(r.Head().Seq)
	res, err := upkeep.Prune(ctx, r, snapshot.NewInspector, o)
	if err != nil {
		return nil, fmt.Errorf("pruning: %w", err)
	}
	if !o.DryRun {
		tellClock(verdicts, news)
	}
	return pruned(res, o.DryRun, r.Head()), nil
}
