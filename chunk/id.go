package chunk

import (
	"encoding/hex"
	"fmt"
	"hash"
	"sync"

	"github.com/zeebo/blake3"
)

// Size is the length of an ID in bytes.
const Size = 32

// KeySize is the length of an IDKey in bytes.
const KeySize = 32

// An ID names a byte string by its keyed BLAKE3-256 hash. Without the key an ID says nothing about the
// content, not even to someone who can guess the content.
type ID [Size]byte

// String returns the ID as 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the ID is the zero ID, which no content has.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*Size {
		return ID{}, fmt.Errorf("chunk ID has %d digits, want %d", len(s), 2*Size)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("chunk ID: %w", err)
	}
	return id, nil
}

// An IDKey computes IDs. It is secret: who holds it can test whether content that they guess is stored.
type IDKey [KeySize]byte

// hashers holds *keyed for Sum: a hasher has 10 KiB, much to make for each of a million small files.
var hashers sync.Pool

type keyed struct {
	key    IDKey
	hasher *blake3.Hasher
}

// Hash returns a hash.Hash whose sum is the ID of what is written to it.
func (k *IDKey) Hash() hash.Hash { return k.hasher() }

func (k *IDKey) hasher() *blake3.Hasher {
	h, err := blake3.NewKeyed(k[:])
	if err != nil { // only for a key that is not 32 bytes long
		panic(err)
	}
	return h
}

// Sum returns the ID of data. It may be called from several goroutines at once.
func (k *IDKey) Sum(data []byte) ID {
	h, _ := hashers.Get().(*keyed)
	if h == nil || h.key != *k {
		h = &keyed{*k, k.hasher()}
	}
	h.hasher.Reset()
	h.hasher.Write(data)
	var id ID
	h.hasher.Sum(id[:0])
	hashers.Put(h)
	return id
}
