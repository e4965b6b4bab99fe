package ledger

import (
	"errors"
	"fmt"
	"slices"

	"permafrost/repo/cause"
	"permafrost/repo/store"
)

// A Basis is what an entry builds on: what the entries below it have said. No part of it ever goes back, in whatever
// is left of a log, so that those that are left tell what was lost with the others.
type Basis struct {
	Roster    uint64 `json:"roster"`    // number of the entry that set the list of keys
	Epoch     uint64 `json:"epoch"`     // number of the entry that announced the epoch in use; 0: it is the first
	Snapshots uint64 `json:"snapshots"` // entries that commit a snapshot
}

// covers reports whether b is no less than other in any part.
func (b Basis) covers(other Basis) bool {
	return b.Roster >= other.Roster && b.Epoch >= other.Epoch && b.Snapshots >= other.Snapshots
}

// join returns the greater of each part.
func (b Basis) join(other Basis) Basis {
	return Basis{max(b.Roster, other.Roster), max(b.Epoch, other.Epoch), max(b.Snapshots, other.Snapshots)}
}

// sets returns what an owner's entry itself makes those above it build on.
func (e *Entry) sets() (b Basis) {
	if e.Roster != nil {
		b.Roster = e.Seq
	}
	if e.Epoch != nil {
		b.Epoch = e.Seq
	}
	return b
}

func (b Basis) String() string {
	return fmt.Sprintf("the list of keys of entry %d, the epoch of entry %d and %d snapshots", b.Roster, b.Epoch, b.Snapshots)
}

// A Break is a place where the log does not go on, named by the entries on both sides: what an owner accepts is this one.
type Break struct {
	After Head `json:"after,omitzero"` // the last valid entry below; none where the log's beginning is lost
	At    Head `json:"at"`             // the entry that continues from another one, or can't be understood
}

// An AcceptEntry says that an owner has looked at damage to the log, and that it goes on from what is left.
type AcceptEntry struct {
	Breaks []Break `json:"breaks"`
}

// MaxBreaks is how many breaks one entry accepts. More are no accident, and take several entries.
const MaxBreaks = 10_000

// An OpenBreak is a break that no owner has accepted, and the error that says what it means.
type OpenBreak struct {
	Break
	err error
}

// Damage returns what keeps everybody from adding to the log: breaks that no owner has accepted; and a list of keys, or an
// epoch, that is lost. These an owner has to state anew: nobody can tell who was on the list, or who has the older keys.
func (h *History) Damage() (errs []error) {
	for _, b := range h.Breaks {
		errs = append(errs, b.err)
	}
	return slices.Concat(errs, h.LostRoster(), h.LostEpoch())
}

// LostRoster returns an error where the entry that set the list of keys is lost, else nothing.
func (h *History) LostRoster() []error {
	if h.Empty || h.Basis.Roster == h.Roster.Seq && len(h.Roster.People) > 0 {
		return nil
	}
	return []error{&cause.Error{Cause: cause.LostRoster, Err: &store.DamageError{Object: store.LogObject(h.Basis.Roster), Err: fmt.Errorf("the list of keys that it set is lost; the list of entry %d is in use", h.Roster.Seq)}}}
}

// LostEpoch returns an error where the entry that announced the epoch in use is lost, else nothing.
func (h *History) LostEpoch() []error {
	if h.Basis.Epoch == h.Epochs.seq {
		return nil
	}
	return []error{&cause.Error{Cause: cause.LostEpoch, Err: &store.DamageError{Object: store.LogObject(h.Basis.Epoch), Err: errors.New("the keys that it announced are lost, and others may still have the older ones")}}}
}

// TooNew returns an error where somebody on the list of keys means something that this program can't understand: unless an
// owner has accepted to go on without it.
func (h *History) TooNew() error {
	for _, b := range h.Breaks {
		if errors.Is(b.err, store.ErrNewerFormat) && !h.Lenient {
			return b.err
		}
	}
	return nil
}

// MayAdd returns an error where e may not be added to the log as it stands.
func (h *History) MayAdd(e *Entry) error {
	damage := h.Damage()
	switch {
	case len(damage) == 0, e.Accept != nil:
		return nil
	case len(h.Breaks) > 0:
	case e.Roster != nil, e.Epoch != nil && len(h.LostRoster()) == 0:
		return nil
	}
	return cause.Errorf(cause.LogDamaged, "refusing to add to a damaged log: %w", damage[0])
}

var fillerHash = store.NameOf([]byte(store.Filler))

// A Gap is where numbers of the log are free: from one on, up to an object.
type Gap struct{ From, To uint64 }

// applyAccept takes off the damage what an owner has accepted.
func (h *History) applyAccept(e *Entry) {
	accepted := make(map[Break]bool)
	for _, b := range e.Accept.Breaks {
		accepted[b] = true
	}
	h.Breaks = slices.DeleteFunc(h.Breaks, func(b OpenBreak) bool {
		if accepted[b.Break] {
			h.Accepted = append(h.Accepted, fmt.Errorf("%w (the owner key accepted that in entry %d)", b.err, e.Seq))
		}
		return accepted[b.Break]
	})
}
