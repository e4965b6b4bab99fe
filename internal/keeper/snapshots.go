package keeper

import (
	"slices"
	"time"

	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
)

// A Snapshot names a snapshot, and tells what its log entry says of it.
type Snapshot struct {
	ID         string    `json:"id"`
	Manifest   string    `json:"manifest"` // name of the manifest object, below manifests/
	Instance   string    `json:"instance"` // LOCAL_DOMAIN
	Date       string    `json:"date"`     // the night, as YYYY-MM-DD
	Time       time.Time `json:"time"`     // when the run began
	Host       string    `json:"host"`
	Writer     string    `json:"writer"` // whose key signed it, by the name in the list of keys
	Tags       []string  `json:"tags"`
	LeftOut    int       `json:"left_out"`   // files: of the media, that could not be read
	Failed     []string  `json:"failed"`     // components that could not be read
	Incomplete []string  `json:"incomplete"` // components of which a part could not be read
	Skipped    []string  `json:"skipped"`    // components that the settings leave out
	Size       int64     `json:"size"`       // bytes: of the source
	Stored     int64     `json:"stored"`     // bytes: that the snapshot added to the storage
}

// newSnapshot returns what the log says of a snapshot.
func newSnapshot(r *ledger.SnapshotRef) Snapshot {
	return Snapshot{
		ID: r.ID.String(), Manifest: r.Manifest.String(), Instance: r.Instance, Date: r.Date, Time: r.Time, Host: r.Host, Writer: r.Writer,
		Tags: slices.Concat([]string{}, r.Tags), LeftOut: r.Partial,
		Failed: inState(&r.Holding, ledger.Failed), Incomplete: inState(&r.Holding, ledger.Incomplete), Skipped: inState(&r.Holding, ledger.Skipped),
		Size: r.Size, Stored: r.Stored,
	}
}

// inState returns the components that a snapshot has in a state, never nil.
func inState(h *ledger.Holding, state ledger.State) []string {
	names := []string{}
	for _, c := range []struct {
		name  string
		state ledger.State
	}{{"secrets", h.Secrets}, {"postgres", h.Postgres.State}, {"redis", h.Redis}, {"media", h.Media.State}} {
		if c.state == state {
			names = append(names, c.name)
		}
	}
	return names
}

// A Listed is a snapshot that is there, with the verdict on it.
type Listed struct {
	Snapshot
	Sound     bool    `json:"sound"`     // the policy counts it
	Confirmed bool    `json:"confirmed"` // a person has confirmed it
	Doubts    []Doubt `json:"doubts"`
}

// MessageType returns "snapshot".
func (Listed) MessageType() string { return "snapshot" }

// NewListed returns a snapshot with the verdict on it.
func NewListed(r *ledger.SnapshotRef, v *retain.Verdict) Listed {
	return Listed{Snapshot: newSnapshot(r), Sound: v.Sound(), Confirmed: v.Confirmed, Doubts: Doubts(v)}
}

// A Head is the log's head, which stands for all that was committed so far.
type Head struct {
	Head string `json:"head"` // as check --head takes it
}

// MessageType returns "head".
func (Head) MessageType() string { return "head" }

// A Manifest is all about a snapshot.
type Manifest struct {
	Ref ledger.SnapshotRef `json:"-"`

	ID        string  `json:"id"`
	Confirmed bool    `json:"confirmed"` // a person has confirmed it
	Doubts    []Doubt `json:"doubts"`
	*snapshot.Manifest
}

// MessageType returns "manifest".
func (Manifest) MessageType() string { return "manifest" }

// A Taken is a snapshot that was just made.
type Taken struct {
	Ref      ledger.SnapshotRef `json:"-"`
	Contents *snapshot.Manifest `json:"-"`

	Snapshot
	Doubts  []Doubt `json:"doubts"`
	Seconds float64 `json:"seconds"` // seconds: that it took
	Head    string  `json:"head"`    // of the log, with the snapshot in it
}

// MessageType returns "summary".
func (Taken) MessageType() string { return "summary" }

// A Night is a snapshot that run has made, and what the policy removed after it.
type Night struct {
	Snapshot  string    `json:"snapshot"`          // the ID
	ExitCode  int       `json:"exit_code"`         // number: with which the command ends
	Retention Retention `json:"retention"`         // done, no policy, not allowed or failed
	Kept      int       `json:"snapshots_kept"`    // snapshots: of the instance, that stay
	Removed   int       `json:"snapshots_removed"` // snapshots: that the policy removed
	Seconds   float64   `json:"seconds"`           // seconds: that the night took
}

// MessageType returns "run".
func (Night) MessageType() string { return "run" }
