package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// A Name is the SHA-256 of an object's stored bytes.
type Name [sha256.Size]byte

// NameOf returns the name of an object with that content.
func NameOf(data []byte) Name { return sha256.Sum256(data) }

// String returns the name as 64 hexadecimal digits.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

// Short returns as much of the name as people are shown.
func (n Name) Short() string { return hex.EncodeToString(n[:4]) }

// IsZero reports whether n is the zero Name, which no object has.
func (n Name) IsZero() bool { return n == Name{} }

// MarshalText returns what String returns.
func (n Name) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (n *Name) UnmarshalText(b []byte) error {
	if len(b) != 2*len(n) {
		return errNotName
	}
	for _, c := range b { // a long log has thousands of names
		if 'A' <= c && c <= 'F' {
			return errNotName
		}
	}
	_, err := hex.Decode(n[:], b)
	return err
}

var errNotName = errors.New("not a SHA-256 in lower-case hexadecimal")

// ParseName reads what String returned.
func ParseName(s string) (n Name, err error) {
	err = n.UnmarshalText([]byte(s))
	return n, err
}
