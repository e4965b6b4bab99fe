package keeper

import (
	"context"
	"fmt"
	"time"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
)

// RepairOptions say how a repair goes about it.
type RepairOptions struct {
	DryRun   bool          // change nothing
	Patience time.Duration // how long others who are at work are waited for
}

func (o *RepairOptions) options(found *damages, news Observer) repo.RepairOptions {
	return repo.RepairOptions{DryRun: o.DryRun, Patience: o.Patience, Problem: found.add, Progress: phases(news)}
}

// RepairIndex lists again what no index lists and a snapshot needs. It takes the owner key, and tells of packs that can't be used;
// unusable is their number. Its errors are those of [repo.Repo.RepairIndex].
func RepairIndex(ctx context.Context, r *repo.Repo, o RepairOptions, news Observer) (res *IndexRepaired, unusable int, err error) {
	found := newDamages(news)
	did, err := r.RepairIndex(ctx, snapshot.NewInspector, o.options(found, news))
	if err != nil {
		return nil, 0, fmt.Errorf("repairing the index: %w", err)
	}
	return indexRepaired(did, o.DryRun), found.n, nil
}

// RepairPacks moves what verifies in damaged packs to new ones. It takes the owner key. Its errors are those of
// [repo.Repo.RepairPacks].
func RepairPacks(ctx context.Context, r *repo.Repo, o RepairOptions, news Observer) (*PacksRepaired, error) {
	did, err := r.RepairPacks(ctx, o.options(newDamages(news), news))
	if err != nil {
		return nil, fmt.Errorf("repairing packs: %w", err)
	}
	return packsRepaired(did, o.DryRun), nil
}

// Losses calls f with each snapshot that can't be put together again and the parts that it lacks, oldest first. Its error is one of
// reading.
func Losses(ctx context.Context, r *repo.Repo, f func(ref *ledger.SnapshotRef, parts []Lost)) error {
	return r.Losses(ctx, snapshot.NewInspector, func(ref ledger.SnapshotRef, lost []repo.Loss) {
		parts := make([]Lost, len(lost))
		for i, l := range lost {
			parts[i] = Lost{Snapshot: ref.ID.String(), Date: ref.Date, Part: l.Part, Message: l.Err.Error()}
		}
		f(&ref, parts)
	})
}
