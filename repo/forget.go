package repo

import (
	"context"
	"errors"

	"permafrost/repo/store"
)

// Chronicle returns what the log says of an instance's snapshots. It is not to be changed.
func (r *Repo) Chronicle(instance string) Chronicle { return r.log.chronicle(instance) }

// Forget takes snapshots off the list. What only they need goes with the next prune. The entry also records what is thought
// of the times of snapshots below it.
func (r *Repo) Forget(ctx context.Context, ids []store.Name, records ...Record) error {
	if len(ids) == 0 {
		return nil
	}
	f := &ForgetEntry{ids, r.log.scope(r.key.VerifyKey()).recordable(records)}
	return r.publishOnFull(ctx, &Entry{Forget: f}, func(h *history) error {
		if err := h.mustList(ids); err != nil {
			return err
		}
		by := h.scope(r.key.VerifyKey())
		if why := h.mayForget(by, ids); why != "" {
			return &NotAllowedError{Right: RightForget, Why: why}
		}
		return nil
	})
}

// Confirm says that a person has looked at some snapshots that are in doubt, and found them right. With revoke it takes that
// back.
func (r *Repo) Confirm(ctx context.Context, ids []store.Name, revoke bool, records ...Record) error {
	if len(ids) == 0 {
		return errors.New("there is nothing to confirm")
	}
	c := &ConfirmEntry{ids, revoke, r.log.scope(r.key.VerifyKey()).recordable(records)}
	return r.publish(ctx, &Entry{Confirm: c}, func(h *history) error {
		if err := h.mustList(ids); err != nil {
			return err
		}
		by := h.scope(r.key.VerifyKey())
		if why := h.mayConfirm(by, ids); why != "" {
			return &NotAllowedError{Right: RightConfirm, Why: why, Who: h.othersWho(ids)}
		}
		return nil
	})
}
