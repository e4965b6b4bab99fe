package ledger

import (
	"maps"
	"slices"
)

// Clone returns a history that takes further entries, while h stays what it is: whoever began with h goes on with it.
func (h *History) Clone() *History {
	c := *h
	c.Roster, c.Epochs, c.Snapshots, c.Indexes = h.Roster.clone(), h.Epochs.clone(), h.Snapshots.clone(), h.Indexes.clone()
	c.Pruned, c.Reported = maps.Clone(h.Pruned), maps.Clone(h.Reported)
	c.OutOfReach, c.Hashes, c.passed = maps.Clone(h.OutOfReach), maps.Clone(h.Hashes), maps.Clone(h.passed)
	// What is appended to a list that two histories share must not land in the other's.
	c.Gaps, c.Breaks, c.Requests = slices.Clip(h.Gaps), slices.Clone(h.Breaks), slices.Clip(h.Requests)
	c.skipped, c.Accepted, c.LeftOut = slices.Clip(h.skipped), slices.Clip(h.Accepted), slices.Clip(h.LeftOut)
	return &c
}
