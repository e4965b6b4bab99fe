package upkeep

import (
	"context"
	"slices"

	"permafrost/repo"
	"permafrost/repo/internal/core"
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
	f := &ledger.ForgetEntry{Snapshots: ids, Records: c.Log.Roster.Scope(c.Key.VerifyKey()).Recordable(records)}
	return publishOnFull(ctx, c, &ledger.Entry{Forget: f}, func(h *ledger.History) error {
		if err := h.Snapshots.CheckListed(ids); err != nil {
			return err
		}
		by := h.Roster.Scope(c.Key.VerifyKey())
		if err := h.Snapshots.MayForget(by, ids); err != nil {
			return &ledger.NotAllowedError{Right: ledger.RightForget, Why: err.Error()}
		}
		return nil
	})
}

// ReportDamaged publishes that packs are damaged: nothing is deduplicated against them any more, so that the next snapshot
// stores again what it still finds at the source. What a writer says counts for its own instance.
func ReportDamaged(ctx context.Context, r *repo.Repo, packs []store.Name) error {
	c := r.Core()
	e := damageEntry(c, packs)
	if e == nil {
		return nil
	}
	return c.Log.Publish(ctx, e, func(*ledger.History) error { return nil })
}

// reportAt is ReportDamaged upon head, or not at all. It returns the head behind its entry.
func reportAt(ctx context.Context, c *core.Core, head ledger.Head, packs []store.Name) (ledger.Head, error) {
	if e := damageEntry(c, packs); e != nil {
		if err := c.Log.PublishAt(ctx, head, e); err != nil {
			return head, err
		}
		head = c.Log.Head
	}
	return head, nil
}

// damageEntry returns an entry that reports those of the packs that this key has not reported yet, or nil for none. It names at
// most maxPruned: the rest waits for the next check.
func damageEntry(c *core.Core, packs []store.Name) *ledger.Entry {
	e := &ledger.Entry{Damage: new(ledger.DamageEntry)}
	me := c.Log.Roster.Scope(c.Key.VerifyKey())
	said := func(s ledger.Scope) bool { return s.Owner || !me.Owner && s.Person.Name == me.Person.Name }
	for _, n := range packs {
		if !slices.ContainsFunc(c.Log.Reported[n], said) && len(e.Damage.Packs) < maxPruned {
			e.Damage.Packs = append(e.Damage.Packs, n)
		}
	}
	if len(e.Damage.Packs) == 0 {
		return nil
	}
	return e
}
