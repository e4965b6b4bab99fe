package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"filippo.io/age"

	"permafrost/chunk"
	"permafrost/repo/cause"
	"permafrost/repo/store"
)

// A Role says what the holder of a keyring may do.
type Role string

const (
	RoleOwner  Role = "owner"  // everything
	RoleWriter Role = "writer" // add snapshots, and see names and sizes; not read content back
)

// RecoveryName is the first owner's name on the roster.
const RecoveryName = "recovery"

const (
	keyringFormat = 1
	maxName       = 100 // bytes of a name on the roster

	// MaxEpochs is how many epochs a repository has at most. A writer's epoch takes 2.5 KiB in a key file, most of it the data
	// recipient: this many fit.
	MaxEpochs = 24
)

// A Keyring is what one person or host holds of a repository's keys. One that came from this package is valid: its
// epochs are numbered from 1 on and signed by the owner. It hides its secrets from fmt and from encoders.
//
// Its methods may be called from several goroutines at once, but for AddEpoch and Merge, which change it.
type Keyring struct {
	Role       Role
	Name       string             // the holder's name on the roster; an update has none
	Repository [32]byte           // the repository's random ID
	OwnerKey   ed25519.PublicKey  // who signs as the owner
	SignKey    ed25519.PrivateKey // the owner's or, in a writer's keyring, its own; an update has none

	// Later epochs reach the holder by the log, wrapped to this identity. Nil where the holder brought a recipient
	// of their own, and in updates.
	Identity *age.HybridIdentity

	Epochs []Epoch

	fileKeys *fileKeys // what its identities have unwrapped; nil remembers nothing
}

// An Epoch is one generation of a repository's keys. The newest is for writing, the others for reading.
type Epoch struct {
	Number        uint32
	DataIdentity  *age.HybridIdentity  // opens data packs; nil in a writer's keyring
	DataRecipient *age.HybridRecipient // what data packs are encrypted to
	MetaIdentity  *age.HybridIdentity  // opens everything else
	DataKey       chunk.IDKey          // for the IDs of data blobs
	MetaKey       chunk.IDKey          // for the IDs of meta blobs
	DerivationKey [32]byte             // DeriveKey uses that of the first epoch; "fingerprint_key" in a key file
	Polynomial    uint64               // for chunk.NewSplitter
	Signature     []byte               // the owner's, over all of the above
}

// NewOwner makes the keys of a new repository.
func NewOwner() (*Keyring, error) {
	owner, sign, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("making the owner key: %w", err)
	}
	k := &Keyring{Role: RoleOwner, Name: RecoveryName, OwnerKey: owner, SignKey: sign, fileKeys: new(fileKeys)}
	rand.Read(k.Repository[:])
	if k.Identity, err = age.GenerateHybridIdentity(); err != nil {
		return nil, err
	}
	first, err := k.NewEpoch()
	if err != nil {
		return nil, err
	}
	return k, k.AddEpoch(first)
}

// NewWriter makes the keyring of a new writer, with a signing key and an identity of its own.
func (k *Keyring) NewWriter(name string) (*Keyring, error) {
	if k.Role != RoleOwner {
		return nil, errors.New("only an owner can make a writer")
	}
	if err := CheckName(name); err != nil {
		return nil, err
	}
	w := k.ForWriter()
	w.Name = name
	var err error
	if _, w.SignKey, err = ed25519.GenerateKey(nil); err != nil {
		return nil, fmt.Errorf("making a signing key: %w", err)
	}
	if w.Identity, err = age.GenerateHybridIdentity(); err != nil {
		return nil, err
	}
	return w, nil
}

// ForWriter returns what a writer may know of k, without a name, a signing key and an identity: the update that a
// writer merges when the keys were rotated.
func (k *Keyring) ForWriter() *Keyring {
	w := &Keyring{Role: RoleWriter, Repository: k.Repository, OwnerKey: k.OwnerKey, Epochs: slices.Clone(k.Epochs), fileKeys: new(fileKeys)}
	for i := range w.Epochs {
		w.Epochs[i].DataIdentity = nil
	}
	return w
}

// ForOwner returns what a further owner holds who brings a recipient of their own: all but k's Identity.
func (k *Keyring) ForOwner(name string) (*Keyring, error) {
	if k.Role != RoleOwner {
		return nil, errors.New("only an owner can make another owner")
	}
	if err := CheckName(name); err != nil {
		return nil, err
	}
	o := *k
	o.Name, o.Identity, o.Epochs = name, nil, slices.Clone(k.Epochs)
	return &o, nil
}

