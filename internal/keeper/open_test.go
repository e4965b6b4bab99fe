package keeper_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"permafrost/internal/keeper"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// made returns a repository that was just made, and the files of its keys.
func made(t *testing.T, o keeper.InitOptions) (store.Store, keeper.InitOptions, *keeper.NewRepository) {
	t.Helper()
	st, dir := storetest.NewMem(t), t.TempDir()
	o.Recovery, o.Writer, o.Name = filepath.Join(dir, "recovery.key"), filepath.Join(dir, "writer.key"), "web1"
	n, err := keeper.Init(t.Context(), st, o, deaf{})
	if err != nil {
		t.Fatal(err)
	}
	return st, o, n
}

// Whoever opens a repository reads its config once, and learns what is wrong with the keys at hand.
func TestOpen(t *testing.T) {
	st, files, _ := made(t, keeper.InitOptions{})
	_, other, _ := made(t, keeper.InitOptions{})
	none := filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct {
		o    keeper.OpenOptions
		want any // what the error is, by errors.As or errors.Is; nil for none
	}{
		"the host's key":        {keeper.OpenOptions{WriterKey: files.Writer}, nil},
		"the owner's":           {keeper.OpenOptions{WriterKey: none, Identities: []string{files.Recovery}, Need: keeper.ContentKey}, nil},
		"the owner's, a host":   {keeper.OpenOptions{WriterKey: none, Identities: []string{files.Recovery}, Need: keeper.HostKey}, nil},
		"content by the host's": {keeper.OpenOptions{WriterKey: files.Writer, Need: keeper.ContentKey}, new(*keys.MissingKeyError)},
		"none":                  {keeper.OpenOptions{WriterKey: none}, new(*keeper.NoWriterError)},
		"none is named":         {keeper.OpenOptions{}, new(*keeper.NoWriterError)},
		"another's":             {keeper.OpenOptions{WriterKey: other.Writer}, new(*keeper.KeyFileError)},
		"the key itself":        {keeper.OpenOptions{Identities: []string{"age-secret-key-1qqq"}}, keeper.ErrKeyText},
		"a passphrase":          {keeper.OpenOptions{Identities: []string{keeper.PassphraseWord}}, errors.New("")},
		"a fingerprint":         {keeper.OpenOptions{WriterKey: files.Writer, Fingerprint: "another"}, new(*repo.FingerprintError)},
	} {
		reads := 0
		hook := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
			if op.Kind == "ReadAt" && op.Name == store.ConfigObject {
				reads++
			}
			return storetest.None
		}}
		_, err := keeper.Open(t.Context(), hook, c.o, deaf{})
		fits := err == nil
		switch want := c.want.(type) {
		case nil:
		case error:
			fits = err != nil && (errors.Is(err, want) || want.Error() == "")
		default:
			fits = errors.As(err, want)
		}
		if !fits || reads != 1 {
			t.Errorf("%s: %v; the config was read %d times", name, err, reads)
		}
	}
	if _, err := keeper.Open(t.Context(), storetest.NewMem(t), keeper.OpenOptions{WriterKey: files.Writer}, deaf{}); !errors.Is(err, repo.ErrNoRepository) {
		t.Errorf("an empty storage: %v", err)
	}
}

// Keys from the storage are trusted by a fingerprint, which this machine remembers once it was given.
func TestFingerprint(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	to := keeper.Recipient{To: id.Recipient(), Text: id.Recipient().String()}
	st, _, n := made(t, keeper.InitOptions{Owners: []keeper.Recipient{to}})
	file, state := filepath.Join(t.TempDir(), "id.txt"), t.TempDir()
	if err := os.WriteFile(file, []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(fingerprint, state string) error {
		_, err := keeper.Open(t.Context(), st, keeper.OpenOptions{Identities: []string{file}, Fingerprint: fingerprint, StateDir: state}, deaf{})
		return err
	}
	refused := func(err error, want, file string) {
		t.Helper()
		var e *repo.FingerprintError
		if !errors.As(err, &e) || e.Want != want || e.Got != n.Fingerprint || e.File != file {
			t.Errorf("%v (%+v), want %q and %q", err, e, want, file)
		}
	}
	pin := filepath.Join(state, n.Repository[:16], "fingerprint")
	other := "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaa"
	refused(open("", ""), "", "")
	refused(open("", state), "", "")
	refused(open(other, state), other, "")
	for range 2 {
		if err := open(n.Fingerprint, ""); err != nil {
			t.Error(err)
		}
		refused(open("", state), "", "") // nothing is remembered elsewhere
	}
	for _, f := range []string{n.Fingerprint, "", ""} {
		if err := open(f, state); err != nil {
			t.Error(err)
		}
	}
	for text, want := range map[string]func(error){
		other: func(err error) { refused(err, other, pin) },
		"x": func(err error) {
			if e := (*cause.Error)(nil); !errors.As(err, &e) || e.Cause != cause.FingerprintUnread {
				t.Error(err)
			}
		},
	} {
		if err := os.WriteFile(pin, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		want(open("", state))
		if err := open(n.Fingerprint, state); err != nil {
			t.Error(err)
		}
		if data, err := os.ReadFile(pin); err != nil || string(data) != fmt.Sprintln(n.Fingerprint) {
			t.Errorf("it remembers %q: %v", data, err)
		}
	}
}
