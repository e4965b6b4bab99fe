package repo

import (
	"context"

	"permafrost/repo/ledger"
)

// readyToRepair returns an error where nothing can be repaired by the log as it now stands.
func (r *Repo) readyToRepair(ctx context.Context, o RepairOptions) error {
	err := r.log.CatchUp(ctx)
	if err != nil || o.DryRun && r.opts.AcceptHead {
		return err
	}
	if !o.DryRun {
		if err := r.log.AcceptDamage(ctx); err != nil {
			return err
		}
	}
	return r.log.MayAdd(&ledger.Entry{Prune: new(ledger.PruneEntry)})
}
