package keeper

import (
	"permafrost/repo/ledger"
	"permafrost/repo/upkeep"
)

// A Checked tells what a check looked at, and how many problems it found.
type Checked struct {
	Snapshots int    `json:"snapshots"`       // snapshots: in the log
	Indexes   int    `json:"indexes"`         // objects: of the index, that the log names
	Packs     int    `json:"packs"`           // packs: that the index lists
	Blobs     int64  `json:"blobs"`           // blobs: in these
	Unused    int    `json:"packs_unused"`    // packs: that no index lists
	Unnamed   int    `json:"objects_unnamed"` // objects: that no log entry leads to
	Junk      int    `json:"junk"`            // objects: under names that no object has
	PacksRead int    `json:"packs_read"`      // packs: read and compared with their hashes
	BytesRead int64  `json:"bytes_read"`      // bytes: of these
	Due       int    `json:"packs_due"`       // packs: left for the next time
	Decrypted bool   `json:"decrypted"`       // each blob in the packs that were read was verified
	Problems  int    `json:"problems"`        // problems: found
	Head      string `json:"head"`            // of the log
}

// MessageType returns "check".
func (Checked) MessageType() string { return "check" }

// checked returns the result of a check as it is told.
func checked(res *upkeep.CheckResult, problems int, head ledger.Head) Checked {
	return Checked{
		Snapshots: res.Snapshots, Indexes: res.Indexes, Packs: res.Packs, Blobs: res.Blobs, Unused: res.Unused, Unnamed: res.Unnamed, Junk: res.Junk,
		PacksRead: res.ReadPacks, BytesRead: res.ReadBytes, Due: res.Due, Decrypted: res.Deep, Problems: problems, Head: head.String(),
	}
}

// A Stray is an object that is not in use.
type Stray struct {
	Object string `json:"object"`
}

// MessageType returns "stray".
func (Stray) MessageType() string { return "stray" }

// A Request is a log entry whose signer was not entitled to it. It has no effect.
type Request struct {
	Entry  uint64 `json:"entry"`  // number: of the log entry
	Signer string `json:"signer"` // by the name in the list of keys
	Why    string `json:"why"`
}

// MessageType returns "request".
func (Request) MessageType() string { return "request" }

// A Scrubbed tells what a scrub read, and how many problems it found.
type Scrubbed struct {
	Objects  int   `json:"objects"`    // objects: read
	Bytes    int64 `json:"bytes_read"` // bytes: of these
	Problems int   `json:"problems"`   // problems: found
	Junk     int   `json:"junk"`       // objects: under names that no object has
}

// MessageType returns "scrub".
func (Scrubbed) MessageType() string { return "scrub" }

// An IndexRepaired tells what a repair of the index did; of a dry run, what it would.
type IndexRepaired struct {
	DryRun  bool `json:"dry_run"`
	Dropped int  `json:"indexes_dropped"` // objects: of the index, missing or damaged, taken off the log
	Added   int  `json:"indexes_added"`   // objects: of the index, made anew
	Read    int  `json:"packs_read"`      // packs: that no index listed
	Listed  int  `json:"packs_listed"`    // packs: of these, that snapshots need
	Damaged int  `json:"packs_damaged"`   // packs: of these, that are damaged
	Lacking bool `json:"lacking"`         // content that snapshots need was not found, or could not be looked for
}

// MessageType returns "repair_index".
func (IndexRepaired) MessageType() string { return "repair_index" }

// indexRepaired returns the result of a repair of the index as it is told.
func indexRepaired(res *upkeep.IndexRepair, dryRun bool) *IndexRepaired {
	return &IndexRepaired{
		DryRun: dryRun, Dropped: len(res.Dropped), Added: res.Added, Read: res.Read, Listed: res.Listed, Damaged: len(res.Damaged), Lacking: res.Lacking,
	}
}

// A PacksRepaired tells what a repair of packs did; of a dry run, what it would.
type PacksRepaired struct {
	DryRun bool  `json:"dry_run"`
	Packs  int   `json:"packs_damaged"` // packs: damaged or missing, taken off the index
	Saved  int   `json:"blobs_saved"`   // blobs: that verified, stored anew
	Lost   int   `json:"blobs_lost"`    // blobs: that did not
	Moved  int64 `json:"bytes_moved"`   // bytes: stored anew
}

// MessageType returns "repair_packs".
func (PacksRepaired) MessageType() string { return "repair_packs" }

// packsRepaired returns the result of a repair of packs as it is told.
func packsRepaired(res *upkeep.PackRepair, dryRun bool) *PacksRepaired {
	return &PacksRepaired{DryRun: dryRun, Packs: len(res.Packs), Saved: res.Salvaged, Lost: res.Lost, Moved: res.Moved}
}

// A Lost is a part that a snapshot lacks.
type Lost struct {
	Index int `json:"-"` // of this part among those that the snapshot lacks
	Count int `json:"-"` // of these

	Snapshot string `json:"snapshot"` // the ID
	Date     string `json:"date"`     // of the snapshot, as YYYY-MM-DD
	Part     string `json:"part"`     // as dump takes it
	Message  string `json:"message"`
}

// MessageType returns "lost".
func (Lost) MessageType() string { return "lost" }
