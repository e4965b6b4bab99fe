package upkeep

import (
	"context"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// Forget takes snapshots off the list. What only they need goes with the next prune. The entry also records what is thought
// of the times of snapshots below it, as far as this key may say so. On a full storage Forget makes room for the entry.
//
// The error is a ledger.NotAllowedError for a key that may not forget these snapshots. One that is not listed is an error, too;
// then nothing is forgotten.
func Forget(ctx context.Context, r *repo.Repo, ids []store.Name, records ...ledger.Record) error {
	c := r.Core()
	if len(ids) == 0 {
		return nil
	}
	f := &ledger.ForgetEntry{Snapshots: ids, Records: c.Log.Scope(c.Key.VerifyKey()).Recordable(records)}
	return publishOnFull(ctx, c, &ledger.Entry{Forget: f}, func(h *ledger.History) error {
		if err := h.CheckListed(ids); err != nil {
			return err
		}
		by := h.Scope(c.Key.VerifyKey())
		if why := h.MayForget(by, ids); why != "" {
			return &ledger.NotAllowedError{Right: ledger.RightForget, Why: why}
		}
		return nil
	})
}
