package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"permafrost/internal/escape"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// PassphraseWord stands for a passphrase in the place of a key file's name or a recipient.
const PassphraseWord = "passphrase"

// A Need says which of the keys at hand a repository is opened with.
type Need int

// The needs.
const (
	AnyKey     Need = iota // the identity that was given, else the host's key
	HostKey                // the host's key, else the identity
	ContentKey             // one that reads content
)

// OpenOptions say how a repository is opened.
type OpenOptions struct {
	Need        Need
	Identities  []string     // names of key files, or PassphraseWord
	WriterKey   string       // name of the host's key file, which may be absent; "" for none
	Fingerprint string       // as keys.ParseFingerprint returns it; "" for the one that this machine remembers
	Prompt      keys.Prompt  // reaches the person at hand
	StateDir    string       // where this machine remembers repositories; "" nowhere
	CacheDir    string       // where it keeps what can be had again; "" nowhere
	AcceptHead  bool         // as repo.Options has it
	Head        *ledger.Head // likewise
}

// Open opens the repository in a store, with the key at hand that serves the need, and tells what is wrong with its log. Its errors
// are a [KeyFileError], [ErrKeyText], and those of [repo.Find], [keys.LoadIdentity], [repo.Unlock], [repo.Trust] and [repo.Open].
func Open(ctx context.Context, st store.Store, o OpenOptions, news Observer) (*repo.Repo, error) {
	name, err := repo.Find(ctx, st) // asked first, nobody types a passphrase for nothing
	if err != nil {
		return nil, err
	}
	warn := func(text string) { news.Found(warning("%s", text)) }
	id, err := o.loadKey(warn)
	if err != nil {
		return nil, err
	}
	trust := repo.Trust{Fingerprint: o.Fingerprint, StateDir: o.StateDir, Note: warn}
	k, err := repo.Unlock(ctx, st, id, trust.FromStorage)
	if err != nil {
		return nil, misfit(err, id.Files)
	}
	if o.Need == ContentKey && !k.CanRead() {
		return nil, &keys.MissingKeyError{Need: "the owner key: the recovery file", For: "reading content"}
	}
	if id.Keyring != nil {
		if err := trust.FromFile(k); err != nil {
			return nil, err
		}
	}
	r, err := repo.Open(ctx, st, k, repo.Options{
		StateDir: o.StateDir, CacheDir: o.CacheDir, AcceptHead: o.AcceptHead, Head: o.Head, Identities: id.Identities, ID: name,
		Prompt: o.Prompt, Note: warn,
	})
	if err != nil {
		return nil, misfit(err, id.Files)
	}
	for _, err := range r.Damage() {
		news.Found(warning("the log is damaged: %w", err))
	}
	return r, nil
}

// A KeyFileError says that a key file does not fit the repository.
type KeyFileError struct {
	Files string // the names of the files that the key was read from
	Err   error  // a repo.ForeignKeyError or a keys.MissingKeyError
}

func (e *KeyFileError) Error() string {
	return "key file " + escape.Name(e.Files) + ": " + e.Err.Error()
}
func (e *KeyFileError) Unwrap() error { return e.Err }

// misfit names the files that a key was read from where it does not fit the repository.
func misfit(err error, files string) error {
	var foreign *repo.ForeignKeyError
	var missing *keys.MissingKeyError
	if files != "" && (errors.As(err, &foreign) || errors.As(err, &missing)) {
		return &KeyFileError{files, err}
	}
	return err
}

// ErrKeyText says that a key was given where the name of a key file belongs.
var ErrKeyText = errors.New("a key was given where a key file's name belongs")

// loadKey reads the key files that serve the need. warn hears what is to be mended about them.
func (o *OpenOptions) loadKey(warn func(string)) (*keys.Identity, error) {
	for _, path := range append([]string{o.WriterKey}, o.Identities...) {
		if isKeyText(path) { // not to be quoted in an error
			return nil, ErrKeyText
		}
	}
	_, err := os.Stat(o.WriterKey)
	haveWriter := o.WriterKey != "" && !errors.Is(err, fs.ErrNotExist)
	switch {
	case len(o.Identities) > 0 && (o.Need != HostKey || !haveWriter):
		return o.loadIdentities(warn)
	case !haveWriter:
		return nil, &NoWriterError{o.WriterKey}
	}
	return o.loadIdentity(o.WriterKey, warn)
}

// A NoWriterError says that no key was given, and that this host has none. It is a keys.MissingKeyError.
type NoWriterError struct{ Path string }

func (e *NoWriterError) Error() string { return e.Unwrap().Error() }
func (e *NoWriterError) Unwrap() error {
	return &keys.MissingKeyError{Need: "a key, and there is none at " + e.Path, For: "opening the repository"}
}

// isKeyText reports whether a file's name is none but a key, or lines of a key file.
func isKeyText(path string) bool {
	upper := strings.ToUpper(path)
	return strings.Contains(upper, "AGE-SECRET-KEY-") || strings.Contains(upper, "AGE-PLUGIN-") || strings.ContainsAny(path, "\r\n")
}

// loadIdentities reads all files that were given: a keyring, or identities that may open one.
func (o *OpenOptions) loadIdentities(warn func(string)) (*keys.Identity, error) {
	all, files := new(keys.Identity), []string(nil)
	for _, path := range o.Identities {
		id, err := o.loadIdentity(path, warn)
		if err != nil || id.Keyring != nil {
			return id, err
		}
		all.Identities = append(all.Identities, id.Identities...)
		if id.Files != "" {
			files = append(files, id.Files)
		}
	}
	all.Files = strings.Join(files, ", ")
	return all, nil
}

func (o *OpenOptions) loadIdentity(path string, warn func(string)) (*keys.Identity, error) {
	if path == PassphraseWord {
		if o.Prompt.Passphrase == nil {
			return nil, errors.New("nobody can be asked for the passphrase")
		}
		pass, err := o.Prompt.Passphrase("Passphrase")
		if err != nil {
			return nil, err
		}
		return keys.PassphraseIdentity(pass)
	}
	id, err := keys.LoadIdentity(path, o.Prompt)
	if err != nil {
		return nil, err
	}
	if id.Warning != "" {
		warn(id.Warning)
	}
	return id, nil
}

// KeyringFile returns which of the files at hand holds the keyring that Open opens a repository with; "" where an identity does.
func (o *OpenOptions) KeyringFile() (string, error) {
	files := o.Identities
	if len(files) == 0 {
		files = []string{o.WriterKey}
	}
	for _, path := range files {
		if path == PassphraseWord {
			continue
		}
		id, err := keys.LoadIdentity(path, o.Prompt)
		if err != nil {
			return "", fmt.Errorf("looking for the keyring in use: %w", err)
		}
		if id.Keyring != nil {
			return path, nil
		}
	}
	return "", nil
}
