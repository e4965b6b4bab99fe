package pack

import (
	"bytes"
	"slices"
	"testing"

	"permafrost/repo/keys/keystest"

	"filippo.io/age"
)

// A stanzaRecipient adds whatever stanzas more gives for a file key.
type stanzaRecipient struct {
	*age.HybridRecipient
	more func(key []byte) []*age.Stanza
}

func (s stanzaRecipient) WrapWithLabels(key []byte) ([]*age.Stanza, []string, error) {
	stanzas, labels, err := s.HybridRecipient.WrapWithLabels(key)
	return append(stanzas, s.more(key)...), labels, err
}

// A pack is for the instance of its one mark, and for none where there is no such mark.
func TestPackMark(t *testing.T) {
	k := keystest.Read(t, "../../keys/testdata/recovery.txt")
	mark := func(body []byte) *age.Stanza { return &age.Stanza{Type: markStanza, Body: body} }
	for name, c := range map[string]struct {
		more func(key []byte) []*age.Stanza
		want string
	}{
		"one":       {func(key []byte) []*age.Stanza { return []*age.Stanza{mark(markOf(key, "a.example"))} }, "a.example"},
		"another's": {func(key []byte) []*age.Stanza { return []*age.Stanza{mark(markOf(key, "b.example"))} }, "b.example"},
		"none":      {func([]byte) []*age.Stanza { return nil }, ""},
		"empty":     {func([]byte) []*age.Stanza { return []*age.Stanza{mark(nil)} }, ""},
		"short":     {func(key []byte) []*age.Stanza { return []*age.Stanza{mark(markOf(key, "a.example")[:31])} }, ""},
		"long":      {func(key []byte) []*age.Stanza { return []*age.Stanza{mark(append(markOf(key, "a.example"), 0))} }, ""},
		"of another": {func(key []byte) []*age.Stanza {
			return []*age.Stanza{mark(markOf(bytes.Repeat([]byte{1}, len(key)), "a.example"))}
		}, ""},
		"of no name": {func(key []byte) []*age.Stanza { return []*age.Stanza{mark(markOf(key, ""))} }, ""},
		"for two": {func(key []byte) []*age.Stanza {
			return []*age.Stanza{mark(markOf(key, "a.example")), mark(markOf(key, "b.example"))}
		}, ""},
		"one twice": {func(key []byte) []*age.Stanza { return slices.Repeat([]*age.Stanza{mark(markOf(key, "a.example"))}, 2) }, ""},
	} {
		var out bytes.Buffer
		w, err := age.Encrypt(&out, stanzaRecipient{k.CurrentEpoch().DataRecipient, c.more})
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		opener := &Opener{Identities: k.DataIdentities()}
		if _, err := age.Decrypt(bytes.NewReader(out.Bytes()), opener); err != nil {
			t.Fatal(err)
		}
		if got := opener.Whose([]string{"", "a.example", "b.example"}); got != c.want {
			t.Errorf("%s: the pack is for %q, want %q", name, got, c.want)
		}
		// By hand, age opens it in any case.
		if _, err := age.Decrypt(bytes.NewReader(out.Bytes()), k.DataIdentities()...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
