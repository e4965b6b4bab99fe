package keeper

import (
	"context"
	"fmt"
	"time"

	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/ledger"
	"permafrost/repo/upkeep"
	"permafrost/snapshot"
)

// RepairOptions say how a repair goes about it.
type RepairOptions struct {
	DryRun   bool          // change nothing
	Patience time.Duration // how long others who are at work are waited for
}

func (o *RepairOptions) options(found *damages, news Observer) upkeep.RepairOptions {
	return upkeep.RepairOptions{DryRun: o.DryRun, Patience: o.Patience, Problem: found.add, Progress: phases(news)}
}

// RepairIndex lists again what no index lists and a snapshot needs. It takes the owner key, and tells of packs that can't be used.
//
// Where it did what can be done the result is returned, beside an [UnrepairedError] where that is not all. Other errors are those of
// [upkeep.RepairIndex].
func RepairIndex(ctx context.Context, r *repo.Repo, o RepairOptions, news Observer) (*IndexRepaired, error) {
	found := newDamages(news)
	did, err := upkeep.RepairIndex(ctx, r, snapshot.NewInspector, o.options(found, news))
	if err != nil {
		return nil, fmt.Errorf("repairing the index: %w", err)
	}
	res := indexRepaired(did, o.DryRun)
	whole := res.Dropped+res.Read == 0 && !res.Lacking
	if whole || res.Damaged == 0 && !res.Lacking && found.n == 0 {
		return res, nil
	}
	return res, &UnrepairedError{Damaged: res.Damaged, Lacking: res.Lacking, Unusable: found.n}
}

// An UnrepairedError says what a repair of the index could not list again.
type UnrepairedError struct {
	Damaged  int  // packs that are damaged, and snapshots need
	Lacking  bool // content that snapshots need was not found, or could not be looked for
	Unusable int  // packs that can't be used
}

func (e *UnrepairedError) Error() string {
	switch {
	case e.Damaged > 0:
		return units.Plural(int64(e.Damaged), "damaged pack is", "damaged packs are") + " among them"
	case e.Lacking:
		return "content that snapshots need was not found, or could not be looked for"
	}
	return units.Plural(int64(e.Unusable), "pack", "packs") + " can't be used, and no snapshot needs them"
}

// RepairPacks moves what verifies in damaged packs to new ones. It takes the owner key. [Losses] tells what is lost then; of a dry run
// a [LostError] beside the result does. Other errors are those of [upkeep.RepairPacks].
func RepairPacks(ctx context.Context, r *repo.Repo, o RepairOptions, news Observer) (*PacksRepaired, error) {
	did, err := upkeep.RepairPacks(ctx, r, o.options(newDamages(news), news))
	if err != nil {
		return nil, fmt.Errorf("repairing packs: %w", err)
	}
	res := packsRepaired(did, o.DryRun)
	if o.DryRun && did.Lost > 0 {
		return res, &LostError{Blobs: did.Lost}
	}
	return res, nil
}

// Losses tells of each part that a snapshot lacks ([Lost]), the oldest snapshot first. Where there is any its error is a [LostError];
// any other is one of reading.
func Losses(ctx context.Context, r *repo.Repo, news Observer) error {
	sum := new(LostError)
	err := inspection.Losses(ctx, r, snapshot.NewInspector, func(ref ledger.SnapshotRef, lost []inspection.Loss) {
		sum.Snapshots++
		sum.Parts += len(lost)
		for i, l := range lost {
			news.Tell(Lost{Snapshot: ref.ID.String(), Date: ref.Date, Part: l.Part, Message: l.Err.Error(), Index: i, Count: len(lost)})
		}
	})
	if err == nil && sum.Snapshots > 0 {
		err = sum
	}
	return err
}

// A LostError says that content which snapshots need is lost.
type LostError struct {
	Snapshots int // that lack something
	Parts     int // that they lack, of all together
	Blobs     int // of a dry run, in place of both
}

func (e *LostError) Error() string {
	if e.Snapshots == 0 {
		return units.Plural(int64(e.Blobs), "blob is", "blobs are") + " lost"
	}
	return units.Plural(int64(e.Snapshots), "snapshot lacks", "snapshots lack") + " " + units.Plural(int64(e.Parts), "part", "parts")
}
