package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// A violation is what must not be, whatever anybody does.
type violation struct{ error }

func (v *violation) Unwrap() error { return v.error }

func violated(format string, args ...any) error { return &violation{fmt.Errorf(format, args...)} }

// look takes what a machine sees that has opened the repository, and returns an error where it lacks what it has seen, sees
// what nobody has made, or sees again who was removed: without being told that something is wrong.
func (h *hostileHistory) look(m *simMachine, r *repo.Repo) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(r.Damage()) > 0 {
		return nil // nothing is added to that
	}
	listed := make(map[store.Name]bool)
	for _, ref := range r.Snapshots() {
		if ref.Instance == evilInstance {
			continue
		}
		if removed, known := m.people["gone"]; !h.made[ref.Host] && (known && !removed || h.mode == "" || h.mode == "spoils") {
			return violated("%s sees a snapshot of %s that nobody has made", m.name, ref.Instance)
		}
		listed[ref.ID] = true
		m.seen[ref.ID] = ref
	}
	for id, ref := range m.seen {
		if _, gone := h.forgotten[id]; !gone && !listed[id] {
			return violated("%s has seen the snapshot of %s, and it is gone without an error", m.name, ref.Host)
		}
	}
	on := make(map[string]bool)
	for _, p := range r.Roster() {
		was, known := m.people[p.Name]
		if known && !was {
			return violated("%s sees %s on the list of keys again, who was removed", m.name, p.Name)
		}
		on[p.Name], m.people[p.Name] = true, true
	}
	for name := range m.people {
		m.people[name] = on[name]
	}
	return nil
}

// names reports whether an error says what is wrong with the storage, or with what is in it.
func names(err error) bool {
	var damage *store.DamageError
	var rolled *ledger.RollbackError
	var lie *store.FalseReportError
	var lacks *keys.MissingKeyError
	for _, as := range []any{&damage, &rolled, &lie, &lacks} {
		if errors.As(err, as) {
			return true
		}
	}
	return slices.ContainsFunc([]error{store.ErrNewerFormat, repo.ErrPruned, fs.ErrNotExist}, func(target error) bool { return errors.Is(err, target) })
}

// expected returns an error where a step of a machine that lived ended as none should.
func (h *hostileHistory) expected(step *hostileStep) error {
	err, wrong := step.party.Err, (*violation)(nil)
	looks := step.what == "prune" || step.what == "check" || strings.HasPrefix(step.what, "repair")
	switch {
	case err == nil, step.party.Died && !errors.As(err, &wrong), step.party.Hurt && !errors.As(err, &wrong):
		return nil
	case errors.As(err, &wrong):
	case errors.Is(err, repo.ErrPruned) && (h.pruned || h.mode != "" || time.Since(h.end) > ledger.Grace):
		return nil
	case h.mode == "spoils" && names(err), h.mode == "loses", h.mode == "forks":
		return nil
	case (h.said["broken"] || h.said["newer"] || looks && h.said["objects"]) && names(err):
		return nil
	}
	return fmt.Errorf("%s failed: %w", step.party.Name, err)
}

// check looks for damage. Where the storage does as it should, there is none but in what hostile parties have put.
func (h *hostileHistory) check(ctx context.Context, r *repo.Repo) error {
	var found error
	_, err := upkeep.Check(ctx, r, mark, upkeep.CheckOptions{Problem: func(err error) {
		var of *ledger.SnapshotError
		var damage *store.DamageError
		switch {
		case errors.As(err, &of) && of.Ref.Instance == evilInstance:
		case errors.As(err, &damage) && h.storage.planted[damage.Object]:
		default:
			found = err
		}
	}})
	if err == nil && found != nil && h.mode == "" && len(h.said) == 0 {
		err = violated("a check finds: %w", found)
	}
	return err
}

