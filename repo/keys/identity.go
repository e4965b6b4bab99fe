package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"permafrost/repo/cause"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"
)

// An Identity is what a file given as -i or --writer-key holds: a whole keyring or, for one who brought a recipient of
// their own, the identities that open a keyring below keys/. One of Keyring and Identities is set. It hides its secrets from fmt.
type Identity struct {
	Keyring    *Keyring
	Identities []age.Identity
	Warning    string // what the person should mend about the file, or ""
	Files      string // the names of the files that it was read from, for messages; "" where there is none
}

// String tells what kind of identity it is.
func (id Identity) String() string {
	if id.Keyring != nil {
		return id.Keyring.String()
	}
	return fmt.Sprintf("%d age identities", len(id.Identities))
}

// A NoKeyError says that a file is not there, can't be read, or holds no key.
type NoKeyError struct{ Err error }

func (e *NoKeyError) Error() string { return e.Err.Error() }
func (e *NoKeyError) Unwrap() error { return e.Err }

// A Prompt reaches the person who has the keys. Its zero value reaches nobody: what would have to be asked fails.
type Prompt struct {
	Passphrase func(prompt string) ([]byte, error) // asks for a passphrase
	Plugin     plugin.ClientUI                     // hears what age plugins say, and answers what they ask. Nothing is escaped
}

// LoadIdentity reads a permafrost key file, an age identity file (X25519, post-quantum hybrid, plugin), either of them
// encrypted with a passphrase by age -p, or an SSH private key. For the passphrase of an SSH key person is
// asked only when an object was wrapped to that key. A file that holds no key is a NoKeyError.
func LoadIdentity(path string, person Prompt) (*Identity, error) {
	id, err := loadIdentity(path, person)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	id.Files = path
	return id, nil
}

func loadIdentity(path string, person Prompt) (*Identity, error) {
	data, info, err := readBounded(path)
	if err != nil {
		return nil, &NoKeyError{err}
	}
	if isEncrypted(data) {
		if data, err = decryptIdentity(data, path, person); err != nil {
			return nil, err
		}
	}
	id, err := parseIdentity(data, path, person)
	if err != nil {
		return nil, &NoKeyError{err}
	}
	if m := info.Mode().Perm(); info.Mode().IsRegular() && m&0o077 != 0 {
		id.Warning = fmt.Sprintf("key file %s can be read by others than its owner (mode %04o): chmod 600 %[1]s", path, m)
	}
	return id, nil
}

// readBounded reads a file that is no longer than a key file may be.
func readBounded(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the caller names the path
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = cause.Of(cause.KeyFileAbsent, err)
		}
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return nil, nil, cause.Errorf(cause.KeyFileDirectory, "is a directory")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(data) > maxKeyFile:
		return nil, nil, fmt.Errorf("longer than %d bytes: no key file is", maxKeyFile)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, nil, cause.Errorf(cause.KeyFileEmpty, "is empty")
	}
	return data, info, nil
}

const ageMagic = "age-encryption.org/"

// isEncrypted reports whether data is an age file, plain or armored.
func isEncrypted(data []byte) bool {
	return bytes.HasPrefix(data, []byte(ageMagic)) || bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header))
}

// decryptIdentity opens a key file that was encrypted with a passphrase.
func decryptIdentity(data []byte, path string, person Prompt) ([]byte, error) {
	var src io.Reader = bytes.NewReader(data)
	if !bytes.HasPrefix(data, []byte(ageMagic)) {
		src = armor.NewReader(src)
	}
	r, err := age.Decrypt(src, &promptIdentity{path, person})
	if noMatch := (*age.NoIdentityMatchError)(nil); errors.As(err, &noMatch) {
		return nil, cause.Of(cause.KeyFileEncrypted, errors.New("encrypted with age, but not with a passphrase"), path)
	}
	if err != nil {
		return nil, fmt.Errorf("decrypting it: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("decrypting it: %w", err)
	}
	return plain, nil
}

// A promptIdentity asks for a passphrase once it sees that one is wanted.
type promptIdentity struct {
	path   string
	person Prompt
}

func (p *promptIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	pass, err := p.person.passphrase(p.path)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		return nil, err
	}
	key, err := id.Unwrap(stanzas)
	if errors.Is(err, age.ErrIncorrectIdentity) {
		return nil, errors.New("wrong passphrase")
	}
	return key, err
}

