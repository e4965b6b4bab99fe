package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"testing"

	"permafrost/chunk"
	"permafrost/repo/keys"
)

func TestFingerprint(t *testing.T) {
	owner := newOwner(t, 1)
	f := owner.Fingerprint()
	if back, err := keys.ParseFingerprint(f); err != nil || back != f {
		t.Errorf("%s parses as %q, %v", f, back, err)
	}
	addEpoch(t, owner)
	for _, k := range []*keys.Keyring{owner, newWriter(t, owner, "web1"), owner.ForWriter()} {
		if got := k.Fingerprint(); got != f {
			t.Errorf("fingerprint of %v is %s, want %s", k, got, f)
		}
	}
	for what, forge := range forgeries(t) {
		k := newOwnerView(owner)
		forge(&k.Epochs[0])
		switch what {
		case "no recipient", "no meta", "data identity", "no signature", "signature":
			continue // never parses: see TestMergeForged
		}
		if k.Fingerprint() == f {
			t.Errorf("another %s has the same fingerprint", what)
		}
	}
	k := newOwnerView(owner)
	k.Repository[0] ^= 1
	if k.Fingerprint() == f {
		t.Error("another repository has the same fingerprint")
	}
	k = newOwnerView(owner)
	k.OwnerKey = newOwner(t, 1).OwnerKey
	if k.Fingerprint() == f {
		t.Error("another owner has the same fingerprint")
	}
}

// signedOf is what the owner signs of an epoch, put together as the package comment says.
func signedOf(repository [32]byte, e keys.Epoch) []byte {
	hash := func(parts ...[]byte) []byte {
		sum := sha256.Sum256(bytes.Join(parts, nil))
		return sum[:]
	}
	return bytes.Join([][]byte{
		[]byte("permafrost epoch 1\n"), repository[:], binary.BigEndian.AppendUint32(nil, e.Number),
		hash([]byte(e.DataRecipient.String())),
		hash([]byte(e.MetaIdentity.Recipient().String())),
		hash([]byte("permafrost epoch secrets 1\n"), e.DataKey[:], e.MetaKey[:], e.DerivationKey[:], binary.BigEndian.AppendUint64(nil, e.Polynomial)),
	}, nil)
}

// TestSignatureFormat holds signature and fingerprint to what the package comment says of them.
func TestSignatureFormat(t *testing.T) {
	k := goldenKeyring(t, "writer.txt")
	for _, e := range k.Epochs {
		if !ed25519.Verify(k.OwnerKey, signedOf(k.Repository, e), e.Signature) {
			t.Errorf("the signature of epoch %d is over something else", e.Number)
		}
	}
	signed := signedOf(k.Repository, k.Epochs[0])
	sum := sha256.Sum256(bytes.Join([][]byte{[]byte("permafrost fingerprint 1\n\x01"), k.OwnerKey, signed}, nil))
	want := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:20]))
	if got := strings.ReplaceAll(k.Fingerprint(), "-", ""); got != want || len(signed) != 151 {
		t.Errorf("fingerprint is %s, want %s; %d bytes signed", got, want, len(signed))
	}
}

// TestReduciblePolynomial: even the owner's signature does not make a polynomial good that cuts badly.
func TestReduciblePolynomial(t *testing.T) {
	k := newOwner(t, 1)
	e, err := k.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	e.Polynomial &^= 1 // now x divides it
	e.Signature = ed25519.Sign(k.SignKey, signedOf(k.Repository, e))
	wantError(t, k.AddEpoch(e), "epoch 2", "polynomial")
}

func TestParseFingerprint(t *testing.T) {
	for _, s := range []string{
		goldenFingerprint,
		strings.ToUpper(goldenFingerprint),
		strings.ReplaceAll(goldenFingerprint, "-", ""),
		" " + strings.ReplaceAll(goldenFingerprint, "-", "  ") + "\n",
	} {
		if got, err := keys.ParseFingerprint(s); err != nil || got != goldenFingerprint {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for s, words := range map[string]string{
		"":                           "this one has 0",
		goldenFingerprint[:38]:       "this one has 31",
		goldenFingerprint + "a":      "this one has 33",
		goldenFingerprint[:38] + "1": "no '1'",
		goldenFingerprint[:37] + "é": "no 'é'",
	} {
		got, err := keys.ParseFingerprint(s)
		wantError(t, err, words)
		if got != "" {
			t.Errorf("%q: %q beside an error", s, got)
		}
	}
}

func TestEpochKeysWork(t *testing.T) {
	e := newOwner(t, 1).CurrentEpoch()
	if err := chunk.CheckPolynomial(e.Polynomial); err != nil {
		t.Error(err)
	}
	if e.DataKey.Sum([]byte("x")) == e.MetaKey.Sum([]byte("x")) {
		t.Error("data and meta IDs are the same")
	}
}
