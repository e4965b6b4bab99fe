package keys

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

const (
	epochDomain       = "permafrost epoch 1\n"
	secretsDomain     = "permafrost epoch secrets 1\n"
	fingerprintDomain = "permafrost fingerprint 1\n"

	fingerprintSize = 20 // bytes of SHA-256: 160 bits against a second preimage, the only way to pass for another
	fingerprintLen  = fingerprintSize * 8 / 5
)

// Fingerprint returns 32 letters and digits, in groups of four, that pin the repository's keys: its ID, the owner's
// verify key and, through epoch 1 and the owner's signatures, every recipient and symmetric key. It is no secret, and
// the same for everybody who holds a keyring.
func (k *Keyring) Fingerprint() string {
	b := []byte(fingerprintDomain)
	b = append(b, keyringFormat)
	b = append(b, k.OwnerKey...)
	b = append(b, k.Epochs[0].commitment(k.Repository)...)
	sum := sha256.Sum256(b)
	return groupFingerprint(strings.ToLower(base32.StdEncoding.EncodeToString(sum[:fingerprintSize])))
}

// ParseFingerprint returns, as Fingerprint writes it, a fingerprint that a person typed: capitals, and dashes and
// spaces wherever they are, make no difference.
func ParseFingerprint(s string) (string, error) {
	s = strings.Map(func(r rune) rune {
		if r == '-' || unicode.IsSpace(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
	for _, r := range s {
		if !('a' <= r && r <= 'z' || '2' <= r && r <= '7') {
			return "", fmt.Errorf("a fingerprint has no %q: it is made of the letters a to z and the digits 2 to 7", r)
		}
	}
	if len(s) != fingerprintLen {
		return "", fmt.Errorf("a fingerprint has %d letters and digits, this one has %d", fingerprintLen, len(s))
	}
	return groupFingerprint(s), nil
}

func groupFingerprint(s string) string {
	var groups []string
	for g := range slices.Chunk([]byte(s), 4) {
		groups = append(groups, string(g))
	}
	return strings.Join(groups, "-")
}

// commitment is what the owner signs of an epoch. It tells nothing of the secrets: the one hash over all of them can't
// be guessed, though the polynomial alone could be.
func (e *Epoch) commitment(repository [32]byte) []byte {
	secrets := []byte(secretsDomain)
	secrets = append(secrets, e.DataKey[:]...)
	secrets = append(secrets, e.MetaKey[:]...)
	secrets = append(secrets, e.DerivationKey[:]...)
	secrets = binary.BigEndian.AppendUint64(secrets, e.Polynomial)

	b := []byte(epochDomain)
	b = append(b, repository[:]...)
	b = binary.BigEndian.AppendUint32(b, e.Number)
	for _, part := range [][]byte{[]byte(e.DataRecipient.String()), []byte(e.MetaIdentity.Recipient().String()), secrets} {
		sum := sha256.Sum256(part)
		b = append(b, sum[:]...)
	}
	return b
}
