package repo

import (
	"context"

	"permafrost/repo/ledger"
)

// readyToRepair returns an error where nothing can be repaired by the log as it now stands.
func readyToRepair(ctx context.Context, c *core, o RepairOptions) error {
	err := c.log.CatchUp(ctx)
	if err != nil || o.DryRun && c.acceptHead {
		return err
	}
	if !o.DryRun {
		if err := c.log.AcceptDamage(ctx); err != nil {
			return err
		}
	}
	return c.log.MayAdd(&ledger.Entry{Prune: new(ledger.PruneEntry)})
}
