package repo

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"permafrost/repo/store"
)

// SecretHash returns a keyed hash of a secret of an instance, by which a later snapshot can tell that it has changed. Nobody
// without a keyring can compare anything with it. Whoever has one, a writer too, can try guesses: it is for secrets that a program
// generated, and not for passwords. The key is that of the first epoch, so that a rotation changes no hash.
func (k *Keyring) SecretHash(instance, name, value string) store.Name {
	key, err := hkdf.Key(sha256.New, k.Epochs[0].FingerprintKey[:], k.Repository[:], "permafrost secret hash 1", sha256.Size)
	if err != nil { // only for a length that is too great
		panic(err)
	}
	h := hmac.New(sha256.New, key)
	for _, part := range []string{instance, name, value} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return store.Name(h.Sum(nil))
}
