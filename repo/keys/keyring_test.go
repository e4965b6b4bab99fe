package keys_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"filippo.io/age"

	"permafrost/repo/keys"
)

// goldenFingerprint is that of the keyrings in testdata.
const goldenFingerprint = "ijvq-wycv-up5w-xnun-4xjw-a43g-5hb3-vwns"

func newOwner(t testing.TB, epochs int) *keys.Keyring {
	t.Helper()
	k, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	for range epochs - 1 {
		addEpoch(t, k)
	}
	return k
}

func addEpoch(t testing.TB, k *keys.Keyring) {
	t.Helper()
	e, err := k.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.AddEpoch(e); err != nil {
		t.Fatal(err)
	}
}

func newWriter(t testing.TB, owner *keys.Keyring, name string) *keys.Keyring {
	t.Helper()
	w, err := owner.NewWriter(name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func keyFile(t testing.TB, k *keys.Keyring) []byte {
	t.Helper()
	data, err := k.KeyFile()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func goldenKeyring(t testing.TB, name string) *keys.Keyring {
	t.Helper()
	k, err := keys.ParseFile(golden(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// wantError fails unless err speaks of every one of the words.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one of %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func TestNewKeyrings(t *testing.T) {
	owner := newOwner(t, 2)
	writer := newWriter(t, owner, "web1")
	if owner.Role != keys.RoleOwner || owner.Name != keys.RecoveryName || owner.Identity == nil || !owner.CanRead() {
		t.Errorf("owner is %v", owner)
	}
	if writer.Role != keys.RoleWriter || writer.Name != "web1" || writer.Identity == nil || writer.CanRead() {
		t.Errorf("writer is %v", writer)
	}
	if writer.SignKey.Equal(owner.SignKey) || writer.Identity.String() == owner.Identity.String() {
		t.Error("the writer has keys that are the owner's own")
	}
	if n := len(owner.DataIdentities()); n != 2 {
		t.Errorf("owner has %d data identities, want 2", n)
	}
	if ids := writer.DataIdentities(); ids != nil {
		t.Errorf("writer has %d data identities", len(ids))
	}
	for i := range writer.Epochs {
		if writer.Epochs[i].DataIdentity != nil {
			t.Errorf("writer has the data identity of epoch %d", i+1)
		}
	}
	for _, k := range []*keys.Keyring{owner, writer} {
		if ids := k.MetaIdentities(); len(ids) != 2 || fmt.Sprint(ids[0]) != k.Epochs[1].MetaIdentity.String() {
			t.Errorf("%v: meta identities do not begin with the newest", k)
		}
		if k.CurrentEpoch() != &k.Epochs[1] || k.Epoch(1) != &k.Epochs[0] || k.Epoch(0) != nil || k.Epoch(3) != nil || k.Epoch(1<<32-1) != nil {
			t.Errorf("%v: wrong epochs", k)
		}
	}
	if a, b := newOwner(t, 1), newOwner(t, 1); a.Repository == b.Repository || a.Epochs[0].DataKey == b.Epochs[0].DataKey ||
		a.Epochs[0].DataKey == a.Epochs[0].MetaKey || a.Epochs[0].DerivationKey == a.Epochs[0].MetaKey {
		t.Error("keys are not random")
	}
}

func TestWriterMakesNobody(t *testing.T) {
	w := newWriter(t, newOwner(t, 1), "web1")
	_, err := w.NewWriter("web2")
	wantError(t, err, "only an owner")
	_, err = w.ForOwner("eve")
	wantError(t, err, "only an owner")
	_, err = w.NewEpoch()
	wantError(t, err, "only an owner")
	wantError(t, w.AddEpoch(w.Epochs[0]), "only an owner")
}

func TestNames(t *testing.T) {
	k := newOwner(t, 1)
	for _, name := range []string{"web1.example", "Anna Müller", "東京", "a", strings.Repeat("x", 100), "<&>"} {
		if _, err := keys.ParseFile(keyFile(t, newWriter(t, k, name))); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", " a", "a\n", "a\nAGE-SECRET-KEY-1", "\x1b[2J", "a\u202eb", "\xff", strings.Repeat("x", 101)} {
		if _, err := k.NewWriter(name); err == nil {
			t.Errorf("name %q was taken", name)
		}
		if _, err := k.ForOwner(name); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
}

func TestAddEpoch(t *testing.T) {
	k := newOwner(t, 1)
	second, err := k.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	for what, forge := range forgeries(t) {
		e := second
		forge(&e)
		if err := k.AddEpoch(e); err == nil {
			t.Errorf("%s: was taken", what)
		}
	}
	if len(k.Epochs) != 1 {
		t.Fatalf("a refused epoch was added")
	}
	if err := k.AddEpoch(second); err != nil {
		t.Fatal(err)
	}
	wantError(t, k.AddEpoch(second), "epoch 2", "epoch 3")
}

// forgeries change one thing about an epoch, each in a way that its signature must not let pass.
func forgeries(t *testing.T) map[string]func(*keys.Epoch) {
	other := newOwner(t, 1).Epochs[0]
	return map[string]func(*keys.Epoch){
		"number":         func(e *keys.Epoch) { e.Number++ },
		"number 0":       func(e *keys.Epoch) { e.Number = 0 },
		"data keys":      func(e *keys.Epoch) { e.DataIdentity, e.DataRecipient = other.DataIdentity, other.DataRecipient },
		"data identity":  func(e *keys.Epoch) { e.DataIdentity = other.DataIdentity },
		"data recipient": func(e *keys.Epoch) { e.DataRecipient = other.DataRecipient },
		"no recipient":   func(e *keys.Epoch) { e.DataRecipient = nil },
		"meta identity":  func(e *keys.Epoch) { e.MetaIdentity = other.MetaIdentity },
		"no meta":        func(e *keys.Epoch) { e.MetaIdentity = nil },
		"data key":       func(e *keys.Epoch) { e.DataKey[31] ^= 1 },
		"meta key":       func(e *keys.Epoch) { e.MetaKey[0] ^= 0x80 },
		"keys exchanged": func(e *keys.Epoch) { e.DataKey, e.MetaKey = e.MetaKey, e.DataKey },
		"derivation key": func(e *keys.Epoch) { e.DerivationKey = [32]byte{} },
		"polynomial":     func(e *keys.Epoch) { e.Polynomial = other.Polynomial },
		"no signature":   func(e *keys.Epoch) { e.Signature = nil },
		"signature":      func(e *keys.Epoch) { e.Signature = other.Signature },
	}
}

func TestMerge(t *testing.T) {
	owner := newOwner(t, 1)
	old := newWriter(t, owner, "web1")
	oldOwner, err := owner.ForOwner("anna")
	if err != nil {
		t.Fatal(err)
	}
	addEpoch(t, owner)
	addEpoch(t, owner)

	for what, update := range map[string]*keys.Keyring{"update": owner.ForWriter(), "owner's": owner, "another writer's": newWriter(t, owner, "web2")} {
		w := *old
		if err := w.Merge(update); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want := *newWriter(t, owner, "web1")
		want.SignKey, want.Identity = old.SignKey, old.Identity
		if !bytes.Equal(keyFile(t, &w), keyFile(t, &want)) {
			t.Errorf("%s: the writer is not what it should be after three epochs", what)
		}
		if err := w.Merge(update); err != nil || len(w.Epochs) != 3 {
			t.Errorf("%s, once more: %d epochs, %v", what, len(w.Epochs), err)
		}
		if err := w.Merge(old); err != nil || len(w.Epochs) != 3 {
			t.Errorf("%s, then an old one: %d epochs, %v", what, len(w.Epochs), err)
		}
	}
	if len(old.Epochs) != 1 {
		t.Error("merging into a copy changed the original")
	}

	if err := oldOwner.Merge(owner.ForWriter()); err != nil || len(oldOwner.Epochs) != 1 {
		t.Errorf("an owner took %d epochs that it can't read, %v", len(oldOwner.Epochs)-1, err)
	}
	if err := oldOwner.Merge(owner); err != nil || len(oldOwner.DataIdentities()) != 3 || oldOwner.Name != "anna" || oldOwner.Identity != nil {
		t.Errorf("after merging the owner's: %v with %d epochs, %v", oldOwner, len(oldOwner.Epochs), err)
	}
}

func TestMergeIntoUpdate(t *testing.T) {
	owner := newOwner(t, 1)
	writer := newWriter(t, owner, "web1")
	addEpoch(t, owner)
	for _, whole := range []*keys.Keyring{writer, owner} {
		k := owner.ForWriter()
		if err := k.Merge(whole); err != nil {
			t.Fatal(err)
		}
		if k.Role != whole.Role || k.Name != whole.Name || len(k.Epochs) != 2 {
			t.Errorf("got %v with %d epochs", k, len(k.Epochs))
		}
		if _, err := k.KeyFile(); err != nil {
			t.Error(err)
		}
	}
	if len(writer.Epochs) != 1 {
		t.Error("the keyring merged from was changed")
	}
}

func TestMergeForged(t *testing.T) {
	owner := newOwner(t, 2)
	writer := newWriter(t, owner, "web1")
	behind := newWriter(t, owner, "web1")
	behind.Epochs = behind.Epochs[:1]
	for what, forge := range forgeries(t) {
		update := owner.ForWriter()
		e := owner.Epochs[1]
		forge(&e)
		e.DataIdentity = nil
		update.Epochs[1] = e
		for _, w := range []*keys.Keyring{writer, behind} {
			n := len(w.Epochs)
			if err := w.Merge(update); err == nil && what != "data identity" {
				t.Errorf("%s: was taken", what)
			}
			if what != "data identity" && len(w.Epochs) != n {
				t.Errorf("%s: a refused epoch was added", what)
			}
		}
		behind.Epochs = behind.Epochs[:1]

		update = newOwnerView(owner)
		forge(&update.Epochs[1])
		one := newOwnerView(owner)
		one.Epochs = one.Epochs[:1]
		if err := one.Merge(update); err == nil {
			t.Errorf("%s: an owner took it", what)
		}
	}

	// A second set of keys that the owner did sign: two rotations at once.
	a, b := newOwnerView(owner), newOwnerView(owner)
	addEpoch(t, a)
	addEpoch(t, b)
	wantError(t, a.Merge(b), "epoch 3", "two different")

	gap := owner.ForWriter()
	addEpoch(t, owner)
	gap.Epochs = append(gap.Epochs[:1], owner.ForWriter().Epochs[2])
	one := newWriter(t, owner, "web1")
	one.Epochs = one.Epochs[:1]
	wantError(t, one.Merge(gap), "epoch 3 stands in the place of epoch 2")

	wantError(t, writer.Merge(newOwner(t, 1)), "different repositories")
	stranger := newOwner(t, 1)
	stranger.Repository = writer.Repository
	wantError(t, writer.Merge(stranger.ForWriter()), "different repositories")
}

func newOwnerView(k *keys.Keyring) *keys.Keyring {
	c := *k
	c.Epochs = append([]keys.Epoch(nil), k.Epochs...)
	return &c
}

func TestManyEpochs(t *testing.T) {
	k := newOwner(t, 24)
	w := newWriter(t, k, strings.Repeat("x", 100))
	for _, k := range []*keys.Keyring{k, w} {
		data := keyFile(t, k)
		if _, err := keys.ParseFile(data); err != nil {
			t.Error(err)
		}
		if _, err := age.ParseIdentities(bytes.NewReader(data)); err != nil {
			t.Errorf("as an age identity file: %v", err)
		}
		if _, err := keys.Wrap(k, w.Identity.Recipient()); err != nil {
			t.Error(err)
		}
	}
	e, err := k.NewEpoch()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, k.AddEpoch(e), "at most 24")
}
