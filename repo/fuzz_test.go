package repo

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"permafrost/internal/fuzzing"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/machine"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
)

// fuzzKeyring returns a keyring that is the same in every process, as a corpus that was found with it needs it.
func fuzzKeyring(tb testing.TB, file string) *keys.Keyring {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("keys", "testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	k, err := keys.ParseFile(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func fuzzOwner(tb testing.TB) *keys.Keyring { return fuzzKeyring(tb, "recovery.txt") }

// bomb returns 128 MiB of zeros, compressed: with its length in front or without.
func bomb(tb testing.TB) (announced, silent []byte) {
	tb.Helper()
	zeros := make([]byte, 1<<20)
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(1<<20))
	if err != nil {
		tb.Fatal(err)
	}
	for range 128 {
		if _, err := w.Write(zeros); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	// The same with a header that is a single segment of 128 MiB: descriptor, and four bytes of length.
	silent = out.Bytes()
	announced = append([]byte("\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x08"), silent[6:]...)
	return announced, silent
}

// A manifest that would decompress to more than it may is refused without the memory for it.
func TestBombs(t *testing.T) {
	k := fuzzOwner(t)
	r := &Repo{core: core.New(nil, k, new(machine.Memory), Options{}.log(), nil)}
	announced, silent := bomb(t)
	for name, b := range map[string][]byte{"announced": announced, "silent": silent} {
		stored, err := seal(k, k.CurrentEpoch(), keys.KindManifest, b)
		if err != nil {
			t.Fatal(err)
		}
		fuzzing.Bound(t, 8*core.MaxManifest, func() {
			if _, err := core.OpenManifest((*keys.Keyring).Unseal, r.Key(), ledger.SnapshotRef{Signer: k.VerifyKey()}, stored); err == nil {
				t.Errorf("%s: a manifest of 128 MiB is taken", name)
			}
		})
	}
}

// FuzzManifestObject opens manifests whose signer put anything into them.
func FuzzManifestObject(f *testing.F) {
	k := fuzzOwner(f)
	r := &Repo{core: core.New(nil, k, new(machine.Memory), Options{}.log(), nil)}
	open := func(body []byte) ([]byte, error) {
		stored, err := seal(k, k.CurrentEpoch(), keys.KindManifest, body)
		if err != nil {
			return nil, err
		}
		return core.OpenManifest((*keys.Keyring).Unseal, r.Key(), ledger.SnapshotRef{Signer: k.VerifyKey()}, stored)
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
