package backup

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"permafrost/internal/snaptest"
	"permafrost/repo/store"
	"permafrost/snapshot"
)

// A key that differs from that of the last snapshot is said at once, once, and kept in the manifest; neither a key nor anything
// that tells a password is.
func TestCreateComparesKeys(t *testing.T) {
	w, inst := newWorld(t), host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	var said []string
	create := func() *Result {
		said = nil
		return w.create(inst, Options{Skip: []string{"redis", "postgres"}, Warn: func(err error) { said = append(said, err.Error()) }})
	}
	first := create()
	if len(said) > 0 || len(first.Manifest.Secrets.Keys) != len(inst.Generated) || len(inst.Generated) < 5 {
		t.Errorf("the first says %q, of %d keys", said, len(inst.Generated))
	}
	data, err := json.Marshal(first.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range inst.Generated {
		if bytes.Contains(data, []byte(value)) {
			t.Errorf("the manifest holds %s", name)
		}
	}
	for name := range first.Manifest.Secrets.Keys {
		if strings.Contains(name, "PASS") {
			t.Errorf("%s is hashed", name)
		}
	}
	inst.Generated["OTP_SECRET"] = "another"
	delete(inst.Generated, "VAPID_PRIVATE_KEY")
	second := create()
	differ := func(s string) bool { return strings.HasPrefix(s, "the keys differ from those of the last snapshot") }
	i := slices.IndexFunc(said, differ)
	if i < 0 || !strings.Contains(said[i], ": OTP_SECRET, VAPID_PRIVATE_KEY. ") || !slices.ContainsFunc(second.Manifest.Warnings, differ) {
		t.Errorf("said %q, in the manifest %q", said, second.Manifest.Warnings)
	}
	inst.Generated["VAPID_PRIVATE_KEY"] = "new"
	create()
	if slices.ContainsFunc(said, differ) {
		t.Errorf("the third says %q", said)
	}
	want := []snapshot.SecretChange{{Kind: "M", Name: "OTP_SECRET"}, {Kind: "-", Name: "VAPID_PRIVATE_KEY"}}
	if got := snapshot.DiffSecrets(first.Manifest, second.Manifest); !slices.Equal(got, want) {
		t.Errorf("diff: %v", got)
	}
	inst.Warnings = []string{"SECRET_KEY_BASE missing"}
	create()
	if !slices.Contains(said, "SECRET_KEY_BASE missing") {
		t.Errorf("a missing secret is not said: %q", said)
	}
	var none store.Name
	for name, h := range first.Manifest.Secrets.Keys {
		if h == none {
			t.Errorf("%s has no hash", name)
		}
	}
}
