package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"permafrost/cmd/permafrost/internal/place"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/source"
)

// A opened is an open repository.
type opened struct {
	*repo.Repo
	closeStore func() error
}

// Close ends the connections to the storage.
func (s *opened) Close() { s.closeStore() } // nothing hangs on it: what was put is durable

// open opens the repository.
func (a *app) open(ctx context.Context, need keeper.Need) (*opened, error) {
	return a.openAt(ctx, need, nil)
}

// openAt is open with a log head noted elsewhere, which must be part of the log.
func (a *app) openAt(ctx context.Context, need keeper.Need, head *ledger.Head) (*opened, error) {
	st, closeStore, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	return a.openOn(ctx, st, closeStore, need, head)
}

// openStore opens the store that the repository's address names. Its close ends the connections.
func (a *app) openStore(ctx context.Context) (st store.Store, close func() error, err error) {
	return a.openNewStore(ctx, nil)
}

// openNewStore is openStore for a repository that is to be made. lasting hears what will be so with this storage each time.
func (a *app) openNewStore(ctx context.Context, lasting func(text string)) (st store.Store, close func() error, err error) {
	p, err := place.Parse(a.repository)
	if err != nil {
		return nil, nil, err
	}
	o := a.storage
	o.Warn = func(text string) { a.ui.Finding(keeper.Finding{Severity: keeper.Notable, Err: errors.New(text)}) }
	o.Waiting = func(text string) { a.ui.Finding(keeper.Finding{Severity: keeper.Minor, Err: errors.New(text)}) }
	o.Lasting = lasting
	return p.Open(ctx, o)
}

// openInstance reads the settings of an instance and opens the repository with the host's key. The storage is dialled while
// it is found out how the instance runs, which takes about as long. An error of the instance goes before one of the storage.
func (a *app) openInstance(ctx context.Context, flags *snapshotFlags) (*source.Instance, *opened, error) {
	if err := flags.check(); err != nil {
		return nil, nil, err
	}
	var (
		st         store.Store
		closeStore func() error
		errStore   error
		dialled    sync.WaitGroup
	)
	dialCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialled.Go(func() { st, closeStore, errStore = a.openStore(dialCtx) })
	inst, err := flags.load(ctx)
	if err != nil {
		cancel()
	}
	dialled.Wait()
	if err == nil {
		err = errStore
	} else if errStore == nil {
		closeStore()
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := a.openOn(ctx, st, closeStore, keeper.HostKey, nil)
	return inst, r, err
}

// openOn is openAt on a store, which it closes where that fails.
func (a *app) openOn(ctx context.Context, st store.Store, closeStore func() error, need keeper.Need, head *ledger.Head) (*opened, error) {
	o, err := a.openOptions()
	if err == nil {
		o.Need, o.Head = need, head
		var r *repo.Repo
		if r, err = keeper.Open(ctx, st, o, report.New(a.ui)); err == nil {
			return &opened{r, closeStore}, nil
		}
	}
	closeStore()
	switch {
	case errors.Is(err, repo.ErrNoRepository):
		err = noRepository(a.repository)
	case errors.Is(err, keeper.ErrKeyText):
		err = usage.Wrap(err)
	}
	return nil, err
}

// openOptions returns how the flags want repositories to be opened.
func (a *app) openOptions() (keeper.OpenOptions, error) {
	o := keeper.OpenOptions{
		Identities: a.identities, WriterKey: a.writerKey, Prompt: a.ui.Prompt(), StateDir: a.stateDir, CacheDir: a.cacheDir, AcceptHead: a.acceptHead,
	}
	if a.fingerprint == "" {
		return o, nil
	}
	var err error
	if o.Fingerprint, err = keys.ParseFingerprint(a.fingerprint); err != nil {
		err = usage.Errorf("--fingerprint: %w", err)
	}
	return o, err
}

func noRepository(address string) error {
	return fmt.Errorf("%s: %w", escape.Name(address), repo.ErrNoRepository)
}
