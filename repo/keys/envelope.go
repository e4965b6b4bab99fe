package keys

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"

	"permafrost/repo/store"

	"filippo.io/age"
)

// The kinds of envelope: 7 bytes that name one, and the byte of its version.
const (
	KindIndex    = "PFINDEX\x01"
	KindManifest = "PFMANIF\x01"
	KindEntry    = "PFLOGEN\x01"
	KindLease    = "PFLEASE\x01"
)

const (
	signatureDomain = "permafrost envelope 1\n"
	envelopeHeader  = 8 + ed25519.PublicKeySize + ed25519.SignatureSize
)

// VerifyKey returns the public half of the keyring's signing key: 32 bytes. An update has none, and panics.
func (k *Keyring) VerifyKey() ed25519.PublicKey { return k.SignKey.Public().(ed25519.PublicKey) }

// Seal returns the envelope of a body, signed by the keyring's own key and encrypted to an epoch. kind is one of KindIndex,
// KindManifest, KindEntry and KindLease.
func (k *Keyring) Seal(e *Epoch, kind string, body []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, e.MetaIdentity.Recipient())
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	plain := make([]byte, 0, envelopeHeader+len(body))
	plain = append(plain, kind...)
	plain = append(plain, k.VerifyKey()...)
	plain = append(plain, ed25519.Sign(k.SignKey, k.signed(kind, body))...)
	plain = append(plain, body...)
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	return out.Bytes(), nil
}

// Unseal returns the body of an envelope, and the verify key that has signed it. The caller decides whether that signer may say what
// the body says. An envelope that does not decrypt, is of another kind or has a false signature is an error. An envelope of another
// version is store.ErrNewerFormat, and the signer is returned with it: a newer format means as much as who wrote it.
func (k *Keyring) Unseal(kind string, data []byte) (signer ed25519.PublicKey, body []byte, err error) {
	r, err := age.Decrypt(bytes.NewReader(data), k.MetaIdentities()...)
	if err != nil {
		return nil, nil, fmt.Errorf("decrypting: %w", err)
	}
	plain := make([]byte, len(data)) // it is shorter
	n, err := io.ReadFull(r, plain)
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, nil, fmt.Errorf("decrypting: %w", err)
	}
	plain = plain[:n:n]
	if len(plain) < envelopeHeader {
		return nil, nil, errors.New("envelope is too short")
	}
	got := string(plain[:8])
	if got[:7] != kind[:7] {
		return nil, nil, fmt.Errorf("envelope holds %q, want %q", got, kind)
	}
	signer = ed25519.PublicKey(plain[8:40])
	body = plain[envelopeHeader:]
	if !ed25519.Verify(signer, k.signed(got, body), plain[40:envelopeHeader]) {
		return nil, nil, errors.New("signature does not verify")
	}
	if got != kind {
		return signer, nil, fmt.Errorf("%s version %d: %w", kind[2:7], got[7], store.ErrNewerFormat)
	}
	return signer, body, nil
}

// signed is what an envelope's signature covers.
func (k *Keyring) signed(magic string, body []byte) []byte {
	b := make([]byte, 0, len(signatureDomain)+len(k.Repository)+len(magic)+len(body))
	b = append(b, signatureDomain...)
	b = append(b, k.Repository[:]...)
	b = append(b, magic...)
	return append(b, body...)
}
