package ledger

import (
	"maps"
	"slices"
)

// Clone returns a history that takes further entries, while h stays what it is: whoever began with h goes on with it.
func (h *History) Clone() *History {
	c := *h
	c.epochs, c.IDs, c.madeOf = maps.Clone(h.epochs), maps.Clone(h.IDs), maps.Clone(h.madeOf)
	c.Forgotten, c.confirmed = maps.Clone(h.Forgotten), maps.Clone(h.confirmed)
	c.Pruned, c.Reported = maps.Clone(h.Pruned), maps.Clone(h.Reported)
	c.OutOfReach, c.Hashes = maps.Clone(h.OutOfReach), maps.Clone(h.Hashes)
	c.passed, c.everybody = maps.Clone(h.passed), maps.Clone(h.everybody)
	c.recorded = make(map[string]*Recorded, len(h.recorded))
	for instance, r := range h.recorded {
		own := *r
		own.Doubts = maps.Clone(r.Doubts)
		c.recorded[instance] = &own
	}
	c.Indexes = IndexList{slices.Clone(h.Indexes.refs), maps.Clone(h.Indexes.at)}
	// What is appended to a list that two histories share must not land in the other's.
	c.Snapshots, c.Gaps, c.Breaks, c.Requests = slices.Clip(h.Snapshots), slices.Clip(h.Gaps), slices.Clone(h.Breaks), slices.Clip(h.Requests)
	c.skipped, c.Accepted, c.LeftOut = slices.Clip(h.skipped), slices.Clip(h.Accepted), slices.Clip(h.LeftOut)
	return &c
}
