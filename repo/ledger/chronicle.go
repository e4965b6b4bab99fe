package ledger

import (
	"fmt"
	"slices"
	"time"

	"permafrost/repo/store"
)

// A Record says, in the entry of a forget, a prune or a confirmation, which of an instance's snapshots up to an entry have
// impossible times. The storage's own times last no longer than the objects that have them: a copy of the
// repository has new ones. So what is recorded is not judged anew.
type Record struct {
	Instance string        `json:"instance"`
	Through  uint64        `json:"through"`          // number of the newest log entry that was known
	Doubts   []TimesDoubt  `json:"doubts,omitempty"` // the snapshots with impossible times; those of all others up to Through are possible
	Clock    time.Duration `json:"clock,omitempty"`  // how far ahead the storage's clock was judged to be; nanoseconds in JSON
}

// A TimesDoubt says why a snapshot's times are impossible.
type TimesDoubt struct {
	Snapshot store.Name `json:"snapshot"`
	Why      string     `json:"why"`
}

const (
	maxWhy      = 1000    // bytes of a TimesDoubt's text
	maxRecorded = 100_000 // doubts in an entry, which is far below what a log entry may have
)

// A ConfirmEntry says that a person has looked at what makes some snapshots doubtful, and that it is right; or takes that
// back.
type ConfirmEntry struct {
	Snapshots []store.Name `json:"snapshots"`
	Revoke    bool         `json:"revoke,omitempty"`
	Records   []Record     `json:"records,omitempty"`
}

// A Chronicle is what the log says of an instance's snapshots, the forgotten ones among them: log entries are never
// deleted, so that what is thought of a snapshot does not depend on which others are still listed.
type Chronicle struct {
	Snapshots []SnapshotRef         // all ever, in the order they were committed
	Forgotten map[store.Name]uint64 // by ID: number of the entry that forgot it
	Confirmed map[store.Name]bool   // by ID: a person has confirmed it, and not taken that back
	First     Moment                // of the log's first entry
	Recorded
}

// A Moment is the time of a log entry: Signed by its signer's clock, Logged by the storage's.
type Moment struct{ Signed, Logged time.Time }

// Recorded is what log entries have recorded of the times of an instance's snapshots.
type Recorded struct {
	Through uint64                // number of the newest entry that was looked at
	Doubts  map[store.Name]string // by ID: why a snapshot's times are impossible
	Clock   time.Duration         // how far ahead the storage's clock was last judged to be
}

// CheckListed returns an error for a snapshot that is not listed.
func (h *History) CheckListed(ids []store.Name) error {
	for _, id := range ids {
		_, known := h.IDs[id]
		if _, forgotten := h.Forgotten[id]; !known || forgotten {
			return fmt.Errorf("snapshot %s is not there", id.Short())
		}
	}
	return nil
}

// MayForget returns why that signer may not forget these snapshots, or "".
func (h *History) MayForget(by Scope, ids []store.Name) string {
	if !by.MayForget() {
		return "the list of keys does not let this writer forget"
	}
	return h.mayNot(by, ids, "forget")
}

// MayConfirm returns why that signer may not confirm these snapshots, or "". Who may forget may confirm: a policy removes no
// more for the sake of a confirmed snapshot than that signer could remove by name.
func (h *History) MayConfirm(by Scope, ids []store.Name) string {
	if !by.MayForget() {
		return "the list of keys does not let this writer forget, so it can't confirm either"
	}
	return h.mayNot(by, ids, "confirm")
}

// mayNot returns which of the snapshots are none of a signer's, or "".
func (h *History) mayNot(by Scope, ids []store.Name, verb string) string {
	for _, id := range ids {
		i, ok := h.IDs[id]
		switch {
		case !ok:
			return fmt.Sprintf("there is no snapshot %s to %s", id.Short(), verb)
		case !by.Serves(h.Snapshots[i].Instance):
			return fmt.Sprintf("a writer for %s wants to %s a snapshot of %s", by.Person.Instance, verb, h.Snapshots[i].Instance)
		}
	}
	return ""
}

// WhoMayConfirm names the writers that may forget, and so confirm, these snapshots.
func (h *History) WhoMayConfirm(ids []store.Name) (names []string) {
	for _, p := range h.People {
		if h.MayForget(Scope{Person: p}, ids) == "" {
			names = append(names, p.Name)
		}
	}
	return names
}

// applyForget takes a forget into account.
func (h *History) applyForget(by Scope, seq uint64, f *ForgetEntry) (why string) {
	if why := h.MayForget(by, f.Snapshots); why != "" {
		return why
	}
	for _, id := range f.Snapshots {
		if _, again := h.Forgotten[id]; !again {
			h.Forgotten[id] = seq
		}
	}
	return h.applyRecords(by, seq, f.Records)
}

// applyConfirm takes a confirmation into account.
func (h *History) applyConfirm(by Scope, seq uint64, c *ConfirmEntry) (why string) {
	if why := h.MayConfirm(by, c.Snapshots); why != "" {
		return why
	}
	for _, id := range c.Snapshots {
		if c.Revoke {
			delete(h.confirmed, id)
		} else {
			h.confirmed[id] = true
		}
	}
	return h.applyRecords(by, seq, c.Records)
}

// applyRecords takes into account what an entry records, as far as its signer speaks for the instance. What an earlier entry
// has recorded stands.
func (h *History) applyRecords(by Scope, seq uint64, records []Record) (why string) {
	for _, r := range records {
		switch {
		case !by.MayForget() || !by.Serves(r.Instance):
			why = fmt.Sprintf("a writer for %s judges the snapshots of %s", by.Person.Instance, r.Instance)
			continue
		case r.Through >= seq:
			why = "it judges snapshots that come after it"
			continue
		}
		rec := h.recorded[r.Instance]
		if rec == nil {
			rec = &Recorded{Doubts: make(map[store.Name]string)}
			h.recorded[r.Instance] = rec
		}
		for _, d := range r.Doubts {
			if i, ok := h.IDs[d.Snapshot]; ok && len(d.Why) <= maxWhy && h.Snapshots[i].Instance == r.Instance &&
				h.Snapshots[i].Seq > rec.Through && h.Snapshots[i].Seq <= r.Through {
				rec.Doubts[d.Snapshot] = d.Why
			}
		}
		rec.Through = max(rec.Through, r.Through)
		rec.Clock = r.Clock
	}
	return why
}

// Recordable returns those of the records that the signer may publish in one entry.
func (s Scope) Recordable(records []Record) (may []Record) {
	n := 0
	for _, rec := range records {
		n += len(rec.Doubts)
		if s.MayForget() && s.Serves(rec.Instance) && n <= maxRecorded {
			may = append(may, rec)
		}
	}
	return slices.Clip(may)
}

// Chronicle returns what the log says of an instance's snapshots. It is not to be changed.
func (h *History) Chronicle(instance string) Chronicle {
	c := Chronicle{Forgotten: make(map[store.Name]uint64), Confirmed: make(map[store.Name]bool), First: h.First}
	if rec := h.recorded[instance]; rec != nil {
		c.Recorded = *rec
	}
	for _, s := range h.Snapshots {
		if s.Instance != instance {
			continue
		}
		c.Snapshots = append(c.Snapshots, s)
		if seq, forgotten := h.Forgotten[s.ID]; forgotten {
			c.Forgotten[s.ID] = seq
		}
		if h.confirmed[s.ID] {
			c.Confirmed[s.ID] = true
		}
	}
	return c
}
