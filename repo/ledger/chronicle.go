package ledger

import (
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
	c := h.Snapshots.chronicle(instance)
	c.First = h.First
	return c
}
