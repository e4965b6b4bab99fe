package ledger

import (
	"bytes"
	"maps"
	"slices"

	"permafrost/repo/keys"
)

// Epochs are those that the log has announced. The first needs no announcement.
type Epochs struct {
	Newest     uint32            // 0 for the first
	Wrapped    [][]byte          // keyrings that the newest announcement gives
	seq        uint64            // of the entry that announced the newest; 0 for the first
	signatures map[uint32][]byte // of the announced ones
}

// announce makes an epoch the newest.
func (s *Epochs) announce(e *EpochEntry, seq uint64) {
	s.Newest, s.seq, s.Wrapped = e.Number, seq, e.Keys
	s.signatures[e.Number] = e.Signature
}

func (s *Epochs) clone() Epochs {
	c := *s
	c.signatures = maps.Clone(s.signatures)
	return c
}

// LastOf returns the newest of a keyring's epochs that the log has announced.
func (s *Epochs) LastOf(k *keys.Keyring) uint32 {
	for _, e := range slices.Backward(k.Epochs) {
		if sig, ok := s.signatures[e.Number]; ok && bytes.Equal(e.Signature, sig) {
			return e.Number
		}
	}
	return 1
}

// InUse returns a keyring without the epochs behind the newest that the log has announced.
func (s *Epochs) InUse(k *keys.Keyring) *keys.Keyring {
	known := *k
	known.Epochs = slices.Clone(k.Epochs[:s.LastOf(k)])
	return &known
}

// NewestIn reports whether a keyring has the newest epoch.
func (s *Epochs) NewestIn(k *keys.Keyring) bool {
	if s.Newest == 0 {
		return true
	}
	e := k.Epoch(s.Newest)
	return e != nil && bytes.Equal(e.Signature, s.signatures[s.Newest])
}
