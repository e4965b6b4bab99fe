package keeper

import (
	"slices"

	"permafrost/repo/ledger"
	"permafrost/repo/upkeep"
	"permafrost/snapshot/retain"
)

// A Decision is what becomes of a snapshot by a policy, or because somebody chose it.
type Decision struct {
	Snapshot
	Keep    bool     `json:"keep"`
	Reasons []string `json:"reasons"` // why it is kept; none where it is removed
}

// MessageType returns "decision".
func (Decision) MessageType() string { return "decision" }

// NewDecision returns a decision as it is told.
func NewDecision(d *retain.Decision) Decision {
	return Decision{Snapshot: newSnapshot(&d.Snapshot), Keep: d.Keep(), Reasons: slices.Concat([]string{}, d.Reasons)}
}

// A Removed is a snapshot that run's policy removed.
type Removed struct {
	Snapshot
}

// MessageType returns "removed".
func (Removed) MessageType() string { return "removed" }

// A Suspect is a snapshot that looks wrong, and that a policy does not count for that.
type Suspect struct {
	Snapshot
	Doubts []Doubt `json:"doubts"`
}

// MessageType returns "suspect".
func (Suspect) MessageType() string { return "suspect" }

// A Confirmation is a snapshot that a person confirms, or no longer does.
type Confirmation struct {
	Snapshot
	Revoke bool    `json:"revoke"` // the confirmation is taken back
	News   bool    `json:"news"`   // the log does not say so yet
	Doubts []Doubt `json:"doubts"`
}

// MessageType returns "confirm".
func (Confirmation) MessageType() string { return "confirm" }

// A Pruned tells what a prune deleted, moved and left; of a dry run, what it would.
type Pruned struct {
	DryRun       bool   `json:"dry_run"`
	Live         int64  `json:"bytes_live"`        // bytes: of packs, that snapshots need
	Dead         int64  `json:"bytes_dead"`        // bytes: of packs, that no snapshot needed when the prune began
	Removed      int    `json:"packs_removed"`     // packs: deleted
	Freed        int64  `json:"bytes_freed"`       // bytes: that the storage got back
	Rewritten    int    `json:"packs_rewritten"`   // packs: of which the live part was stored anew
	Moved        int64  `json:"bytes_moved"`       // bytes: stored anew
	Waiting      int    `json:"packs_waiting"`     // packs: that only the owner key can rewrite
	WaitingBytes int64  `json:"bytes_waiting"`     // bytes: that nothing needs, in these
	Manifests    int    `json:"manifests_removed"` // objects: manifests deleted
	LeftOver     int    `json:"leftovers_removed"` // objects: deleted that interrupted runs left
	Lost         int    `json:"blobs_lost"`        // blobs: that snapshots need and no pack has, passed over
	Head         string `json:"head"`              // of the log
}

// MessageType returns "prune".
func (Pruned) MessageType() string { return "prune" }

// pruned returns the result of a prune as it is told.
func pruned(res *upkeep.PruneResult, dryRun bool, head ledger.Head) *Pruned {
	return &Pruned{
		DryRun: dryRun, Live: res.Live, Dead: res.Dead, Removed: res.Removed, Freed: res.Freed, Rewritten: res.Rewritten, Moved: res.Moved,
		Waiting: res.Waiting, WaitingBytes: res.WaitingFor, Manifests: res.Manifests, LeftOver: res.LeftOver, Lost: res.Lost, Head: head.String(),
	}
}
