package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"

	"permafrost/internal/dirstore"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A forger writes to a repository's directory what no permafrost would: it has a keyring, the documented formats, and no
// scruples.
type forger struct {
	t   *testing.T
	dir string
	key *keys.Keyring
}

// forger returns one with the key of a file.
func (w *witness) forger(file string) *forger {
	w.t.Helper()
	id, err := keys.LoadIdentity(file, keys.Prompt{})
	if err != nil {
		w.t.Fatal(err)
	}
	return &forger{w.t, w.place(), id.Keyring}
}

// seal returns an envelope of a body.
func (f *forger) seal(magic string, body []byte) []byte {
	f.t.Helper()
	signed := slices.Concat([]byte("permafrost envelope 1\n"), f.key.Repository[:], []byte(magic), body)
	plain := slices.Concat([]byte(magic), f.key.SignKey.Public().(ed25519.PublicKey), ed25519.Sign(f.key.SignKey, signed), body)
	return f.encrypt(plain, f.key.CurrentEpoch().MetaIdentity.Recipient())
}

func (f *forger) encrypt(plain []byte, to age.Recipient) []byte {
	f.t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

// A marked recipient adds the mark of the instance that a pack is for.
type marked struct {
	*age.HybridRecipient
	instance string
}

func (m marked) WrapWithLabels(key []byte) ([]*age.Stanza, []string, error) {
	stanzas, labels, err := m.HybridRecipient.WrapWithLabels(key)
	mark, markErr := hkdf.Key(sha256.New, key, nil, "permafrost instance 1\n"+m.instance, sha256.Size)
	return append(stanzas, &age.Stanza{Type: "permafrost-instance", Body: mark}), labels, errors.Join(err, markErr)
}

// body returns what an envelope of the repository holds.
func (f *forger) body(object string) []byte {
	f.t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, object))
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(data), f.key.MetaIdentities()...)
	if err != nil {
		f.t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return plain[104:]
}

// put puts an object by a name that fits it, and returns its hash.
func (f *forger) put(dir string, data []byte) (name store.Name) {
	f.t.Helper()
	name = sha256.Sum256(data)
	f.write(dir+name.String(), data)
	return name
}

func (f *forger) write(object string, data []byte) {
	f.t.Helper()
	path := filepath.Join(f.dir, object)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// basis returns what the entry behind one builds on.
func (f *forger) basis(behind uint64) ledger.Basis {
	f.t.Helper()
	var e ledger.Entry
	if err := json.Unmarshal(f.body(fmt.Sprintf("log/%010d", behind)), &e); err != nil {
		f.t.Fatal(err)
	}
	switch on := &e.On; {
	case e.Snapshot != nil:
		on.Snapshots++
	case e.Roster != nil:
		on.Roster = behind
	case e.Epoch != nil:
		on.Epoch = behind
	}
	return e.On
}

// snapshotID returns the ID of a snapshot that this one's entry commits.
func (f *forger) snapshotID(e *ledger.SnapshotEntry) string {
	signer := f.key.SignKey.Public().(ed25519.PublicKey)
	id := sha256.Sum256(slices.Concat([]byte("permafrost snapshot 1\n"), e.Manifest[:], signer, []byte(e.Instance)))
	return store.Name(id).String()
}

// publish appends an entry to the log, whatever it says.
func (f *forger) publish(e *ledger.Entry) {
	f.t.Helper()
	st, err := dirstore.Open(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := repo.Open(f.t.Context(), st, f.key, repo.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	head := r.Head()
	e.Seq, e.Prev, e.On, e.Time = head.Seq+1, &head, f.basis(head.Seq), time.Now().UTC().Truncate(time.Second)
	body, err := json.Marshal(e)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(fmt.Sprintf("log/%010d", e.Seq), f.seal("PFLOGEN\x01", body))
}