// NewEpoch makes the keys of the epoch after the newest. They are in use once AddEpoch has taken them.
func (k *Keyring) NewEpoch() (Epoch, error) {
	if k.Role != RoleOwner {
		return Epoch{}, errors.New("only an owner can start an epoch")
	}
	e := Epoch{Number: uint32(len(k.Epochs) + 1)}
	var err error
	if e.DataIdentity, err = age.GenerateHybridIdentity(); err != nil {
		return Epoch{}, err
	}
	if e.MetaIdentity, err = age.GenerateHybridIdentity(); err != nil {
		return Epoch{}, err
	}
	if e.Polynomial, err = chunk.NewPolynomial(); err != nil {
		return Epoch{}, fmt.Errorf("choosing a polynomial: %w", err)
	}
	e.DataRecipient = e.DataIdentity.Recipient()
	rand.Read(e.DataKey[:])
	rand.Read(e.MetaKey[:])
	rand.Read(e.DerivationKey[:])
	e.Signature = ed25519.Sign(k.SignKey, e.commitment(k.Repository))
	return e, nil
}

// AddEpoch appends an epoch that NewEpoch made.
func (k *Keyring) AddEpoch(e Epoch) error {
	if k.Role != RoleOwner {
		return errors.New("only an owner can add an epoch")
	}
	if err := k.checkEpoch(&e, len(k.Epochs)+1); err != nil {
		return err
	}
	k.Epochs = append(slices.Clip(k.Epochs), e)
	return nil
}

// Merge takes from other what k lacks: later epochs and, where k is an update, the holder's name and keys. Both are
// views of one repository. An epoch that is forged, or not the one that k knows, is an error that leaves k as it was.
// A writer's keyring never gets what reads content, and an owner's takes no epoch without it.
func (k *Keyring) Merge(other *Keyring) error {
	if k.SignKey == nil && other.SignKey != nil {
		whole := *other
		if err := whole.Merge(k); err != nil {
			return err
		}
		*k = whole
		return nil
	}
	if k.Repository != other.Repository || !k.OwnerKey.Equal(other.OwnerKey) {
		return errors.New("the keyrings are of different repositories")
	}
	epochs := slices.Clone(k.Epochs)
	for _, e := range other.Epochs {
		known := k.Epoch(e.Number)
		switch {
		case k.Role == RoleWriter:
			e.DataIdentity = nil
		case e.DataIdentity == nil && known != nil:
			e.DataIdentity = known.DataIdentity
		case e.DataIdentity == nil:
			continue
		}
		at := int(e.Number)
		if known == nil {
			at = len(epochs) + 1
		}
		if err := k.checkEpoch(&e, at); err != nil {
			return err
		}
		if known == nil {
			epochs = append(epochs, e)
		} else if !bytes.Equal(e.commitment(k.Repository), known.commitment(k.Repository)) {
			return fmt.Errorf("epoch %d: two different sets of keys", e.Number)
		}
	}
	k.Epochs = epochs
	return nil
}

// CurrentEpoch returns the newest epoch, under whose keys everything new is stored.
func (k *Keyring) CurrentEpoch() *Epoch { return &k.Epochs[len(k.Epochs)-1] }

// Epoch returns epoch n, or nil where the keyring does not hold it.
func (k *Keyring) Epoch(n uint32) *Epoch {
	if n == 0 || uint64(n) > uint64(len(k.Epochs)) {
		return nil
	}
	return &k.Epochs[n-1]
}

// MetaIdentities returns what opens all that is not content, the newest first.
func (k *Keyring) MetaIdentities() []age.Identity {
	var ids []age.Identity
	for _, e := range slices.Backward(k.Epochs) {
		ids = append(ids, k.opener(e.MetaIdentity))
	}
	return ids
}

// DataIdentities returns what opens content, the newest first: nil for a writer.
func (k *Keyring) DataIdentities() []age.Identity {
	var ids []age.Identity
	for _, e := range slices.Backward(k.Epochs) {
		if e.DataIdentity != nil {
			ids = append(ids, k.opener(e.DataIdentity))
		}
	}
	return ids
}

func (k *Keyring) opener(id *age.HybridIdentity) age.Identity {
	if k.fileKeys == nil {
		return id
	}
	return opener{id, k.fileKeys}
}

// CanRead reports whether the keyring opens stored content.
func (k *Keyring) CanRead() bool { return k.Role == RoleOwner }

