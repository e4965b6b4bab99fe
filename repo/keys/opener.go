package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"

	"filippo.io/age"
)

// An opener is an age identity of a keyring. It unwraps a header once: packs, and above all their headers, are opened again by the
// next step of the same command, and an unwrap takes a hundred times as long as finding the file key that it gave.
type opener struct {
	*age.HybridIdentity
	keys *fileKeys
}

// Unwrap returns what the identity makes of a header's stanzas, as age has it.
func (o opener) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	header := fileKeyOf{o.HybridIdentity, digest(stanzas)}
	key, known := o.keys.get(header)
	if !known {
		var err error
		key, err = o.HybridIdentity.Unwrap(stanzas)
		if err != nil && !errors.Is(err, age.ErrIncorrectIdentity) {
			return nil, err
		}
		o.keys.put(header, key)
	}
	if key == nil {
		return nil, age.ErrIncorrectIdentity
	}
	return bytes.Clone(key), nil
}

// digest is a hash of stanzas, in one form: no two lists have the same.
func digest(stanzas []*age.Stanza) (sum [sha256.Size]byte) {
	h := sha256.New()
	add := func(b []byte) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	for _, s := range stanzas {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s.Args))))
		add([]byte(s.Type))
		for _, arg := range s.Args {
			add([]byte(arg))
		}
		add(s.Body)
	}
	h.Sum(sum[:0])
	return sum
}

// A fileKeyOf says what was unwrapped, and by what.
type fileKeyOf struct {
	identity *age.HybridIdentity
	header   [sha256.Size]byte
}

// maxFileKeys is how many file keys a generation of fileKeys holds, of some 100 bytes each.
const maxFileKeys = 4096

// fileKeys are the file keys that a keyring's identities have unwrapped, nil where an identity does not fit. What was not asked for
// goes when two generations are full.
type fileKeys struct {
	mu       sync.Mutex
	now, old map[fileKeyOf][]byte
}

func (f *fileKeys) get(of fileKeyOf) (key []byte, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key, known = f.now[of]; known {
		return key, true
	}
	if key, known = f.old[of]; known {
		f.add(of, key)
	}
	return key, known
}

func (f *fileKeys) put(of fileKeyOf, key []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(of, key)
}

// add is put for who holds the lock.
func (f *fileKeys) add(of fileKeyOf, key []byte) {
	if f.now == nil || len(f.now) >= maxFileKeys {
		f.old, f.now = f.now, make(map[fileKeyOf][]byte)
	}
	f.now[of] = key
}
