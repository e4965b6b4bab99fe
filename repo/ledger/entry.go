package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// A Head is a position in the log: an entry's number and the SHA-256 of its stored bytes. Whoever keeps one
// can tell later whether the log still continues from it.
type Head struct {
	Seq  uint64     `json:"seq"`
	Hash store.Name `json:"hash"`
}

// String returns "42:ab12…", which ParseHead reads.
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// ParseHead reads what String returned.
func ParseHead(s string) (Head, error) {
	var h Head
	num, hash, ok := strings.Cut(s, ":")
	seq, err := strconv.ParseUint(num, 10, 64)
	h.Seq = seq
	if !ok || err != nil || h.Hash.UnmarshalText([]byte(hash)) != nil {
		return Head{}, fmt.Errorf("%q is not a log head: one looks like 42: and 64 hexadecimal digits", s)
	}
	return h, nil
}

// An Entry is the body of a log entry, as JSON. Exactly one of the kinds is set.
type Entry struct {
	Seq  uint64    `json:"seq"`
	Prev *Head     `json:"prev,omitempty"` // the valid entry before this one; absent in entry 0
	On   Basis     `json:"on"`             // what the entries below have said
	Time time.Time `json:"time"`           // the signer's clock

	Snapshot *SnapshotEntry `json:"snapshot,omitempty"`
	Forget   *ForgetEntry   `json:"forget,omitempty"`
	Confirm  *ConfirmEntry  `json:"confirm,omitempty"`
	Prune    *PruneEntry    `json:"prune,omitempty"`
	Roster   *RosterEntry   `json:"roster,omitempty"`
	Damage   *DamageEntry   `json:"bad,omitempty"`
	Epoch    *EpochEntry    `json:"epoch,omitempty"`
	Accept   *AcceptEntry   `json:"accept,omitempty"`
}

// A SnapshotEntry commits a snapshot.
type SnapshotEntry struct {
	Manifest store.Name   `json:"manifest"` // the manifest object's name
	Indexes  []store.Name `json:"indexes"`  // index objects that its run wrote
	SnapshotInfo
}

// SnapshotID returns the ID of a snapshot: the SHA-256 of "permafrost snapshot 1\n", the manifest's name, the verify key of the
// entry's signer and the instance. Who sees a manifest before the log names it can't take its ID.
func SnapshotID(manifest store.Name, signer ed25519.PublicKey, instance string) store.Name {
	b := make([]byte, 0, 256)
	b = append(b, "permafrost snapshot 1\n"...)
	b = append(b, manifest[:]...)
	b = append(b, signer...)
	return sha256.Sum256(append(b, instance...))
}

// SnapshotInfo is what a list of snapshots shows, and what retention goes by.
type SnapshotInfo struct {
	Instance string    `json:"instance"` // LOCAL_DOMAIN
	Host     string    `json:"host"`     // name of the machine that made it
	Date     string    `json:"date"`     // YYYY-MM-DD: the night, as the operator names it
	Time     time.Time `json:"time"`     // when the run began
	Tags     []string  `json:"tags,omitempty"`
	Partial  int       `json:"partial,omitempty"` // files that could not be read and were left out
	Size     int64     `json:"size"`              // bytes of the source
	Stored   int64     `json:"stored"`            // bytes that the run added to the storage
	Holding  Holding   `json:"holding"`
}

// A ForgetEntry takes snapshots off the list. Their content goes with the next prune.
type ForgetEntry struct {
	Snapshots []store.Name `json:"snapshots,omitempty"`
	Records   []Record     `json:"records,omitempty"`
}

// A PruneEntry names what is deleted once it is published, and the index objects that list what was moved.
type PruneEntry struct {
	Packs     []store.Name `json:"packs,omitempty"`
	Indexes   []store.Name `json:"indexes,omitempty"`
	Manifests []store.Name `json:"manifests,omitempty"`
	Added     []store.Name `json:"added,omitempty"` // new index objects

	Records []Record `json:"records,omitempty"`
}

