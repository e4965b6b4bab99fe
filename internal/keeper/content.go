package keeper

import (
	"time"

	"permafrost/snapshot"
	"permafrost/snapshot/restore"
	"permafrost/source/media"
	"permafrost/source/postgres/archive"
)

// An Entry is a file, a directory or another thing that a snapshot holds. Streams count as files.
type Entry struct {
	Path   snapshot.Text `json:"path"`
	Type   string        `json:"type"` // one letter, as find -type takes it
	Mode   uint32        `json:"mode"` // number: permissions with setuid, setgid and sticky bit
	UID    uint32        `json:"uid"`  // number: of the user
	GID    uint32        `json:"gid"`  // number: of the group
	Size   int64         `json:"size"` // bytes: of a file
	MTime  time.Time     `json:"mtime,omitzero"`
	Target snapshot.Text `json:"target,omitempty"` // of a symbolic link
	Link   snapshot.Text `json:"link,omitempty"`   // the first name of the same file
}

// MessageType returns "entry".
func (Entry) MessageType() string { return "entry" }

// A Match is an entry that find found.
type Match struct {
	Snapshot string `json:"snapshot"` // the ID
	Date     string `json:"date"`     // of the snapshot, as YYYY-MM-DD
	Entry
}

// MessageType returns "match".
func (Match) MessageType() string { return "match" }

// A SecretChange is a secret in which two snapshots differ.
type SecretChange struct {
	Change string        `json:"change"` // + came, - went, M changed
	Name   snapshot.Text `json:"name"`
}

// MessageType returns "secret".
func (SecretChange) MessageType() string { return "secret" }

// A TableChange is a table of the database in which two snapshots differ.
type TableChange struct {
	Change string         `json:"change"` // + came, - went, M changed
	Table  string         `json:"table"`
	Before *archive.Table `json:"before,omitempty"`
	After  *archive.Table `json:"after,omitempty"`
}

// MessageType returns "table".
func (TableChange) MessageType() string { return "table" }

// A MediaChange is a file of the media in which two snapshots differ.
type MediaChange struct {
	Change string        `json:"change"` // + came, - went, M changed, m changed in owner, mode or times alone
	Path   snapshot.Text `json:"path"`
}

// MessageType returns "change".
func (MediaChange) MessageType() string { return "change" }

// A Compared counts in how many files of the media two snapshots differ.
type Compared struct {
	Added        int64 `json:"added"`         // files: that came
	Removed      int64 `json:"removed"`       // files: that went
	Modified     int64 `json:"modified"`      // files: of other content
	Metadata     int64 `json:"metadata"`      // files: of other owner, mode or times alone
	AddedBytes   int64 `json:"bytes_added"`   // bytes: of files that came, and of the new content
	RemovedBytes int64 `json:"bytes_removed"` // bytes: of files that went, and of the old content
}

// MessageType returns "summary".
func (Compared) MessageType() string { return "summary" }

// add counts a change and returns its letter.
func (s *Compared) add(c *snapshot.Change) string {
	if c.Old != nil && c.Content() {
		s.RemovedBytes += c.Old.Size
	}
	if c.New != nil && c.Content() {
		s.AddedBytes += c.New.Size
	}
	switch {
	case c.Old == nil:
		s.Added++
		return "+"
	case c.New == nil:
		s.Removed++
		return "-"
	case c.Content():
		s.Modified++
		return "M"
	}
	s.Metadata++
	return "m"
}

// A Planned is what a restore would do to one file.
type Planned struct {
	restore.Planned
}

// MessageType returns "planned".
func (Planned) MessageType() string { return "planned" }

// A Restoring tells that a restore begins to write, or goes on where it was interrupted.
type Restoring struct {
	Snapshot
	Resumed bool `json:"resumed"`
}

// MessageType returns "restoring".
func (Restoring) MessageType() string { return "restoring" }

// A Restored tells what a restore wrote, kept and removed; of a dry run, what it would.
type Restored struct {
	Owner string `json:"-"` // the user who decides what is in the target, where that is not whoever restores

	Target    string        `json:"target"`     // the directory
	Files     int64         `json:"files"`      // files: of media, written
	Bytes     int64         `json:"bytes"`      // bytes: written
	KeptFiles int64         `json:"kept_files"` // files: of media, that were there already
	KeptBytes int64         `json:"kept_bytes"` // bytes: that were there already
	Deleted   int64         `json:"deleted"`    // files: of media, removed since the snapshot does not have them
	Refused   int           `json:"refused"`    // files: that the target did not take
	Owners    []media.Owner `json:"owners_not_restored,omitempty"`
	DryRun    bool          `json:"dry_run,omitempty"`
	Seconds   float64       `json:"seconds"` // seconds: that it took
}

// MessageType returns "summary".
func (Restored) MessageType() string { return "summary" }
