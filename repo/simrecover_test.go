package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// prunes lets a machine prune.
func (h *hostileHistory) prunes(ctx context.Context, m *simMachine, st store.Store) error {
	m.moves = true
	r, err := h.open(ctx, m, st, m.options())
	if err == nil {
		_, err = upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{})
	}
	return err
}

// recovers judges what is left where the storage does as it should: whatever hostile parties have said, an owner who takes
// them off the list of keys, and says that it goes on, has done with it; and nothing that they do after that is in anybody's
// way.
func (h *hostileHistory) recovers(ctx context.Context) error {
	h.mode = ""
	time.Sleep(ledger.Grace + time.Hour) // what the dead have left is old by then
	h.atWork()
	if err := h.prunes(ctx, h.host, simView{h.storage, h.host}); err != nil && !(len(h.said) > 0 && names(err)) {
		return fmt.Errorf("the host prunes: %w", err)
	}
	time.Sleep(30 * time.Minute) // since the host was at work
	if err := h.settles(ctx); err != nil {
		return fmt.Errorf("the owner settles it: %w", err)
	}
	for range h.fate.IntN(3) {
		h.act()
	}
	for _, v := range []*villain{h.evil, h.left} {
		if v != nil && h.is(v.name) == "off" {
			v.do(villainy{"signs what he has prepared", "", func(ctx context.Context, v *villain, _ *repo.Repo) error { return v.prepared(ctx) }})
		}
	}
	for _, m := range []*simMachine{h.host, h.other} {
		r, err := h.open(ctx, m, storetest.Alone(simView{h.storage, m}), m.options())
		if err == nil {
			m.moves = false
			err = h.snapshot(ctx, m, h.contents(m), r)
		}
		if err != nil {
			return fmt.Errorf("the next night of %s: %w", m.name, err)
		}
	}
	return h.afterwards(ctx)
}

// atWork lets those who hold keys say that they are at work, and somebody who may put say it for others who once were.
func (h *hostileHistory) atWork() {
	if h.outsider {
		for object, versions := range h.storage.ever {
			if strings.HasPrefix(object, "leases/") {
				h.storage.plant(h.main, "leases/"+hashed("", []byte(object))[1:33], versions[0].data)
			}
		}
	}
	for _, v := range []*villain{h.evil, h.left} {
		if v == nil || v == h.left && h.is(v.name) != "off" {
			continue
		}
		r := v.last
		if r == nil {
			r = v.open()
		}
		if r != nil {
			v.signs(villainy{"is at work", "", func(ctx context.Context, _ *villain, r *repo.Repo) error { return r.PutLease(ctx, elsewhere) }}, r)
		}
	}
}

// settles lets an owner take a hostile writer off the list of keys, accept what that one has said, forget his snapshots, and
// prune.
func (h *hostileHistory) settles(ctx context.Context) error {
	o := h.admin.options()
	o.AcceptHead = true
	h.admin.moves = true
	r, err := openRepo(ctx, simView{h.storage, h.admin}, h.ownerKey, o)
	if err != nil {
		return err
	}
	if h.evil != nil && slices.ContainsFunc(r.Roster(), func(p ledger.Person) bool { return p.Name == h.evil.name }) {
		if err := h.change(h.evil.name, "off", func() error { return r.RemovePerson(ctx, h.evil.name) }); err != nil {
			return err
		}
	}
	h.atWork()
	if len(h.said) > 0 || h.plans.IntN(4) == 0 {
		if err := errors.Join(repairIndex(ctx, r), repairPacks(ctx, r)); err != nil {
			return err
		}
	}
	clear(h.said)
	var theirs []store.Name
	for _, ref := range r.Snapshots() {
		if ref.Instance == evilInstance {
			theirs = append(theirs, ref.ID)
		}
	}
	if err := upkeep.Forget(ctx, r, theirs); err != nil {
		return err
	}
	_, err = upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{})
	return err
}

// afterwards returns an error where the repository is not in order after all.
func (h *hostileHistory) afterwards(ctx context.Context) error {
	r, err := h.open(ctx, h.admin, storetest.Alone(simView{h.storage, h.admin}), h.admin.options())
	if err == nil {
		err = h.whole(ctx, r)
	}
	if err == nil {
		_, err = upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{})
	}
	if err == nil {
		err = h.check(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("in the end: %w", err)
	}
	return nil
}

// lost judges a storage that has lost entries of the log: where all of them come back, and nobody has put others in their
// place, all is well.
func (h *hostileHistory) lost(ctx context.Context) error {
	if _, err := h.readable(ctx); err != nil {
		if err := h.unless(err); err != nil {
			return err
		}
	}
	if h.storage.rewrote {
		return nil
	}
	h.storage.heal(h.main)
	for _, m := range []*simMachine{h.host, h.second, h.other, h.admin} {
		if err := h.revisits(ctx, m); err != nil {
			return fmt.Errorf("once the log is back: %w", err)
		}
	}
	return nil
}

// joined judges a storage that has shown different histories: whoever has seen one notices where he is shown the other.
func (h *hostileHistory) joined(ctx context.Context) error {
	if h.forked == nil {
		return h.recovers(ctx)
	}
	both := maps.Clone(*h.main)
	for name, v := range *h.forked {
		if _, there := both[name]; !there {
			both[name] = v
		}
	}
	for _, b := range []*simBranch{h.main, h.forked, &both} {
		for _, m := range []*simMachine{h.host, h.second, h.other, h.admin} {
			m.at = b
			if err := h.revisits(ctx, m); err != nil {
				return fmt.Errorf("shown another history: %w", err)
			}
		}
	}
	return nil
}