// A RosterEntry is the whole roster from here on.
type RosterEntry struct {
	People []Person `json:"people"`
}

// A Person is somebody, or a host, who holds a keyring.
type Person struct {
	Name      string    `json:"name"`
	Role      keys.Role `json:"role"`
	Instance  string    `json:"instance,omitempty"`   // of a writer: the instance whose snapshots it makes; empty: any
	VerifyKey []byte    `json:"verify_key"`           // Ed25519, 32 bytes
	MayForget bool      `json:"may_forget,omitempty"` // of a writer
	Recipient string    `json:"recipient,omitempty"`  // age recipient, to which later epochs are wrapped
	Keys      []string  `json:"keys,omitempty"`       // objects below keys/, made for this person when they were added
}

// Serves reports whether a writer is for an instance.
func (p *Person) Serves(instance string) bool { return p.Instance == "" || p.Instance == instance }

// A DamageEntry names packs that were found damaged: no instance that its signer speaks for is deduplicated against them
// any more.
type DamageEntry struct {
	Packs []store.Name `json:"packs"`
}

// An EpochEntry says that keys of a new epoch are in use from the next entry on, and gives them to everybody on the list of keys.
// Nobody but the owner has them before: what is under keys that others don't have yet would be an entry to some and junk to others.
type EpochEntry struct {
	Number    uint32   `json:"number"`
	Signature []byte   `json:"signature"`      // the epoch's own: no other set of keys of that number is meant
	Keys      [][]byte `json:"keys,omitempty"` // wrapped keyrings, one for each person who has a recipient
}

// MaxEntryObject is how long a stored log entry may be, in bytes.
const MaxEntryObject = 16 << 20

// Encode returns an entry's JSON, in the one form that parseEntry takes. What is no UTF-8 in it, which a host's name may be, is
// replaced before: in JSON that has two forms.
func (e *Entry) Encode() ([]byte, error) {
	body, err := json.Marshal(e)
	clean := new(Entry)
	if err == nil {
		err = json.Unmarshal(body, clean)
	}
	if err == nil {
		body, err = json.Marshal(clean)
	}
	return body, err
}

// parseEntry reads an entry's JSON, and nothing that Encode would have written otherwise: what is signed has one meaning.
func parseEntry(body []byte) (*Entry, error) {
	e, err := decodeEntry(body)
	if err != nil {
		return nil, err
	}
	if text, err := json.Marshal(e); err != nil || !bytes.Equal(text, body) {
		return nil, errors.New("log entry: not as it was written, or with members that are not known")
	}
	return e, nil
}

// decodeEntry is parseEntry for a body of which the form was looked at before.
func decodeEntry(body []byte) (*Entry, error) {
	e := new(Entry)
	if err := json.Unmarshal(body, e); err != nil {
		return nil, fmt.Errorf("log entry: %w", err)
	}
	kinds := 0
	for _, set := range []bool{e.Snapshot != nil, e.Forget != nil, e.Confirm != nil, e.Prune != nil, e.Roster != nil, e.Damage != nil, e.Epoch != nil, e.Accept != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return nil, fmt.Errorf("log entry: says %d things instead of one", kinds)
	case (e.Seq == 0) != (e.Prev == nil):
		return nil, errors.New("log entry: only the first has none before it")
	}
	return e, nil
}

// Objects returns the names of the objects that the entry makes a part of the log.
func (e *SnapshotEntry) Objects() []string {
	objects := []string{store.Manifest.Object(e.Manifest)}
	for _, n := range e.Indexes {
		objects = append(objects, store.Index.Object(n))
	}
	return objects
}

// PersonOf describes the holder of a keyring for the roster.
func PersonOf(k *keys.Keyring, keys []string) Person {
	p := Person{Name: k.Name, Role: k.Role, VerifyKey: k.VerifyKey(), Keys: keys}
	if k.Identity != nil {
		p.Recipient = k.Identity.Recipient().String()
	}
	return p
}