// passphrase asks for the one of a key file.
func (p *Prompt) passphrase(path string) ([]byte, error) {
	if p.Passphrase == nil {
		return nil, errors.New("it is encrypted, and nobody can be asked for the passphrase")
	}
	pass, err := p.Passphrase("Passphrase for " + path)
	if err != nil {
		return nil, fmt.Errorf("asking for the passphrase: %w", err)
	}
	return pass, nil
}

// parseIdentity tells the kinds of key file apart.
func parseIdentity(data []byte, path string, person Prompt) (*Identity, error) {
	trimmed := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	switch {
	case isKeyFile(data):
		k, err := parseKeyFile(data)
		return &Identity{Keyring: k}, err
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN")):
		id, err := parseSSHKey(data, path, person)
		return &Identity{Identities: []age.Identity{id}}, err
	}
	ids, err := parseAgeIdentities(string(data), person)
	return &Identity{Identities: ids}, err
}

// parseAgeIdentities reads an age identity file. Errors do not quote lines, which may be secret.
func parseAgeIdentities(data string, person Prompt) (ids []age.Identity, err error) {
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(data, "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		var id age.Identity
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
			id, err = age.ParseHybridIdentity(line)
		case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
			id, err = age.ParseX25519Identity(line)
		case strings.HasPrefix(line, "AGE-PLUGIN-"):
			id, err = plugin.NewIdentity(line, &person.Plugin)
		case strings.HasPrefix(line, "age1"), isSSHPublic(line):
			return nil, cause.Errorf(cause.KeyFilePublic, "line %d is a public key", n)
		default:
			return nil, cause.Errorf(cause.KeyFileNoKey, "line %d is no key", n)
		}
		if err != nil {
			return nil, cause.Errorf(cause.KeyFileCut, "line %d: malformed key", n)
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, errors.New("holds no key, only comments")
	}
	return ids, nil
}

// isSSHPublic reports whether line is one of an authorized_keys or .pub file.
func isSSHPublic(line string) bool {
	for _, prefix := range []string{"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// parseSSHKey reads an SSH private key in PEM.
func parseSSHKey(data []byte, path string, person Prompt) (age.Identity, error) {
	if first, _, _ := bytes.Cut(bytes.TrimSpace(data), []byte("\n")); !bytes.Contains(first, []byte("PRIVATE KEY")) {
		return nil, cause.Errorf(cause.KeyFilePublic, "is no private key")
	}
	id, err := agessh.ParseIdentity(data)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		if err != nil {
			return nil, fmt.Errorf("SSH key: %w", err)
		}
		return id, nil
	}
	public := locked.PublicKey
	if public == nil { // the older formats hide it
		if public, err = readPublic(path + ".pub"); err != nil {
			return nil, cause.Of(cause.KeyFileOldSSH, fmt.Errorf("an encrypted SSH key in an old format, and its public key: %w", err), path)
		}
	}
	return agessh.NewEncryptedSSHIdentity(public, data, func() ([]byte, error) { return person.passphrase(path) })
}

func readPublic(path string) (ssh.PublicKey, error) {
	data, _, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, err
}

// PassphraseIdentity is the identity of one whose keyring was wrapped to a passphrase.
func PassphraseIdentity(passphrase []byte) (*Identity, error) {
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, err
	}
	// Each step doubles the memory that an object on a hostile storage makes us take: 256 MiB at scryptWork.
	id.SetMaxWorkFactor(scryptWork)
	return &Identity{Identities: []age.Identity{id}}, nil
}
