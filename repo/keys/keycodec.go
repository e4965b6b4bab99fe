package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"filippo.io/age"

	"permafrost/chunk"
	"permafrost/repo/store"
)

const magicKeyring = "PFKEYS\x00\x01"

// keyringJSON is a Keyring in a key file and below keys/.
type keyringJSON struct {
	Role       Role        `json:"role"`
	Name       string      `json:"name,omitempty"`
	Repository store.Name  `json:"repository"`
	OwnerKey   []byte      `json:"owner_key"`
	SignKey    []byte      `json:"sign_key,omitempty"` // Ed25519 seed
	Identity   string      `json:"identity,omitempty"`
	Epochs     []epochJSON `json:"epochs"`
}

type epochJSON struct {
	Number        uint32 `json:"number"`
	DataIdentity  string `json:"data_identity,omitempty"`  // an owner's
	DataRecipient string `json:"data_recipient,omitempty"` // a writer's: 2 KB, which an owner derives
	MetaIdentity  string `json:"meta_identity"`
	DataKey       []byte `json:"data_key"`
	MetaKey       []byte `json:"meta_key"`
	DerivationKey []byte `json:"fingerprint_key"`
	Polynomial    string `json:"polynomial"` // hexadecimal: it is above what every JSON reader holds exactly
	Signature     []byte `json:"signature"`
}

// encode returns the keyring as JSON on one line.
func (k *Keyring) encode() ([]byte, error) {
	if err := k.check(); err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	j := keyringJSON{Role: k.Role, Name: k.Name, Repository: k.Repository, OwnerKey: k.OwnerKey}
	if k.SignKey != nil {
		j.SignKey = k.SignKey.Seed()
	}
	if k.Identity != nil {
		j.Identity = k.Identity.String()
	}
	for i := range k.Epochs {
		e := &k.Epochs[i]
		ej := epochJSON{
			Number: e.Number, MetaIdentity: e.MetaIdentity.String(),
			DataKey: e.DataKey[:], MetaKey: e.MetaKey[:], DerivationKey: e.DerivationKey[:],
			Polynomial: strconv.FormatUint(e.Polynomial, 16), Signature: e.Signature,
		}
		if e.DataIdentity != nil {
			ej.DataIdentity = e.DataIdentity.String()
		} else {
			ej.DataRecipient = e.DataRecipient.String()
		}
		j.Epochs = append(j.Epochs, ej)
	}
	return json.Marshal(j)
}

// decodeKeyring reads what encode wrote, and checks it. Its errors tell nothing of the secrets.
func decodeKeyring(data []byte) (*Keyring, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var j keyringJSON
	if err := d.Decode(&j); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one value")
	}
	k := &Keyring{Role: j.Role, Name: j.Name, Repository: j.Repository, OwnerKey: j.OwnerKey, fileKeys: new(fileKeys)}
	if j.SignKey != nil {
		if len(j.SignKey) != ed25519.SeedSize {
			return nil, fmt.Errorf("signing key has %d bytes, want %d", len(j.SignKey), ed25519.SeedSize)
		}
		k.SignKey = ed25519.NewKeyFromSeed(j.SignKey)
	}
	if j.Identity != "" {
		id, err := parseHybrid(j.Identity)
		if err != nil {
			return nil, err
		}
		k.Identity = id
	}
	for i := range j.Epochs {
		e, err := j.Epochs[i].epoch()
		if err != nil {
			return nil, fmt.Errorf("epoch %d: %w", j.Epochs[i].Number, err)
		}
		k.Epochs = append(k.Epochs, e)
	}
	return k, k.check()
}

func (j *epochJSON) epoch() (e Epoch, err error) {
	e = Epoch{Number: j.Number, Signature: j.Signature}
	if e.MetaIdentity, err = parseHybrid(j.MetaIdentity); err != nil {
		return e, err
	}
	switch {
	case (j.DataIdentity == "") == (j.DataRecipient == ""):
		return e, errors.New("want a data identity or a data recipient")
	case j.DataIdentity != "":
		if e.DataIdentity, err = parseHybrid(j.DataIdentity); err != nil {
			return e, err
		}
		e.DataRecipient = e.DataIdentity.Recipient()
	default:
		if e.DataRecipient, err = age.ParseHybridRecipient(j.DataRecipient); err != nil {
			return e, errors.New("malformed data recipient")
		}
	}
	for _, key := range []struct {
		to   *[32]byte
		from []byte
	}{{(*[32]byte)(&e.DataKey), j.DataKey}, {(*[32]byte)(&e.MetaKey), j.MetaKey}, {&e.DerivationKey, j.DerivationKey}} {
		if len(key.from) != chunk.KeySize {
			return e, fmt.Errorf("a key has %d bytes, want %d", len(key.from), chunk.KeySize)
		}
		copy(key.to[:], key.from)
	}
	if e.Polynomial, err = strconv.ParseUint(j.Polynomial, 16, 64); err != nil {
		return e, errors.New("polynomial is not a hexadecimal number")
	}
	return e, nil
}

// parseHybrid keeps age's error, which may quote from the key, to itself.
func parseHybrid(s string) (*age.HybridIdentity, error) {
	id, err := age.ParseHybridIdentity(s)
	if err != nil {
		return nil, errors.New("malformed age identity")
	}
	return id, nil
}

// Wrap encrypts k to one person's recipient: the content of an object below keys/.
func Wrap(k *Keyring, to age.Recipient) ([]byte, error) {
	data, err := k.encode()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("wrapping a keyring: %w", noPlugin(err))
	}
	if _, err := w.Write(append([]byte(magicKeyring), data...)); err != nil {
		return nil, fmt.Errorf("wrapping a keyring: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("wrapping a keyring: %w", err)
	}
	if out.Len() > maxKeyFile {
		return nil, fmt.Errorf("wrapping a keyring: %d bytes, more than %d", out.Len(), maxKeyFile)
	}
	return out.Bytes(), nil
}

// Unwrap opens what Wrap made. Where it was made for none of ids the error is an
// *age.NoIdentityMatchError. age does not say who wrapped it: the owner's signatures and a fingerprint do.
func Unwrap(data []byte, ids ...age.Identity) (*Keyring, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("wrapped keyring: longer than %d bytes", maxKeyFile)
	}
	r, err := age.Decrypt(bytes.NewReader(data), ids...)
	if err != nil {
		return nil, fmt.Errorf("opening a wrapped keyring: %w", noPlugin(err))
	}
	plain, err := io.ReadAll(r) // no longer than the ciphertext
	if err != nil {
		return nil, fmt.Errorf("opening a wrapped keyring: %w", err)
	}
	if len(plain) < len(magicKeyring) || string(plain[:7]) != magicKeyring[:7] {
		return nil, errors.New("wrapped keyring: not a keyring")
	}
	if v := plain[7]; v > keyringFormat {
		return nil, fmt.Errorf("wrapped keyring: version %d: %w", v, store.ErrNewerFormat)
	} else if v != keyringFormat {
		return nil, errors.New("wrapped keyring: malformed version")
	}
	k, err := decodeKeyring(plain[len(magicKeyring):])
	if err != nil {
		return nil, fmt.Errorf("wrapped keyring: %w", err)
	}
	return k, nil
}