// DeriveKey returns a key for one purpose: the HKDF-SHA-256 of the first epoch's derivation key, with the repository's ID as the
// salt and the purpose as the info. Whoever holds any of the repository's keyrings has it, and a rotation does not change it.
func (k *Keyring) DeriveKey(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, k.Epochs[0].DerivationKey[:], k.Repository[:], purpose, sha256.Size)
	if err != nil { // only for a length that is too great
		panic(err)
	}
	return key
}

// checkEpoch returns an error unless e can stand in place n, is complete, and the owner signed it.
func (k *Keyring) checkEpoch(e *Epoch, n int) error {
	fail := func(what string) error { return fmt.Errorf("epoch %d: %s", e.Number, what) }
	switch {
	case int64(e.Number) != int64(n):
		return fmt.Errorf("epoch %d stands in the place of epoch %d", e.Number, n)
	case n > MaxEpochs:
		return cause.Errorf(cause.TooManyEpochs, "a repository has at most %d epochs of keys", MaxEpochs)
	case e.DataRecipient == nil || e.MetaIdentity == nil:
		return fail("keys are missing")
	case k.Role == RoleOwner && e.DataIdentity == nil:
		return fail("an owner's keyring lacks the data identity")
	case k.Role == RoleWriter && e.DataIdentity != nil:
		return fail("a writer's keyring has a data identity")
	case e.DataIdentity != nil && e.DataIdentity.Recipient().String() != e.DataRecipient.String():
		return fail("data identity and data recipient do not belong together")
	case !ed25519.Verify(k.OwnerKey, e.commitment(k.Repository), e.Signature):
		return fail("the owner did not sign these keys")
	}
	if err := chunk.CheckPolynomial(e.Polynomial); err != nil {
		return fmt.Errorf("epoch %d: polynomial: %w", e.Number, err)
	}
	return nil
}

// isUpdate reports whether k brings epochs and no more.
func (k *Keyring) isUpdate() bool {
	return k.Role == RoleWriter && k.Name == "" && k.SignKey == nil && k.Identity == nil
}

// check returns an error unless k is valid. An update is.
func (k *Keyring) check() error {
	switch {
	case k.Role != RoleOwner && k.Role != RoleWriter:
		return fmt.Errorf("unknown role %q", k.Role)
	case k.Repository == [32]byte{}:
		return errors.New("no repository ID")
	case len(k.OwnerKey) != ed25519.PublicKeySize:
		return fmt.Errorf("owner key has %d bytes, want %d", len(k.OwnerKey), ed25519.PublicKeySize)
	case len(k.Epochs) == 0:
		return errors.New("no epoch")
	}
	if !k.isUpdate() {
		if len(k.SignKey) != ed25519.PrivateKeySize {
			return fmt.Errorf("signing key has %d bytes, want %d", len(k.SignKey), ed25519.PrivateKeySize)
		}
		if k.OwnerKey.Equal(k.SignKey.Public()) != (k.Role == RoleOwner) {
			return errors.New("the signing key is not that of the role")
		}
		if err := CheckName(k.Name); err != nil {
			return err
		}
	}
	for i := range k.Epochs {
		if err := k.checkEpoch(&k.Epochs[i], i+1); err != nil {
			return err
		}
	}
	return nil
}

// CheckName returns an error unless s can be a name on the roster: 1 to 100 bytes of printable characters, with no space at the ends.
func CheckName(s string) error {
	switch {
	case s == "":
		return errors.New("a key needs a name")
	case len(s) > maxName:
		return fmt.Errorf("a key's name has at most %d bytes", maxName)
	case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }), strings.TrimSpace(s) != s:
		return fmt.Errorf("%q can't be a key's name: only printable characters, and no space at the ends", s)
	}
	return nil
}

// String describes the keyring without its secrets.
func (k Keyring) String() string {
	return fmt.Sprintf("%s keyring %q of repository %s…", k.Role, k.Name, store.Name(k.Repository).Short())
}

// Format writes what String returns, whatever the verb: %d or %x would print the keys.
func (k Keyring) Format(s fmt.State, _ rune) { io.WriteString(s, k.String()) }

// String describes the epoch without its secrets.
func (e Epoch) String() string { return fmt.Sprintf("epoch %d", e.Number) }

// Format writes what String returns, whatever the verb.
func (e Epoch) Format(s fmt.State, _ rune) { io.WriteString(s, e.String()) }

var errSecret = errors.New("a keyring is written to key files only")

// MarshalText always fails, so that no encoder and no structured log writes the keys out. Files are made by KeyFile.
func (k Keyring) MarshalText() ([]byte, error) { return nil, errSecret }

// MarshalText always fails, like that of a Keyring.
func (e Epoch) MarshalText() ([]byte, error) { return nil, errSecret }
