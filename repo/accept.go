package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// fillFree puts something under each free number below the newest entry or break, and takes the log as it then is: who was faster
// has put an entry.
func (r *Repo) fillFree(ctx context.Context) error {
	for range publishTries {
		if len(r.log.Gaps) == 0 {
			return nil
		}
		for _, g := range r.log.Gaps {
			for seq := g.From; seq < g.To; seq++ {
				if err := r.store.Put(ctx, store.LogObject(seq), []byte(store.Filler)); err != nil && !errors.Is(err, fs.ErrExist) {
					return fmt.Errorf("putting something in the place of lost log entry %d: %w", seq, err)
				}
			}
		}
		h, err := r.readLog(ctx, r.Key(), false)
		if err != nil {
			return err
		}
		r.log, r.index = h, nil
	}
	return fmt.Errorf("log entry %d: others keep leaving numbers below it free", r.log.Head.Seq)
}

// acceptDamage publishes that the log goes on from what is left of it, where an owner wants that.
func (r *Repo) acceptDamage(ctx context.Context) error {
	for len(r.log.Breaks) > 0 && r.opts.AcceptHead && r.key.Role == keys.RoleOwner {
		if err := r.fillFree(ctx); err != nil {
			return err
		}
		accept := new(ledger.AcceptEntry)
		if err := r.publish(ctx, &ledger.Entry{Accept: accept}, func(h *ledger.History) error {
			accept.Breaks = nil
			for _, b := range h.Breaks[:min(len(h.Breaks), ledger.MaxBreaks)] {
				accept.Breaks = append(accept.Breaks, b.Break)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// readyToRepair returns an error where nothing can be repaired by the log as it now stands.
func (r *Repo) readyToRepair(ctx context.Context, o RepairOptions) error {
	err := r.catchUp(ctx, r.log)
	if err != nil || o.DryRun && r.opts.AcceptHead {
		return err
	}
	if !o.DryRun {
		if err := r.acceptDamage(ctx); err != nil {
			return err
		}
	}
	return r.log.MayAdd(&ledger.Entry{Prune: new(ledger.PruneEntry)})
}