// judge is the oracle.
func (h *hostileHistory) judge(ctx context.Context) error {
	if err := h.judged(ctx); err != nil {
		return err
	}
	for _, m := range []*simMachine{h.host, h.second, h.other, h.admin} {
		if m.dir == "" || !m.caches {
			continue
		}
		if err := bounded(m.dir); err != nil {
			return err
		}
	}
	return nil
}

func (h *hostileHistory) judged(ctx context.Context) error {
	for _, m := range []*simMachine{h.host, h.second, h.other, h.admin} {
		if m != h.second && h.mode == "" || m.dir == "" && m.newDir != nil {
			continue // it comes by once more, or never was there
		}
		if err := h.revisits(ctx, m); err != nil {
			return err
		}
	}
	if err := h.learned(); err != nil {
		return err
	}
	switch h.mode {
	case "":
		return h.recovers(ctx)
	case "spoils":
		return h.spoilt(ctx)
	case "loses":
		return h.lost(ctx)
	}
	return h.joined(ctx)
}

// revisits lets a machine see the repository once more.
func (h *hostileHistory) revisits(ctx context.Context, m *simMachine) error {
	_, err := h.open(ctx, m, simView{h.storage, m}, m.options())
	wrong := (*violation)(nil)
	switch {
	case errors.As(err, &wrong), err != nil && !(names(err) && (h.mode != "" || h.said["newer"])):
		return fmt.Errorf("%s opens it: %w", m.name, err)
	case err != nil:
		return nil
	}
	return nil
}

// bounded returns an error where somebody has made a machine keep much.
func bounded(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := os.Stat(path); err == nil && info.Size() > 1<<20 {
			return violated("a machine keeps a file of %d bytes", info.Size())
		}
		return nil
	})
}

// learned returns an error where somebody who was removed can read what was written since, with all that the storage ever held.
func (h *hostileHistory) learned() error {
	for _, m := range []*simMachine{h.host, h.second, h.other, h.admin} {
		for _, object := range slices.Sorted(maps.Keys(m.secrets)) {
			for name := range m.secrets[object].closed {
				if h.reads(name, m.secrets[object].data) {
					dir, _, _ := strings.Cut(object, "/")
					return violated("%s, who was removed, can read something below %s/ that %s has written since", name, dir, m.name)
				}
			}
		}
	}
	return nil
}

// reads reports whether somebody opens an object by the keys that he has or finds.
func (h *hostileHistory) reads(name string, data []byte) bool {
	if h.found == nil {
		h.found = make(map[string][]*keys.Keyring)
	}
	if h.found[name] == nil {
		k := h.keys[name]
		h.found[name] = []*keys.Keyring{k}
		for object, versions := range h.storage.ever {
			if !strings.HasPrefix(object, "keys/") {
				continue
			}
			if update, err := keys.Unwrap(versions[0].data, h.ids[name]); err == nil {
				h.found[name] = append(h.found[name], update)
			}
		}
	}
	return slices.ContainsFunc(h.found[name], func(k *keys.Keyring) bool {
		if repo.OpensEnvelope(envelopes, k, data) {
			return true
		}
		if !bytes.HasPrefix(data, []byte("age-encryption.org/")) {
			return false
		}
		_, err := age.Decrypt(bytes.NewReader(data), append(k.MetaIdentities(), k.DataIdentities()...)...)
		return err == nil
	})
}

// whole returns an error unless what was acknowledged is listed, and comes back, byte for byte.
func (h *hostileHistory) whole(ctx context.Context, r *repo.Repo) error {
	listed := make(map[store.Name]bool)
	refs := slices.DeleteFunc(r.Snapshots(), func(ref ledger.SnapshotRef) bool { return ref.Instance == evilInstance })
	for _, ref := range refs {
		listed[ref.ID] = true
		if h.forgotten[ref.ID] || !h.made[ref.Host] {
			return violated("the snapshot of %s is listed", ref.Host)
		}
	}
	for _, ref := range slices.Concat(h.kept, h.acked) {
		if _, gone := h.forgotten[ref.ID]; !gone && !listed[ref.ID] {
			return violated("the snapshot of %s was acknowledged, and is not listed", ref.Host)
		}
	}
	if err := h.chosen(r); err != nil {
		return err
	}
	return simRead(ctx, r, refs, func(b simBlob, err error) error {
		return violated("blob %d of %v in the snapshot of %s: %w", b.i, b.comp, b.host, err)
	})
}

