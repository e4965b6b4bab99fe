package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"permafrost/internal/wire"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// An OpenedEntry is a stored log entry out of its envelope. Whether its signer may say what it says is the history's to
// decide.
type OpenedEntry struct {
	Hash   store.Name // of the stored bytes
	Size   int64
	Signer ed25519.PublicKey
	body   []byte
	known  bool  // it was a part of the log before: its form was looked at
	Err    error // why it can't be opened
}

// entry returns what it says.
func (o *OpenedEntry) entry() (*Entry, error) {
	if o.known {
		return decodeEntry(o.body)
	}
	return parseEntry(o.body)
}

// An Unseal opens an envelope, as [keys.Keyring.Unseal] does.
type Unseal func(k *keys.Keyring, kind string, data []byte) (signer ed25519.PublicKey, body []byte, err error)

// OpenEntry opens a stored entry.
func OpenEntry(unseal Unseal, k *keys.Keyring, data []byte) OpenedEntry {
	e := OpenedEntry{Hash: store.NameOf(data), Size: int64(len(data))}
	e.Signer, e.body, e.Err = unseal(k, keys.KindEntry, data)
	return e
}

// An Opened holds entries by their numbers. Decrypting an entry and verifying its signature takes hundreds of times as
// long as reading it, and the log grows for ever. So what a keyring has once opened, and found a part of the log, stays
// opened in one file of the cache:
//
//	8  magic: "PFOPENL" and the version byte 1
//	   records: uvarint number, uvarint stored size, 32 SHA-256 of the stored bytes, 32 signer, uvarint length, body
//	32 HMAC-SHA256 of all that, under a key that only the holder of this keyring's signing key has
//
// It stands for stored bytes and nothing else: what the storage holds is listed and compared each time, the newest entry is
// read, and all entries are where they don't chain or a check asks. The storage's word is taken for no entry but by its hash.
type Opened map[uint64]OpenedEntry

const (
	openedMagic = "PFOPENL\x01"
	maxOpened   = 64 << 20 // bytes of the file; entries beyond are opened each time
	maxBody     = 1 << 20  // likewise
)

// Encode returns the file's content, proved under a key that only the keyring's holder has. Entries that would make it too long are
// left out.
func (o Opened) Encode(key []byte) []byte {
	b := []byte(openedMagic)
	for _, seq := range slices.Sorted(maps.Keys(o)) {
		e := o[seq]
		if len(e.body) > maxBody || len(b)+len(e.body)+1024 > maxOpened {
			continue
		}
		b = binary.AppendUvarint(b, seq)
		b = binary.AppendUvarint(b, uint64(e.Size))
		b = append(b, e.Hash[:]...)
		b = append(b, e.Signer...)
		b = binary.AppendUvarint(b, uint64(len(e.body)))
		b = append(b, e.body...)
	}
	return append(b, proof(key, b)...)
}

// DecodeOpened reads what Encode wrote under the same key. It returns nil for anything else.
func DecodeOpened(data, key []byte) Opened {
	end := len(data) - sha256.Size
	if end < 0 || !hmac.Equal(proof(key, data[:end]), data[end:]) {
		return nil
	}
	body, ours := bytes.CutPrefix(data[:end], []byte(openedMagic))
	if !ours {
		return nil
	}
	o := make(Opened)
	r := wire.NewReader(body)
	for r.Len() > 0 {
		seq := r.Uvarint(store.MaxEntries)
		e := OpenedEntry{Size: int64(r.Uvarint(MaxEntryObject)), known: true}
		copy(e.Hash[:], r.Bytes(len(e.Hash)))
		e.Signer = r.Bytes(ed25519.PublicKeySize)
		e.body = r.Bytes(r.Count(maxBody, 1))
		if r.Err() != nil {
			return nil
		}
		o[seq] = e
	}
	return o
}

func proof(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// Newest returns how far the log had been seen when o was written, nil where o is empty. What the newest entry itself changes is
// not counted.
func (o Opened) Newest() *Remembered {
	if len(o) == 0 {
		return nil
	}
	seq := slices.Max(slices.Collect(maps.Keys(o)))
	s := Remembered{Head: Head{seq, o[seq].Hash}}
	if e, err := parseEntry(o[seq].body); err == nil {
		s.Basis = e.On
	}
	return &s
}

// Open returns what the stored entry seq holds, without opening it once more.
func (o Opened) Open(unseal Unseal, k *keys.Keyring, seq uint64, data []byte) OpenedEntry {
	if e, ok := o[seq]; ok && e.Size == int64(len(data)) && e.Hash == store.NameOf(data) {
		return e
	}
	return OpenEntry(unseal, k, data)
}
