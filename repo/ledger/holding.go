package ledger

import (
	"bytes"
	"encoding/json"
)

// A State says what a snapshot has of a component.
type State string

// The states of a component.
const (
	Captured   State = "captured"   // the snapshot has it
	External   State = "external"   // media: they are in object storage, and the manifest says where
	Skipped    State = "skipped"    // left out by a setting
	Failed     State = "failed"     // could not be read; the manifest says why
	Incomplete State = "incomplete" // secrets: Mastodon's settings are there, and not all else that was named; the manifest says why
)

// A Holding is what a snapshot has of each component, as far as a verdict on the snapshot needs it. It stands in the log
// entry, which is never deleted: so what is thought of a snapshot never depends on which others are still listed. The
// writer states it, and may lie.
type Holding struct {
	Secrets  State           `json:"secrets"`
	Postgres DatabaseHolding `json:"postgres"`
	Redis    State           `json:"redis"` // captured where each server was; Sidekiq's own is one of them
	Media    MediaHolding    `json:"media"`
}

// Whole reports whether no component failed or is incomplete.
func (h *Holding) Whole() bool {
	return h.Secrets != Failed && h.Secrets != Incomplete && h.Postgres.State != Failed && h.Redis != Failed && h.Media.State != Failed
}

// Equal reports whether both say the same in the log.
func (h *Holding) Equal(o *Holding) bool {
	a, err := json.Marshal(h)
	b, also := json.Marshal(o)
	return err == nil && also == nil && bytes.Equal(a, b)
}

// A DatabaseHolding is what a snapshot has of the database.
type DatabaseHolding struct {
	State State `json:"state"`
	Size  int64 `json:"size,omitempty"` // bytes of the dump
	Rows  *Rows `json:"rows,omitempty"` // absent where the dump's rows could not be counted
}

// Rows counts the rows of the tables whose loss is the loss of the instance.
type Rows struct {
	Accounts         int64 `json:"accounts"`
	Users            int64 `json:"users"`
	Statuses         int64 `json:"statuses"`
	MediaAttachments int64 `json:"media_attachments"`
}

// A MediaHolding is what a snapshot has of the media that can't be had again: cached copies of other servers' files don't
// count.
type MediaHolding struct {
	State   State            `json:"state"`
	Files   int64            `json:"files,omitempty"`
	Size    int64            `json:"size,omitempty"`    // bytes
	Classes map[string]Class `json:"classes,omitempty"` // by the name of a directory below the root, such as "accounts"
	Local   int64            `json:"local,omitempty"`   // where media are external: files that still lie below the root, and are not stored
}

// A Class is what a snapshot has of one class of media.
type Class struct {
	Files int64 `json:"files"`
	Size  int64 `json:"size"` // bytes
}
