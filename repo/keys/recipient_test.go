package keys_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"permafrost/repo/cause"
	"permafrost/repo/keys"
)

func TestBadRecipient(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	_, ecdsa := sshKey(t, "-t", "ecdsa", "-N", "")
	_, weak := sshKey(t, "-t", "rsa", "-b", "1024", "-N", "")
	_, ed := sshKey(t, "-t", "ed25519", "-N", "")
	pq := id.Recipient().String()
	for what, c := range map[string]struct {
		text, words string
		cause       cause.Cause
	}{
		"empty":            {" ", "empty", cause.RecipientUnknown},
		"private key":      {id.String(), "private key", cause.RecipientPrivate},
		"plugin identity":  {plugin.EncodeIdentity(pluginName, nil), "private key", cause.RecipientPrivate},
		"SSH private key":  {"-----BEGIN OPENSSH PRIVATE KEY-----", "private key", cause.RecipientPrivate},
		"file":             {keyPath(t, pq), "file's name", cause.RecipientFile},
		"text":             {"anna", "not a recipient", cause.RecipientUnknown},
		"cut":              {pq[:100], "malformed", cause.RecipientCut},
		"mistyped":         {pq[:40] + other(pq[40]) + pq[41:], "malformed", cause.RecipientCut},
		"mistyped X25519":  {"age1qqqqqq", "malformed", cause.RecipientCut},
		"mistyped plugin":  {"age1name1qqqqqq", "malformed", cause.RecipientCut},
		"two":              {pq + "\n" + pq, "more than one line", cause.RecipientLines},
		"ECDSA":            {ecdsa, "SSH keys of this type", cause.RecipientSSH},
		"FIDO":             {"sk-ssh-ed25519@openssh.com AAAA", "SSH keys of this type", cause.RecipientSSH},
		"short RSA":        {weak, "too small", ""},
		"cut SSH":          {ed[:40], "malformed SSH", ""},
		"another SSH type": {"ssh-dss AAAA", "SSH keys of this type", cause.RecipientSSH},
	} {
		t.Run(what, func(t *testing.T) {
			r, kind, weak, err := keys.ParseRecipient(c.text, keys.Prompt{})
			wantError(t, err, c.words)
			if r != nil || kind != "" || weak != "" {
				t.Errorf("%v, %q, %q beside an error", r, kind, weak)
			}
			if got, _ := told(err); c.cause != "" && got != c.cause {
				t.Errorf("the cause is %q, want %q", got, c.cause)
			}
			if strings.Contains(err.Error(), id.String()[20:40]) || len(err.Error()) > 500 {
				t.Errorf("the error quotes too much: %v", err)
			}
		})
	}
}

func TestMissingPlugin(t *testing.T) {
	to, _, _, err := keys.ParseRecipient(plugin.EncodeRecipient("pfabsent", []byte("x")), keys.Prompt{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.Wrap(newOwner(t, 1), to)
	wantError(t, err, "pfabsent")
	if c, facts := told(err); c != cause.PluginAbsent || !slices.Equal(facts, []string{"pfabsent"}) {
		t.Errorf("%q %q", c, facts)
	}
	id, err := keys.LoadIdentity(keyPath(t, plugin.EncodeIdentity("pfabsent", nil)), keys.Prompt{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.Unwrap(golden(t, "update.age"), id.Identities...)
	wantError(t, err, "pfabsent")
	if c, facts := told(err); c != cause.PluginAbsent || !slices.Equal(facts, []string{"pfabsent"}) {
		t.Errorf("%q %q", c, facts)
	}
}

func TestPassphrase(t *testing.T) {
	t.Parallel() // scrypt takes its second each time
	to, err := keys.NewPassphraseRecipient([]byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	owner := newOwner(t, 1)
	data, err := keys.Wrap(owner, to)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(" 18\n")) {
		t.Error("scrypt's work factor is not 18")
	}
	id, err := keys.PassphraseIdentity([]byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if k, err := keys.Unwrap(data, id.Identities...); err != nil || k.Fingerprint() != owner.Fingerprint() {
		t.Errorf("opening the keyring: %v", err)
	}
	plain := plaintext(t, golden(t, "update.age"), goldenKeyring(t, "writer.txt").Identity)
	other := lock(t, string(plain), false) // cheaper to try than what the repository makes
	var noMatch *age.NoIdentityMatchError
	if _, err := keys.Unwrap([]byte(other), id.Identities...); !errors.As(err, &noMatch) {
		t.Errorf("wrong passphrase: %v, want a NoIdentityMatchError", err)
	}
	// A storage must not make us take what memory it likes.
	greedy := bytes.Replace(data, []byte(" 18\n"), []byte(" 22\n"), 1)
	_, err = keys.Unwrap(greedy, id.Identities...)
	wantError(t, err, "work factor")

	if _, err := keys.NewPassphraseRecipient(nil); err == nil {
		t.Error("an empty passphrase was taken")
	}
	if _, err := keys.PassphraseIdentity(nil); err == nil {
		t.Error("an empty passphrase was taken")
	}
}

// other returns a letter of age's alphabet that is not c.
func other(c byte) string {
	if c == 'q' {
		return "p"
	}
	return "q"
}

// told returns the cause of an error, and its facts.
func told(err error) (cause.Cause, []string) {
	if e := (*cause.Error)(nil); errors.As(err, &e) {
		return e.Cause, e.Facts
	}
	return "", nil
}
