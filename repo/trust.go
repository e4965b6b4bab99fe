package repo

import (
	"fmt"

	"permafrost/repo/cause"
	"permafrost/repo/internal/machine"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// A Trust tells by the fingerprint whether keys are the repository's own. It remembers, on this machine, one that a person gave
// and that fitted.
type Trust struct {
	Fingerprint string            // as keys.ParseFingerprint returns it; "": nobody has given one
	StateDir    string            // where it is remembered; "": nowhere
	Note        func(note string) // hears why it is not remembered; may be nil
}

// pinFile is the file of state that holds the fingerprint.
const pinFile = "fingerprint"

// FromStorage accepts keys that lay in the storage, if they have the fingerprint that a person gave or this machine remembers. Without
// one it accepts none: age does not say who wrapped them, and a storage could have put its own in place. The error is a
// FingerprintError, or has cause.FingerprintUnread when what this machine remembers can't be read.
func (t *Trust) FromStorage(k *keys.Keyring) error { return t.accept(k, false) }

// FromFile is FromStorage for keys of a key file. Without a fingerprint it accepts them: the storage never had that file.
func (t *Trust) FromFile(k *keys.Keyring) error { return t.accept(k, true) }

func (t *Trust) accept(k *keys.Keyring, file bool) error {
	m := machine.Open(t.StateDir, "", store.Name(k.Repository))
	want := &FingerprintError{Want: t.Fingerprint, Got: k.Fingerprint()}
	if want.Want == "" {
		var err error
		if want.Want, err = pinned(m); err != nil {
			return err
		}
		if want.Want != "" {
			want.File = m.Path(pinFile)
		}
	}
	switch {
	case want.Want == "" && file:
		return nil
	case want.Want != want.Got:
		return want
	case t.Fingerprint == "":
		return nil
	}
	if err := m.Write(pinFile, []byte(want.Got+"\n")); err != nil && t.Note != nil {
		t.Note(fmt.Sprintf("the fingerprint is not remembered: %v", err))
	}
	return nil
}

// pinned returns the fingerprint that this machine remembers, "" for none.
func pinned(m *machine.Memory) (string, error) {
	data, err := m.Read(pinFile, 4<<10)
	if err != nil || data == nil {
		return "", pinError(m, err)
	}
	f, err := keys.ParseFingerprint(string(data))
	return f, pinError(m, err)
}

func pinError(m *machine.Memory, err error) error {
	if err == nil {
		return nil
	}
	return cause.Errorf(cause.FingerprintUnread, "the remembered fingerprint, %s, can't be read: %w", m.Path(pinFile), err)
}

// A FingerprintError says that keys are not known to be the repository's own.
type FingerprintError struct {
	Want string // the fingerprint that they should have; "": this machine knows none
	Got  string // the one that they have
	File string // path of the file that remembers Want; "": a person has given it, or nobody
}

func (e *FingerprintError) Error() string {
	if e.Want == "" {
		return "this machine does not know the repository's fingerprint, and can't tell whether its keys are genuine"
	}
	return fmt.Sprintf("the repository's keys have the fingerprint %s, not %s", e.Got, e.Want)
}
