package keeper

import (
	"context"
	"errors"
	"time"

	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/repo/lease"
)

const lockPoll = 2 * time.Second // how often a lock is tried that is held

// patiently does f again while others hold a lock, as long as patience reaches; and once more where a prune removed what it
// referenced, which a second run does not meet.
func patiently(ctx context.Context, patience time.Duration, news Observer, f func() error) error {
	deadline, pruned, told := time.Now().Add(patience), false, ""
	for {
		err := f()
		var locked *lease.LockedError
		switch {
		case errors.Is(err, repo.ErrPruned) && !pruned:
			pruned = true
			news.Found(note("%w: once more", err))
			continue
		case !errors.As(err, &locked) || !time.Now().Before(deadline):
			return err
		}
		if text := err.Error(); text != told {
			told = text
			news.Found(note("waiting for up to %s: %w", units.Duration(time.Until(deadline)), err))
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
