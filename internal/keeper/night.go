package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"permafrost/internal/hint"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
	"permafrost/snapshot/retain"
	"permafrost/source"
)

// NightOptions say what becomes of an instance in a night.
type NightOptions struct {
	Take      TakeOptions
	Policy    retain.Policy // what stays; the zero value removes nothing
	MaxUnused float64       // share of a pack, as upkeep.PruneOptions has it
}

// A Retention is what became of old snapshots.
type Retention string

// What may become of them.
const (
	RetentionDone       Retention = "done"
	RetentionNoPolicy   Retention = "no policy"   // every snapshot stays
	RetentionNotAllowed Retention = "not allowed" // the key may not remove snapshots
	RetentionFailed     Retention = "failed"
)

// Run makes a snapshot, removes those that the policy does not keep, and prunes. Of one instance a single run on a machine is at work.
// It tells of the snapshot ([Taken]), of each that it removes ([Removed]), and of the prune ([Pruned]).
//
// Where the snapshot is committed the night is returned, beside the errors of [Take] and a [RetentionError].
func Run(ctx context.Context, r *repo.Repo, inst *source.Instance, o NightOptions, news Observer) (*Night, error) {
	var unlock func()
	err := patiently(ctx, o.Take.Patience, news, func() (err error) {
		unlock, err = r.LockRun(inst.Domain)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer unlock()
	begin := time.Now()
	taken, wrong := Take(ctx, r, inst, o.Take, news)
	if taken == nil {
		return nil, wrong
	}
	news.Tell(taken)
	n := &Night{Snapshot: taken.ID}
	if n.Retention, err = n.retain(ctx, r, &o, &taken.Ref, news); err != nil {
		n.Retention = RetentionFailed
		err = &RetentionError{Snapshot: taken.Ref.ID, Wrong: wrong, Err: err}
	}
	n.Seconds = Seconds(time.Since(begin))
	return n, hint.Join(wrong, err)
}

// A RetentionError says that a snapshot was kept, and that what was to be removed after it was not.
type RetentionError struct {
	Snapshot store.Name // the ID
	Wrong    error      // what is wrong with the snapshot, nil for nothing
	Err      error
}

func (e *RetentionError) Error() string {
	return fmt.Sprintf("snapshot %s is kept; removing old snapshots after it failed: %v", e.Snapshot.Short(), e.Err)
}
func (e *RetentionError) Unwrap() error { return e.Err }

// retain applies the policy to the instance's snapshots and prunes.
func (n *Night) retain(ctx context.Context, r *repo.Repo, o *NightOptions, ref *ledger.SnapshotRef, news Observer) (Retention, error) {
	done, err := n.forget(ctx, r, o, ref, news)
	if err != nil || done == RetentionNotAllowed {
		return done, err
	}
	res, err := Prune(ctx, r, upkeep.PruneOptions{MaxUnused: o.MaxUnused, Patience: o.Take.Patience}, news)
	switch {
	case errors.Is(err, ledger.ErrNotAllowed):
		return RetentionNotAllowed, nil
	case err != nil:
		return "", err
	}
	news.Tell(res)
	return done, nil
}

// forget removes what the policy does not keep.
func (n *Night) forget(ctx context.Context, r *repo.Repo, o *NightOptions, ref *ledger.SnapshotRef, news Observer) (Retention, error) {
	forget := ForgetOptions{Selection: Selection{Instance: ref.Instance}, Policy: o.Policy, Known: ref.ID}
	n.Kept = len(forget.Of(r.Snapshots()))
	if o.Policy.Empty() {
		return RetentionNoPolicy, nil
	}
	res, err := Forget(ctx, r, forget, news)
	switch {
	case errors.Is(err, ledger.ErrNotAllowed):
		return RetentionNotAllowed, nil
	case err != nil:
		return "", err
	}
	n.Removed = len(res.Removed())
	n.Kept = len(res.Decisions) - n.Removed
	for i := range res.Decisions {
		if d := &res.Decisions[i]; !d.Keep() {
			news.Tell(Removed{Snapshot: newSnapshot(&d.Snapshot)})
		}
	}
	return RetentionDone, nil
}
