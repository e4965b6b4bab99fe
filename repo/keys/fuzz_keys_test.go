package keys

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"slices"
	"testing"

	"filippo.io/age"

	"permafrost/internal/fuzzing"
)

// FuzzEnvelope reads stored bytes as they come and, encrypted to the right recipient, what is beneath: nothing that the
// fuzzer makes is signed.
func FuzzEnvelope(f *testing.F) {
	k := storedOwner(f)
	plain := slices.Concat([]byte(KindEntry), []byte(k.VerifyKey()), ed25519.Sign(k.SignKey, k.signed(KindEntry, []byte("body"))), []byte("body"))
	sealed := encrypted(f, k, plain)
	if _, body, err := k.Unseal(KindEntry, sealed); err != nil || string(body) != "body" {
		f.Fatal(string(body), err)
	}
	f.Add(sealed, false)
	f.Add(plain, true)
	f.Add([]byte("PFLOGEN\x02"+string(plain[8:])), true)
	f.Fuzz(func(t *testing.T, data []byte, inner bool) {
		stored := data
		if inner {
			stored = encrypted(t, k, data)
		}
		for _, magic := range []string{KindEntry, KindIndex} {
			_, body, err := k.Unseal(magic, stored)
			if err == nil && (magic != KindEntry || !bytes.Equal(body, []byte("body"))) {
				t.Errorf("%q is taken for a signed body of %q", body, magic)
			}
		}
	})
}

// storedOwner returns a keyring that is the same in every process, as a corpus that was found with it needs it.
func storedOwner(tb testing.TB) *Keyring {
	tb.Helper()
	data, err := os.ReadFile("testdata/recovery.txt")
	if err != nil {
		tb.Fatal(err)
	}
	k, err := ParseFile(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// encrypted is what anybody can make who knows the repository's recipient.
func encrypted(t testing.TB, k *Keyring, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, k.CurrentEpoch().MetaIdentity.Recipient())
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzParseIdentity reads key files of every kind, and recipients.
func FuzzParseIdentity(f *testing.F) {
	k := storedOwner(f)
	file, err := k.KeyFile()
	if err != nil {
		f.Fatal(err)
	}
	parse := func(b []byte) error { _, err := parseIdentity(b, "/nonexistent/key", Prompt{}); return err }
	fuzzing.Seed(f, parse, file, []byte("# a comment\n"+k.Identity.String()+"\n"))
	f.Add([]byte(k.Identity.Recipient().String()))
	f.Add([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxkTxuJyOXAOkRVbU1Ky6KLuyfJfdUz+pMDbZGfeK4p me"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if parse(b) == nil && len(b) == 0 {
			t.Error("nothing is a key")
		}
		if r, kind, _, err := ParseRecipient(string(b), Prompt{}); err == nil && (r == nil || kind == "") {
			t.Errorf("a recipient of kind %q", kind)
		}
	})
}
