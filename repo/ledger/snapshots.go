package ledger

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"permafrost/repo/store"
)

// A SnapshotRef is a snapshot that the log lists.
type SnapshotRef struct {
	Seq      uint64     // of the log entry
	ID       store.Name // see SnapshotID; it is the manifest's, its signer's and the instance's, and nobody else's
	Manifest store.Name // the manifest object's name
	Writer   string     // name on the roster; "owner" for one that the owner key made
	SnapshotInfo
	Signed time.Time // when its log entry was made, by the signer's clock
	Logged time.Time // likewise by the storage's clock; zero where the entry came after the log was listed
	Bound  bool      // the signer was not allowed to forget

	Signer ed25519.PublicKey // of the log entry
}

// Snapshots are all that were ever committed, and what became of each.
type Snapshots struct {
	All       []SnapshotRef         // in the order they were committed; a forgotten one is in Forgotten too
	Forgotten map[store.Name]uint64 // by ID: number of the entry that forgot it
	ids       map[store.Name]int    // places in All
	madeOf    map[store.Name][]int  // likewise, by manifest
	confirmed map[store.Name]bool
	recorded  map[string]*Recorded // by instance
}

func newSnapshots() Snapshots {
	return Snapshots{
		Forgotten: make(map[store.Name]uint64),
		ids:       make(map[store.Name]int),
		madeOf:    make(map[store.Name][]int),
		confirmed: make(map[store.Name]bool),
		recorded:  make(map[string]*Recorded),
	}
}

func (s *Snapshots) clone() Snapshots {
	c := Snapshots{
		All:       slices.Clip(s.All),
		Forgotten: maps.Clone(s.Forgotten),
		ids:       maps.Clone(s.ids),
		madeOf:    maps.Clone(s.madeOf),
		confirmed: maps.Clone(s.confirmed),
		recorded:  make(map[string]*Recorded, len(s.recorded)),
	}
	for instance, r := range s.recorded {
		own := *r
		own.Doubts = maps.Clone(r.Doubts)
		c.recorded[instance] = &own
	}
	return c
}

// commit adds a snapshot. One that is there already is an error.
func (s *Snapshots) commit(ref SnapshotRef) error {
	if _, again := s.ids[ref.ID]; again {
		return errors.New("the snapshot is there already")
	}
	s.ids[ref.ID] = len(s.All)
	s.madeOf[ref.Manifest] = append(slices.Clip(s.madeOf[ref.Manifest]), len(s.All))
	s.All = append(s.All, ref)
	return nil
}

// ByID returns a snapshot, forgotten or not.
func (s *Snapshots) ByID(id store.Name) (ref SnapshotRef, ok bool) {
	i, ok := s.ids[id]
	if !ok {
		return SnapshotRef{}, false
	}
	return s.All[i], true
}

// Live returns the snapshots that are not forgotten, oldest entry first.
func (s *Snapshots) Live() []SnapshotRef {
	var out []SnapshotRef
	for _, ref := range s.All {
		if _, forgotten := s.Forgotten[ref.ID]; !forgotten {
			out = append(out, ref)
		}
	}
	return out
}

// CheckListed returns an error for a snapshot that is not listed.
func (s *Snapshots) CheckListed(ids []store.Name) error {
	for _, id := range ids {
		_, known := s.ids[id]
		if _, forgotten := s.Forgotten[id]; !known || forgotten {
			return fmt.Errorf("snapshot %s is not there", id.Short())
		}
	}
	return nil
}

// MayForget returns an error that says why a signer may not forget these snapshots, or nil.
func (s *Snapshots) MayForget(by Scope, ids []store.Name) error {
	if !by.MayForget() {
		return errors.New("the list of keys does not let this writer forget")
	}
	return s.speaksFor(by, ids, "forget")
}

// MayConfirm returns an error that says why a signer may not confirm these snapshots, or nil. Who may forget may confirm: a policy
// removes no more for the sake of a confirmed snapshot than that signer could remove by name.
func (s *Snapshots) MayConfirm(by Scope, ids []store.Name) error {
	if !by.MayForget() {
		return errors.New("the list of keys does not let this writer forget, so it can't confirm either")
	}
	return s.speaksFor(by, ids, "confirm")
}

