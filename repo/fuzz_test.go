package repo

import (
	"bytes"
	"testing"

	"permafrost/internal/fuzzing"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/keys/keystest"
	"permafrost/repo/ledger"
)

// A manifest that would decompress to more than it may is refused without the memory for it.
func TestBombs(t *testing.T) {
	k := keystest.Read(t, "keys/testdata/recovery.txt")
	announced, silent := fuzzing.Bomb(t)
	for name, b := range map[string][]byte{"announced": announced, "silent": silent} {
		stored, err := k.Seal(k.CurrentEpoch(), keys.KindManifest, b)
		if err != nil {
			t.Fatal(err)
		}
		fuzzing.Bound(t, 8*core.MaxManifest, func() {
			if _, err := core.OpenManifest((*keys.Keyring).Unseal, k, ledger.SnapshotRef{Signer: k.VerifyKey()}, stored); err == nil {
				t.Errorf("%s: a manifest of 128 MiB is taken", name)
			}
		})
	}
}

// FuzzManifestObject opens manifests whose signer put anything into them.
func FuzzManifestObject(f *testing.F) {
	k := keystest.Read(f, "keys/testdata/recovery.txt")
	open := func(body []byte) ([]byte, error) {
		stored, err := k.Seal(k.CurrentEpoch(), keys.KindManifest, body)
		if err != nil {
			return nil, err
		}
		return core.OpenManifest((*keys.Keyring).Unseal, k, ledger.SnapshotRef{Signer: k.VerifyKey()}, stored)
	}
	fuzzing.Seed(f, func(b []byte) error { _, err := open(b); return err },
		pack.Compress([]byte(`{"format":1}`)), pack.Compress(bytes.Repeat([]byte("all the same "), 700)))
	f.Fuzz(func(t *testing.T, body []byte) {
		text, err := open(body)
		if err == nil && len(text) > core.MaxManifest {
			t.Errorf("%d bytes", len(text))
		}
	})
}
