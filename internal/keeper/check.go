package keeper

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/scrub"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
	"permafrost/snapshot"
)

// damages tells of damage as it is found, of each object or snapshot once, and counts it.
type damages struct {
	news Observer

	mu   sync.Mutex
	n    int
	told map[string]bool
}

func newDamages(news Observer) *damages { return &damages{news: news, told: make(map[string]bool)} }

func (d *damages) add(err error) {
	f := finding(Damaging, err)
	key := f.Object
	var s *ledger.SnapshotError
	if errors.As(err, &s) {
		key = s.Ref.ID.String() // several may lack the same object
	}
	if d.first(key) {
		d.news.Found(f)
	}
}

// first counts damage to what key names, and reports whether it was not told of yet.
func (d *damages) first(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told[key] {
		return false
	}
	d.told[key] = key != ""
	d.n++
	return true
}

// CheckOptions say how much a check reads; zero: nothing but what leads to the packs.
type CheckOptions = upkeep.CheckOptions

// A Health is the result of a check.
type Health struct {
	Checked
	Lost     int      // objects of the index that are missing or damaged
	Damaged  int      // packs that are missing or damaged
	Strays   []string // the first of the objects that are not in use
	Accepted []error  // damage to the log that an owner has accepted
}

// Check verifies the repository, tells of damage as it is found, and notes damaged packs in the log, so that the next snapshot
// stores anew what it still finds. Of the options it sets Problem and Progress itself. That damage was found is no error; its errors
// are those of [upkeep.Check].
func Check(ctx context.Context, r *repo.Repo, o CheckOptions, news Observer) (*Health, error) {
	found := newDamages(news)
	o.Problem = found.add
	o.Progress = func(done, total int64) { phases(news)("packs", done, total) }
	res, err := upkeep.Check(ctx, r, snapshot.NewInspector, o)
	if err != nil {
		return nil, fmt.Errorf("checking: %w", err)
	}
	if err := upkeep.ReportDamaged(ctx, r, res.Damaged); err != nil {
		news.Found(warning("the damaged packs could not be noted in the log: %w", err))
	}
	return &Health{Checked: checked(res, found.n, r.Head()), Lost: res.Lost, Damaged: len(res.Damaged), Strays: res.Strays, Accepted: res.Accepted}, nil
}

// Scrub compares each stored object with its name, without a key, and tells of damage as it is found. Its errors are
// [repo.ErrNoRepository] and those of [scrub.Run].
func Scrub(ctx context.Context, st store.Store, news Observer) (*Scrubbed, error) {
	switch there, err := repo.Exists(ctx, st); {
	case err != nil:
		return nil, err
	case !there:
		return nil, repo.ErrNoRepository
	}
	res, err := scrub.Run(ctx, st, scrub.Options{
		Problem:  newDamages(news).add,
		Progress: func(done, total int64) { phases(news)("objects", done, total) },
	})
	if err != nil {
		return nil, fmt.Errorf("scrubbing: %w", err)
	}
	return &Scrubbed{Objects: res.Objects, Bytes: res.Bytes, Problems: res.Problems, Junk: res.Junk}, nil
}

// Requests returns the log entries whose signers were not entitled to them: what a host asks for and does not get.
func Requests(r *repo.Repo) (all []Request) {
	for _, q := range r.Requests() {
		all = append(all, Request{Entry: q.Seq, Signer: q.Signer, Why: q.Why})
	}
	return all
}
