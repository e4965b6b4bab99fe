package repo

import (
	"context"
	"errors"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// Chronicle returns what the log says of an instance's snapshots. It is not to be changed.
func (r *Repo) Chronicle(instance string) ledger.Chronicle { return r.core.Log.Chronicle(instance) }

// Confirm says that a person has looked at some snapshots that are in doubt, and found them right. With revoke it takes that
// back.
func (r *Repo) Confirm(ctx context.Context, ids []store.Name, revoke bool, records ...ledger.Record) error {
	if len(ids) == 0 {
		return errors.New("there is nothing to confirm")
	}
	c := &ledger.ConfirmEntry{Snapshots: ids, Revoke: revoke, Records: r.core.Log.Roster.Scope(r.core.Key.VerifyKey()).Recordable(records)}
	return r.core.Log.Publish(ctx, &ledger.Entry{Confirm: c}, func(h *ledger.History) error {
		if err := h.Snapshots.CheckListed(ids); err != nil {
			return err
		}
		by := h.Roster.Scope(r.core.Key.VerifyKey())
		if err := h.Snapshots.MayConfirm(by, ids); err != nil {
			return &ledger.NotAllowedError{Right: ledger.RightConfirm, Why: err.Error(), Who: h.Snapshots.WhoMayConfirm(h.Roster.People, ids)}
		}
		return nil
	})
}
