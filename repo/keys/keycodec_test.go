package keys_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"filippo.io/age"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

func TestWrapKeyring(t *testing.T) {
	owner := newOwner(t, 2)
	id, stranger := owner.Identity, newOwner(t, 1).Identity
	for _, k := range []*keys.Keyring{owner, newWriter(t, owner, "web1"), owner.ForWriter()} {
		data, err := keys.Wrap(k, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if containsAny(strings.ToLower(string(data)), secrets(owner)) || bytes.Contains(data, []byte("role")) {
			t.Error("a wrapped keyring can be read")
		}
		back, err := keys.Unwrap(data, stranger, id)
		if err != nil {
			t.Fatal(err)
		}
		again, err := keys.Wrap(back, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(plaintext(t, again, id), plaintext(t, data, id)) {
			t.Errorf("%v does not come back as it was", k)
		}
		var noMatch *age.NoIdentityMatchError
		if _, err := keys.Unwrap(data, stranger); !errors.As(err, &noMatch) {
			t.Errorf("with another identity: %v, want a NoIdentityMatchError", err)
		}
	}
	invalid := newOwnerView(owner)
	invalid.Epochs[1].DataKey[0] ^= 1
	if _, err := keys.Wrap(invalid, id.Recipient()); err == nil {
		t.Error("an invalid keyring was wrapped")
	}
}

func plaintext(t testing.TB, data []byte, id age.Identity) []byte {
	t.Helper()
	r, err := age.Decrypt(bytes.NewReader(data), id)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// encrypt makes an age file of any plaintext.
func encrypt(t testing.TB, plain []byte, to age.Recipient) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestMangledWrappedKeyring(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	data, err := keys.Wrap(newOwner(t, 1), id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(data); i += mangleStride() {
		mangled := bytes.Clone(data)
		mangled[i] ^= 1 << (i % 8)
		if _, err := keys.Unwrap(mangled, id); err == nil {
			t.Fatalf("byte %d flipped: no error", i)
		}
		if _, err := keys.Unwrap(data[:i], id); err == nil {
			t.Fatalf("cut to %d bytes: no error", i)
		}
	}
}

func TestBadWrappedKeyring(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	plain := plaintext(t, golden(t, "update.age"), goldenKeyring(t, "writer.txt").Identity)
	newer := bytes.Clone(plain)
	newer[7] = 2
	older := bytes.Clone(plain)
	older[7] = 0
	for what, c := range map[string]struct {
		plain []byte
		words string
	}{
		"nothing":        {nil, "not a keyring"},
		"short":          {plain[:7], "not a keyring"},
		"magic alone":    {plain[:8], "EOF"},
		"another thing":  {[]byte("PFPACK\x00\x01{}"), "not a keyring"},
		"newer":          {newer, "newer version"},
		"version 0":      {older, "malformed"},
		"cut":            {plain[:len(plain)-1], "EOF"},
		"more behind it": {append(bytes.Clone(plain), "{}"...), "more than one value"},
	} {
		_, err := keys.Unwrap(encrypt(t, c.plain, id.Recipient()), id)
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: error %v does not say %q", what, err, c.words)
		}
		if what == "newer" && !errors.Is(err, store.ErrNewerFormat) {
			t.Errorf("newer: %v is not ErrNewerFormat", err)
		}
	}
	_, err = keys.Unwrap(make([]byte, 64<<10+1), id)
	wantError(t, err, "longer than 65536")
	_, err = keys.Unwrap([]byte("hello"), id)
	wantError(t, err, "opening a wrapped keyring")
}

// TestRecoveryFileOpensPacksByHand: what plain age reads of the recovery file opens what was encrypted to any epoch.
func TestRecoveryFileOpensPacksByHand(t *testing.T) {
	owner := newOwner(t, 2)
	writer := newWriter(t, owner, "web1")
	ofOwner, err := age.ParseIdentities(bytes.NewReader(keyFile(t, owner)))
	if err != nil {
		t.Fatal(err)
	}
	ofWriter, err := age.ParseIdentities(bytes.NewReader(keyFile(t, writer)))
	if err != nil {
		t.Fatal(err)
	}
	open := func(to age.Recipient, ids []age.Identity) error {
		var pack bytes.Buffer
		w, err := age.Encrypt(&pack, to)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "a pack")
		w.Close()
		r, err := age.Decrypt(&pack, ids...)
		if err != nil {
			return err
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != "a pack" {
			t.Errorf("read %q, %v", got, err)
		}
		return nil
	}
	for _, e := range writer.Epochs {
		if err := open(e.DataRecipient, ofOwner); err != nil {
			t.Errorf("data of epoch %d: %v", e.Number, err)
		}
		for what, ids := range map[string][]age.Identity{"owner": ofOwner, "writer": ofWriter} {
			if err := open(e.MetaIdentity.Recipient(), ids); err != nil {
				t.Errorf("%s, meta of epoch %d: %v", what, e.Number, err)
			}
		}
		var noMatch *age.NoIdentityMatchError
		if err := open(e.DataRecipient, ofWriter); !errors.As(err, &noMatch) {
			t.Errorf("the writer file opens data of epoch %d: %v", e.Number, err)
		}
		if bytes.Contains(keyFile(t, writer), []byte(owner.Epochs[e.Number-1].DataIdentity.String())) {
			t.Errorf("the writer file holds the data identity of epoch %d", e.Number)
		}
	}
}

func FuzzParseKeyring(f *testing.F) {
	for _, name := range []string{"recovery.txt", "writer.txt"} {
		k := goldenKeyring(f, name) // fails where a seed says nothing
		f.Add(golden(f, name))
		f.Add(signedKeyFile(jsonOf(f, k)))
		f.Add([]byte(jsonOf(f, k)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, signedKeyFile(string(data))} { // as a file, and as the JSON in one
			k, err := keys.ParseFile(file)
			if err != nil {
				continue
			}
			text := keyFile(t, k)
			back, err := keys.ParseFile(text)
			if err != nil {
				t.Fatalf("what parsed does not parse again: %v", err)
			}
			if !bytes.Equal(keyFile(t, back), text) {
				t.Fatal("another keyring came back")
			}
		}
	})
}

func FuzzUnwrapKeyring(f *testing.F) {
	writer := goldenKeyring(f, "writer.txt")
	plain := plaintext(f, golden(f, "update.age"), writer.Identity)
	if len(plain) < 1000 {
		f.Fatal("the seed is empty")
	}
	f.Add(plain)
	f.Add([]byte("PFKEYS\x00\x01" + jsonOf(f, writer)))
	f.Add([]byte("PFKEYS\x00\x01" + jsonOf(f, goldenKeyring(f, "recovery.txt"))))
	id, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		if _, err := keys.Unwrap(plain, id); err == nil {
			t.Fatal("plaintext was taken for a wrapped keyring")
		}
		k, err := keys.Unwrap(encrypt(t, plain, id.Recipient()), id)
		if err != nil {
			return
		}
		data, err := keys.Wrap(k, id.Recipient())
		if err != nil {
			t.Fatalf("what was unwrapped can't be wrapped: %v", err)
		}
		again := plaintext(t, data, id)
		if k, err = keys.Unwrap(data, id); err != nil {
			t.Fatalf("what parsed does not parse again: %v", err)
		}
		if data, err = keys.Wrap(k, id.Recipient()); err != nil || !bytes.Equal(plaintext(t, data, id), again) {
			t.Fatalf("another keyring came back, %v", err)
		}
	})
}
