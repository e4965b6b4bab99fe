package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"permafrost/repo/store"
)

// SecretHash returns a keyed hash of a secret of an instance, by which a later snapshot can tell that it has changed. Nobody
// without a keyring can compare anything with it. Whoever has one, a writer too, can try guesses: it is for secrets that a program
// generated, and not for passwords. A rotation changes no hash.
func (k *Keyring) SecretHash(instance, name, value string) store.Name {
	h := hmac.New(sha256.New, k.DeriveKey("permafrost secret hash 1"))
	for _, part := range []string{instance, name, value} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return store.Name(h.Sum(nil))
}
