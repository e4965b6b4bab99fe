package logbook

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
func (b *Log) fillFree(ctx context.Context) error {
	for range publishTries {
		if len(b.Gaps) == 0 {
			return nil
		}
		for _, g := range b.Gaps {
			for seq := g.From; seq < g.To; seq++ {
				if err := b.store.Put(ctx, store.LogObject(seq), []byte(store.Filler)); err != nil && !errors.Is(err, fs.ErrExist) {
					return fmt.Errorf("putting something in the place of lost log entry %d: %w", seq, err)
				}
			}
		}
		h, err := b.ReadLog(ctx, b.Keys, false)
		if err != nil {
			return err
		}
		b.History = h
		b.opts.Changed()
	}
	return fmt.Errorf("log entry %d: others keep leaving numbers below it free", b.Head.Seq)
}

// AcceptDamage publishes that the log goes on from what is left of it, where an owner wants that.
func (b *Log) AcceptDamage(ctx context.Context) error {
	for len(b.Breaks) > 0 && b.opts.AcceptHead && b.key.Role == keys.RoleOwner {
		if err := b.fillFree(ctx); err != nil {
			return err
		}
		accept := new(ledger.AcceptEntry)
		if err := b.Publish(ctx, &ledger.Entry{Accept: accept}, func(h *ledger.History) error {
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