// speaksFor returns an error unless all the snapshots are a signer's to forget or confirm, as verb says.
func (s *Snapshots) speaksFor(by Scope, ids []store.Name, verb string) error {
	for _, id := range ids {
		i, ok := s.ids[id]
		switch {
		case !ok:
			return fmt.Errorf("there is no snapshot %s to %s", id.Short(), verb)
		case !by.Serves(s.All[i].Instance):
			return fmt.Errorf("a writer for %s wants to %s a snapshot of %s", by.Person.Instance, verb, s.All[i].Instance)
		}
	}
	return nil
}

// WhoMayConfirm names the writers among some people that may forget, and so confirm, these snapshots.
func (s *Snapshots) WhoMayConfirm(people []Person, ids []store.Name) (names []string) {
	for _, p := range people {
		if s.MayForget(Scope{Person: p}, ids) == nil {
			names = append(names, p.Name)
		}
	}
	return names
}

// forget takes a forget into account.
func (s *Snapshots) forget(by Scope, seq uint64, f *ForgetEntry) error {
	if err := s.MayForget(by, f.Snapshots); err != nil {
		return err
	}
	for _, id := range f.Snapshots {
		if _, again := s.Forgotten[id]; !again {
			s.Forgotten[id] = seq
		}
	}
	return s.record(by, seq, f.Records)
}

// confirm takes a confirmation into account.
func (s *Snapshots) confirm(by Scope, seq uint64, c *ConfirmEntry) error {
	if err := s.MayConfirm(by, c.Snapshots); err != nil {
		return err
	}
	for _, id := range c.Snapshots {
		if c.Revoke {
			delete(s.confirmed, id)
		} else {
			s.confirmed[id] = true
		}
	}
	return s.record(by, seq, c.Records)
}

// record takes into account what the entry seq records, as far as its signer speaks for the instance. What an earlier entry
// has recorded stands.
func (s *Snapshots) record(by Scope, seq uint64, records []Record) (err error) {
	for _, r := range records {
		switch {
		case !by.MayForget() || !by.Serves(r.Instance):
			err = fmt.Errorf("a writer for %s judges the snapshots of %s", by.Person.Instance, r.Instance)
			continue
		case r.Through >= seq:
			err = errors.New("it judges snapshots that come after it")
			continue
		}
		rec := s.recorded[r.Instance]
		if rec == nil {
			rec = &Recorded{Doubts: make(map[store.Name]string)}
			s.recorded[r.Instance] = rec
		}
		for _, d := range r.Doubts {
			if ref, ok := s.ByID(d.Snapshot); ok && len(d.Why) <= maxWhy && ref.Instance == r.Instance && ref.Seq > rec.Through && ref.Seq <= r.Through {
				rec.Doubts[d.Snapshot] = d.Why
			}
		}
		rec.Through = max(rec.Through, r.Through)
		rec.Clock = r.Clock
	}
	return err
}

// mayPrune reports whether a signer's prune may name a manifest: where the log names it, all of that signer's snapshots
// that are made of it must be forgotten, and there must be one. Others may have named it too, whose it is not.
func (s *Snapshots) mayPrune(by Scope, manifest store.Name) bool {
	theirs := false
	for _, i := range s.madeOf[manifest] {
		ref := &s.All[i]
		if _, forgotten := s.Forgotten[ref.ID]; by.Serves(ref.Instance) && !forgotten {
			return false
		}
		theirs = theirs || by.Serves(ref.Instance)
	}
	return theirs || len(s.madeOf[manifest]) == 0
}

// chronicle returns what the log says of an instance's snapshots, First excepted. It is not to be changed.
func (s *Snapshots) chronicle(instance string) Chronicle {
	c := Chronicle{Forgotten: make(map[store.Name]uint64), Confirmed: make(map[store.Name]bool)}
	if rec := s.recorded[instance]; rec != nil {
		c.Recorded = *rec
	}
	for _, ref := range s.All {
		if ref.Instance != instance {
			continue
		}
		c.Snapshots = append(c.Snapshots, ref)
		if seq, forgotten := s.Forgotten[ref.ID]; forgotten {
			c.Forgotten[ref.ID] = seq
		}
		if s.confirmed[ref.ID] {
			c.Confirmed[ref.ID] = true
		}
	}
	return c
}
