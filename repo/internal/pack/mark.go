package pack

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"filippo.io/age"
)

// The age header of a pack has a stanza of this type beside the one that wraps the file key. Its body is the pack's mark:
// what markOf makes of the file key and the name of the instance that the pack was written for. The header's MAC covers
// it, so that whoever does not know the file key can neither change it nor add one; and it tells the storage nothing.
const markStanza = "permafrost-instance"

// markOf returns the mark of a pack that is written for an instance.
func markOf(fileKey []byte, instance string) []byte {
	mark, err := hkdf.Key(sha256.New, fileKey, nil, "permafrost instance 1\n"+instance, sha256.Size)
	if err != nil { // only for a length that is too great
		panic(err)
	}
	return mark
}

// A Recipient wraps a pack's file key, which it keeps, and marks the pack with the instance that it is for.
type Recipient struct {
	*age.HybridRecipient
	Instance string
	key      []byte
}

// WrapWithLabels returns the stanza of the recipient and that of the mark.
func (p *Recipient) WrapWithLabels(key []byte) ([]*age.Stanza, []string, error) {
	p.key = bytes.Clone(key)
	stanzas, labels, err := p.HybridRecipient.WrapWithLabels(key)
	if err != nil {
		return nil, nil, err
	}
	return append(stanzas, &age.Stanza{Type: markStanza, Body: markOf(key, p.Instance)}), labels, nil
}

// A Opener is an age identity that opens one pack by the first of some identities that fits, and can tell then whose
// the pack is.
type Opener struct {
	Identities []age.Identity
	key        []byte // the pack's file key
	mark       []byte // nil for a pack that has none, or several
}

// Unwrap returns the file key. What it notes counts once age has verified the header.
func (o *Opener) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, id := range o.Identities {
		key, err := id.Unwrap(stanzas)
		if errors.Is(err, age.ErrIncorrectIdentity) {
			continue
		}
		if err != nil {
			return nil, err
		}
		o.key, o.mark = key, nil
		marks := 0
		for _, s := range stanzas {
			if s.Type == markStanza {
				o.mark = s.Body
				marks++
			}
		}
		if marks > 1 {
			o.mark = nil
		}
		return key, nil
	}
	return nil, age.ErrIncorrectIdentity
}

// IsFor reports whether the pack was written for an instance.
func (o *Opener) IsFor(instance string) bool {
	return instance != "" && subtle.ConstantTimeCompare(o.mark, markOf(o.key, instance)) == 1
}

// Whose returns the one of some instances that the pack was written for, or "".
func (o *Opener) Whose(instances []string) string {
	for _, name := range instances {
		if o.IsFor(name) {
			return name
		}
	}
	return ""
}
