package upkeep

import (
	"context"

	"permafrost/repo/internal/core"
	"permafrost/repo/ledger"
)

// readyToRepair returns an error where nothing can be repaired by the log as it now stands.
func readyToRepair(ctx context.Context, c *core.Core, o RepairOptions) error {
	err := c.Log.CatchUp(ctx)
	if err != nil || o.DryRun && c.AcceptHead {
		return err
	}
	if !o.DryRun {
		if err := c.Log.AcceptDamage(ctx); err != nil {
			return err
		}
	}
	return c.Log.MayAdd(&ledger.Entry{Prune: new(ledger.PruneEntry)})
}
