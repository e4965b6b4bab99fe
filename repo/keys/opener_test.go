package keys_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"filippo.io/age"

	"permafrost/repo/keys"
)

// A header that was unwrapped before opens as it did, with whichever identity fits, and does not open for whom it never opened for:
// also when more headers were seen than a keyring remembers.
func TestOpenedAgain(t *testing.T) {
	owner := newOwner(t, 2)
	writer, stranger := newWriter(t, owner, "web1"), newOwner(t, 1)
	seal := func(text string, to age.Recipient) []byte {
		var out bytes.Buffer
		w, err := age.Encrypt(&out, to)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	open := func(data []byte, ids []age.Identity) string {
		r, err := age.Decrypt(bytes.NewReader(data), ids...)
		if err != nil {
			return "closed"
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	files := make(map[string][]byte)
	for n := range 2 {
		files[fmt.Sprint("meta ", n)] = seal(fmt.Sprint("meta ", n), owner.Epochs[n].MetaIdentity.Recipient())
		files[fmt.Sprint("data ", n)] = seal(fmt.Sprint("data ", n), owner.Epochs[n].DataRecipient)
	}
	look := func() {
		t.Helper()
		for range 2 {
			for name, data := range files {
				want := map[bool]string{true: name, false: "closed"}
				meta, content := name[0] == 'm', name[0] == 'd'
				for _, k := range []*keys.Keyring{owner, writer, stranger} {
					if got := open(data, k.MetaIdentities()); got != want[meta && k != stranger] {
						t.Errorf("%s by the meta identities of %v: %s", name, k, got)
					}
					if ids := k.DataIdentities(); ids != nil {
						if got := open(data, ids); got != want[content && k == owner] {
							t.Errorf("%s by the data identities of %v: %s", name, k, got)
						}
					}
				}
			}
		}
	}
	look()
	cut := &keys.Keyring{}
	*cut = *owner
	cut.Epochs = cut.Epochs[:1]
	if open(files["meta 0"], cut.MetaIdentities()) != "meta 0" || open(files["meta 1"], cut.MetaIdentities()) != "closed" || open(files["data 1"], cut.DataIdentities()) != "closed" {
		t.Error("a keyring opens what another with more epochs has opened")
	}
	forged := bytes.Clone(files["meta 1"])
	forged[bytes.Index(forged, []byte("\n--- "))+6] ^= 1 // the header's MAC
	if got := open(forged, owner.MetaIdentities()); got != "closed" {
		t.Errorf("a header whose MAC is wrong: %s", got)
	}
	ids := owner.MetaIdentities()
	for n := range 9000 {
		stanza := &age.Stanza{Type: "other", Args: []string{fmt.Sprint(n)}}
		if _, err := ids[0].Unwrap([]*age.Stanza{stanza}); !errors.Is(err, age.ErrIncorrectIdentity) {
			t.Fatal(err)
		}
	}
	look()
}