// chosen returns an error unless those are on the list of keys whom an owner has put there.
func (h *hostileHistory) chosen(r *repo.Repo) error {
	on := make(map[string]bool)
	for _, p := range r.Roster() {
		on[p.Name] = true
		if is := h.onList[p.Name]; is != "on" && is != "perhaps" {
			return violated("%s is on the list of keys", p.Name)
		}
		if k := h.keys[p.Name]; k != nil && !bytes.Equal(p.VerifyKey, k.VerifyKey()) || (p.Role == keys.RoleOwner) != (p.Name == keys.RecoveryName) {
			return violated("%s is on the list of keys as somebody else", p.Name)
		}
	}
	for name, is := range h.onList {
		if is == "on" && !on[name] {
			return violated("%s is not on the list of keys", name)
		}
	}
	return nil
}

// readable returns which blobs of listed snapshots come back.
func (h *hostileHistory) readable(ctx context.Context) (map[simBlob]bool, error) {
	r, err := openFresh(ctx, simView{h.storage, &simMachine{hostile: true, at: h.main}}, h.ownerKey)
	if err != nil {
		return nil, err
	}
	lost, all := make(map[simBlob]bool), make(map[simBlob]bool)
	for _, ref := range r.Snapshots() {
		if ref.Instance == evilInstance {
			continue
		}
		err := simRead(ctx, r, []ledger.SnapshotRef{ref}, func(b simBlob, err error) error {
			lost[b] = true
			if !names(err) {
				return violated("blob %d of %v in the snapshot of %s: %w", b.i, b.comp, b.host, err)
			}
			return nil
		})
		wrong := (*violation)(nil)
		if errors.As(err, &wrong) || err != nil && !names(err) {
			return nil, err
		}
		if err != nil {
			continue
		}
		for comp, blobs := range simHeld(ref.Host) {
			for i := range blobs {
				all[simBlob{ref.Host, comp, i}] = true
			}
		}
	}
	maps.DeleteFunc(all, func(b simBlob, _ bool) bool { return lost[b] })
	return all, nil
}

// spoilt judges a storage that has spoilt objects: a prune makes that no worse; and once they are back all is well, but for what
// was given up meanwhile.
func (h *hostileHistory) spoilt(ctx context.Context) error {
	before, err := h.readable(ctx)
	if err != nil {
		return h.unless(err)
	}
	for _, m := range []*simMachine{h.host, h.admin} {
		if err := h.prunes(ctx, m, storetest.Alone(simView{h.storage, m})); err != nil && !names(err) {
			return fmt.Errorf("%s prunes: %w", m.name, err)
		}
	}
	after, err := h.readable(ctx)
	if err != nil {
		return h.unless(err)
	}
	for b := range before {
		if !after[b] {
			return violated("a prune has lost blob %d of %v in the snapshot of %s", b.i, b.comp, b.host)
		}
	}
	given := len(h.storage.dropped) > 0 || slices.ContainsFunc(h.steps, func(s *hostileStep) bool { return s.what == "repair-packs" })
	h.storage.heal(h.main)
	if given {
		return nil
	}
	h.said["objects"] = true // what was taken off the index waits for a repair
	return h.recovers(ctx)
}

// unless returns an error but where somebody on the list of keys keeps all from opening the repository, or the storage does.
func (h *hostileHistory) unless(err error) error {
	wrong := (*violation)(nil)
	if errors.As(err, &wrong) || !names(err) {
		return err
	}
	return nil
}
