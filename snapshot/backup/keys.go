package backup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"permafrost/repo/store"
	"permafrost/snapshot"
)

// keys notes hashes of the secrets that Mastodon's set-up generated, and says which differ from those of the last snapshot.
func (c *creation) keys(ctx context.Context) {
	hashes := make(map[string]store.Name)
	for name, value := range c.inst.Generated {
		hashes[name] = c.repo.Key().SecretHash(c.inst.Domain, name, value)
	}
	c.m.Secrets.Keys = hashes
	last := c.last(ctx)
	if last == nil {
		return
	}
	if changed := changedKeys(last, c.m); len(changed) > 0 {
		c.m.Warnings = append(c.m.Warnings, fmt.Sprintf("the keys differ from those of the last snapshot, of %s: %s. Was .env.production replaced? New keys can't read what the old ones encrypted",
			last.Date, strings.Join(changed, ", ")))
	}
}

// last returns the newest snapshot of the instance, or nil: one that can't be read is no reason to fail.
func (c *creation) last(ctx context.Context) *snapshot.Manifest {
	for _, ref := range slices.Backward(c.repo.Snapshots()) {
		if ref.Instance != c.inst.Domain {
			continue
		}
		m, err := snapshot.Load(ctx, c.repo, ref)
		if err != nil {
			c.warn("secrets", "they are not compared with those of the snapshot of %s: %v", ref.Date, err)
			return nil
		}
		return m
	}
	return nil
}

// changedKeys returns the generated secrets of a that b has not, or has with another value.
func changedKeys(a, b *snapshot.Manifest) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(a.Secrets.Keys)) {
		if a.Secrets.Keys[name] != b.Secrets.Keys[name] {
			names = append(names, name)
		}
	}
	return names
}
