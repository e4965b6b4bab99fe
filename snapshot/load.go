package snapshot

import (
	"context"
	"fmt"

	"permafrost/repo/ledger"

	"permafrost/internal/escape"
	"permafrost/repo"
)

// Load returns the manifest of a snapshot. The error for one that is malformed, or that is another instance's than the log says, is a
// store.DamageError.
func Load(ctx context.Context, r *repo.Repo, ref ledger.SnapshotRef) (*Manifest, error) {
	data, err := r.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	m, err := parseManifestOf(ref.Instance, data)
	return m, new(watched).blame("manifest", err)
}

// CheckComponents returns an error where one of the names is none of a component, which are secrets, postgres, redis and media; or where
// one is there twice.
func CheckComponents(names []string) error {
	seen := map[string]bool{"secrets": false, "postgres": false, "redis": false, "media": false}
	for _, n := range names {
		again, known := seen[n]
		switch {
		case !known:
			return fmt.Errorf("unknown component %q: there are secrets, postgres, redis and media", escape.Cut(n, 40))
		case again:
			return fmt.Errorf("%s is named twice", n)
		}
		seen[n] = true
	}
	return nil
}
