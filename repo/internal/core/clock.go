package core

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"permafrost/repo/store"
)

// TimeOfPreview returns the time by the storage's clock, for who looks at what a prune would do and holds no lease. Where nothing can be
// put there it is that of LastTime.
func (c *Core) TimeOfPreview(ctx context.Context) (time.Time, error) {
	lease, err := c.NewLease(ctx, "look at what a prune would do")
	if errors.Is(err, store.ErrNoSpace) || errors.Is(err, fs.ErrPermission) {
		return c.LastTime(ctx)
	}
	if err != nil {
		return time.Time{}, err
	}
	defer lease.Release()
	return lease.Now(ctx)
}

// LastTime returns a time that the storage's clock has passed for sure. Where nothing can be put there is no better one.
func (c *Core) LastTime(ctx context.Context) (last time.Time, err error) {
	for _, dir := range []string{store.Log.Dir(), store.Lease.Dir(), store.Temp + "/"} {
		for o, err := range c.Store.List(ctx, dir) {
			if err != nil {
				return last, fmt.Errorf("listing %s: %w", dir, err)
			}
			if o.Time.After(last) {
				last = o.Time
			}
		}
	}
	return last, nil
}
