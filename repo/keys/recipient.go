package keys

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"permafrost/repo/cause"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/plugin"
)

// WeakPassphrase is the warning that belongs to a keyring wrapped to a passphrase.
const WeakPassphrase = "a passphrase opens it: whoever copies the storage can guess it offline"

// scryptWork is the binary logarithm of scrypt's N: 256 MiB and a second for each guess.
const scryptWork = 18

// NewPassphraseRecipient returns a recipient to which a keyring can be wrapped so that the passphrase opens it.
func NewPassphraseRecipient(passphrase []byte) (age.Recipient, error) {
	r, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(scryptWork)
	return r, nil
}

// ParseRecipient reads a person's recipient: age1… (X25519), age1pq1… (post-quantum hybrid), age1NAME1… (plugin), or an ssh-ed25519 or
// ssh-rsa public key. A plugin speaks to person. kind names the recipient for people. weak is a warning if a keyring wrapped to it
// is easier to open than the repository's other keyrings, else "".
func ParseRecipient(s string, person Prompt) (r age.Recipient, kind, weak string, err error) {
	const classic = "not post-quantum: a future quantum computer could open a copy of the storage made today"
	s = strings.TrimSpace(s)
	switch {
	case strings.ContainsAny(s, "\r\n"):
		return nil, "", "", cause.Errorf(cause.RecipientLines, "more than one line was given as a recipient")
	case strings.HasPrefix(s, "age1pq1"):
		kind = "post-quantum"
		r, err = age.ParseHybridRecipient(s)
	case strings.HasPrefix(s, "age1") && strings.Count(s, "1") > 1:
		var p *plugin.Recipient
		if p, err = plugin.NewRecipient(s, &person.Plugin); err == nil {
			r, kind = p, "plugin "+p.Name()
			weak = "as strong as what age-plugin-" + p.Name() + " does, which may be not post-quantum"
		}
	case strings.HasPrefix(s, "age1"):
		kind, weak = "X25519", classic
		r, err = age.ParseX25519Recipient(s)
	case strings.HasPrefix(s, "ssh-ed25519 "), strings.HasPrefix(s, "ssh-rsa "):
		kind, _, _ = strings.Cut(s, " ")
		weak = classic
		r, err = agessh.ParseRecipient(s)
	default:
		return nil, "", "", notRecipient(s)
	}
	switch {
	case err != nil && isSSHPublic(s):
		return nil, "", "", fmt.Errorf("recipient: %w", err)
	case err != nil: // age's own error repeats the recipient, which may be 2,000 letters long
		return nil, "", "", cause.Errorf(cause.RecipientCut, "malformed age recipient")
	}
	return r, kind, weak, nil
}

// notRecipient says what s is instead, without quoting it: it may be secret.
func notRecipient(s string) error {
	switch {
	case strings.HasPrefix(s, "AGE-"), strings.HasPrefix(s, "-----BEGIN"):
		return cause.Errorf(cause.RecipientPrivate, "a private key was given as a recipient")
	case isSSHPublic(s):
		return cause.Errorf(cause.RecipientSSH, "age can't encrypt to SSH keys of this type")
	case s == "":
		return cause.Errorf(cause.RecipientUnknown, "the recipient is empty")
	}
	if _, err := os.Stat(s); err == nil {
		return cause.Errorf(cause.RecipientFile, "a file's name was given as a recipient")
	}
	return cause.Errorf(cause.RecipientUnknown, "not a recipient")
}

// noPlugin adds to an error of age's, where a plugin was missing, what to do about it.
func noPlugin(err error) error {
	if missing := (*plugin.NotFoundError)(nil); errors.As(err, &missing) {
		return cause.Of(cause.PluginAbsent, err, missing.Name)
	}
	return err
}
