package keys_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"permafrost/internal/hostfs"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

func TestKeyFileComesBack(t *testing.T) {
	owner := newOwner(t, 3)
	guest, err := owner.ForOwner("anna")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*keys.Keyring{owner, guest, newWriter(t, owner, "web1"), newOwner(t, 1)} {
		data := keyFile(t, k)
		back, err := keys.ParseFile(data)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(keyFile(t, back), data) {
			t.Errorf("%v does not come back as it was", k)
		}
		if !back.SignKey.Equal(k.SignKey) || back.Epochs[0].DataKey != k.Epochs[0].DataKey || back.Epochs[0].Polynomial != k.Epochs[0].Polynomial {
			t.Errorf("%v: other keys came back", k)
		}
		for _, want := range []string{"fingerprint: " + k.Fingerprint(), "name:        " + k.Name, "role:        " + string(k.Role), hex.EncodeToString(k.Repository[:])} {
			if !bytes.Contains(data, []byte(want)) {
				t.Errorf("the file does not say %q", want)
			}
		}
	}
	if _, err := owner.ForWriter().KeyFile(); err == nil {
		t.Error("an update was made a key file")
	}
}

// TestGoldenKeyFiles pins the format: files of version 1 must open for ever, and mean what they meant.
func TestGoldenKeyFiles(t *testing.T) {
	for _, name := range []string{"recovery.txt", "writer.txt"} {
		data := golden(t, name)
		k, err := keys.ParseFile(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(keyFile(t, k), data) {
			t.Errorf("%s is written differently now", name)
		}
		if k.Fingerprint() != goldenFingerprint || len(k.Epochs) != 2 {
			t.Errorf("%s: fingerprint %s and %d epochs", name, k.Fingerprint(), len(k.Epochs))
		}
	}
	update, err := keys.Unwrap(golden(t, "update.age"), goldenKeyring(t, "writer.txt").Identity)
	if err != nil {
		t.Fatal(err)
	}
	if update.Fingerprint() != goldenFingerprint || update.SignKey != nil || update.Identity != nil || len(update.Epochs) != 2 {
		t.Errorf("update.age holds %v", update)
	}
}

// mangleStride is the distance of the bytes that a test mangles: all of them, except where the race detector, which
// has nothing to see in it, makes that take minutes.
func mangleStride() int {
	if raceDetector {
		return 37
	}
	return 1
}

// TestMangledKeyFile: whatever happens to the file, it is an error or the keyring is whole.
func TestMangledKeyFile(t *testing.T) {
	owner := newOwner(t, 1)
	for _, k := range []*keys.Keyring{owner, newWriter(t, owner, "web1")} {
		data := keyFile(t, k)
		begin := bytes.Index(data, []byte("# permafrost-keyring-"))
		hidden := secrets(k)
		try := func(what string, off int, mangled []byte) (ok bool) {
			got, err := keys.ParseFile(mangled)
			if err == nil && !reflect.DeepEqual(got, k) {
				t.Fatalf("%v, %s byte %d: another keyring", k, what, off)
			}
			if err != nil && containsAny(strings.ToLower(err.Error()), hidden) {
				t.Fatalf("%v, %s byte %d: the error tells a secret", k, what, off)
			}
			return err == nil
		}
		for i := 0; i < len(data); i += mangleStride() {
			if i < begin && i/mangleStride()%8 != 0 {
				continue // comments, and what repeats the keyring: costly, for it parses to the end
			}
			mangled := bytes.Clone(data)
			mangled[i] ^= 1 << (i % 8)
			whole := try("flipped", i, mangled)
			if try("cut at", i, data[:i]) && i < len(data)-1 {
				t.Errorf("%v, cut to %d bytes of %d, was taken", k, i, len(data))
			}
			if i < begin {
				continue
			}
			for _, b := range []byte{data[i] ^ 0x20, data[i] ^ 0x80, '\n'} {
				if mangled[i] = b; b != data[i] {
					whole = try("changed", i, mangled) || whole
				}
			}
			whole = try("without", i, slices.Delete(bytes.Clone(data), i, i+1)) || whole
			if whole && !spaceAt(data, i) {
				t.Errorf("%v: byte %d (%q) does not matter", k, i, data[i])
			}
		}
	}
}

// spaceAt reports whether a line's end is at off or next to it, where white space is let pass.
func spaceAt(data []byte, off int) bool {
	return off == len(data)-1 || slices.Contains(data[off-1:off+2], '\n')
}

// signedKeyFile is a key file of just the lines that count, with a right checksum over json.
func signedKeyFile(json string) []byte {
	sum := sha256.Sum256([]byte(json))
	return fmt.Appendf(nil, "# permafrost-keyring-1: %s\n# permafrost-checksum-1: %x\n", json, sum)
}

// jsonOf returns the keyring's line of JSON.
func jsonOf(t testing.TB, k *keys.Keyring) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(keyFile(t, k)), "# permafrost-keyring-1: ")
	json, _, ok2 := strings.Cut(rest, "\n")
	if !ok || !ok2 {
		t.Fatal("no keyring in the key file")
	}
	return json
}

func TestTouchedUpKeyFile(t *testing.T) {
	data := string(golden(t, "recovery.txt"))
	for what, text := range map[string]string{
		"CR LF":           strings.ReplaceAll(data, "\n", "\r\n"),
		"trailing spaces": strings.ReplaceAll(data, "\n", " \t\n"),
		"indented":        "  " + strings.ReplaceAll(data, "\n", "\n  "),
		"byte order mark": "\ufeff" + data,
		"empty lines":     strings.ReplaceAll(data, "\n", "\n\n"),
		"own comments":    "# in Anna's safe\n" + data + "# 2026",
		"no last newline": strings.TrimSuffix(data, "\n"),
		"just two lines":  string(signedKeyFile(jsonOf(t, goldenKeyring(t, "recovery.txt")))),
	} {
		k, err := keys.ParseFile([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if string(keyFile(t, k)) != data {
			t.Errorf("%s: another keyring", what)
		}
	}
}

func TestBadKeyFile(t *testing.T) {
	owner, writer := goldenKeyring(t, "recovery.txt"), goldenKeyring(t, "writer.txt")
	json, wjson := jsonOf(t, owner), jsonOf(t, writer)
	file := string(golden(t, "recovery.txt"))
	other, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	sub := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("no %q in it", old)
		}
		return strings.Replace(s, old, new, 1)
	}
	member := func(s, name string) string { // "name":"value"
		_, rest, _ := strings.Cut(s, `"`+name+`":"`)
		value, _, _ := strings.Cut(rest, `"`)
		return `"` + name + `":"` + value + `"`
	}
	for what, c := range map[string]struct {
		text, words string
		cause       cause.Cause
	}{
		"empty":                {"", "damaged", cause.KeyFileDamaged},
		"too long":             {file + strings.Repeat("#", 64<<10), "longer than 65536", ""},
		"two keyrings":         {file + file, "one file holds one keyring", ""},
		"newer keyring":        {sub(file, "permafrost-keyring-1", "permafrost-keyring-2"), "newer version", ""},
		"newer checksum":       {sub(file, "permafrost-checksum-1", "permafrost-checksum-12"), "newer version", ""},
		"version 0":            {sub(file, "permafrost-keyring-1", "permafrost-keyring-0"), "malformed", ""},
		"huge version":         {sub(file, "permafrost-keyring-1", "permafrost-keyring-99999999999999999999"), "malformed", ""},
		"foreign identity":     {file + other.String() + "\n", "not part of the keyring", cause.KeyFileEdited},
		"foreign line":         {file + "hello\n", "neither a comment nor a key", ""},
		"wrong checksum":       {sub(file, "permafrost-checksum-1: ", "permafrost-checksum-1: 0"), "damaged", cause.KeyFileDamaged},
		"null":                 {string(signedKeyFile("null")), "unknown role", ""},
		"no JSON":              {string(signedKeyFile("hello")), "invalid character", ""},
		"two values":           {string(signedKeyFile(json + "{}")), "more than one value", ""},
		"unknown member":       {string(signedKeyFile(sub(json, `{"role"`, `{"x":1,"role"`))), "unknown field", ""},
		"unknown role":         {string(signedKeyFile(sub(json, `"role":"owner"`, `"role":"king"`))), `unknown role "king"`, ""},
		"owner as writer":      {string(signedKeyFile(sub(json, `"role":"owner"`, `"role":"writer"`))), "not that of the role", ""},
		"writer as owner":      {string(signedKeyFile(sub(wjson, `"role":"writer"`, `"role":"owner"`))), "not that of the role", ""},
		"owner's data to it":   {string(signedKeyFile(sub(sub(json, `"role":"owner"`, `"role":"writer"`), member(json, "sign_key"), member(wjson, "sign_key")))), "has a data identity", ""},
		"another repository":   {string(signedKeyFile(sub(json, `"repository":"6`, `"repository":"7`))), "did not sign", ""},
		"zero repository":      {string(signedKeyFile(sub(json, member(json, "repository"), `"repository":"`+strings.Repeat("0", 64)+`"`))), "no repository ID", ""},
		"short repository":     {string(signedKeyFile(sub(json, `"repository":"6`, `"repository":"`))), "hexadecimal", ""},
		"another owner key":    {string(signedKeyFile(sub(wjson, member(wjson, "owner_key"), `"owner_key":"`+strings.Repeat("A", 43)+`="`))), "did not sign", ""},
		"short owner key":      {string(signedKeyFile(sub(json, member(json, "owner_key"), `"owner_key":"AAAA"`))), "owner key has 3 bytes", ""},
		"no owner key":         {string(signedKeyFile(sub(json, member(json, "owner_key")+",", ""))), "owner key has 0 bytes", ""},
		"short sign key":       {string(signedKeyFile(sub(json, member(json, "sign_key"), `"sign_key":"AAAA"`))), "signing key has 3 bytes", ""},
		"another sign key":     {string(signedKeyFile(sub(json, member(json, "sign_key"), member(wjson, "sign_key")))), "not that of the role", ""},
		"no sign key":          {string(signedKeyFile(sub(json, member(json, "sign_key")+",", ""))), "signing key has 0 bytes", ""},
		"an update":            {string(signedKeyFile(sub(sub(sub(wjson, member(wjson, "sign_key")+",", ""), member(wjson, "identity")+",", ""), member(wjson, "name")+",", ""))), "no signing key", ""},
		"no name":              {string(signedKeyFile(sub(json, member(json, "name")+",", ""))), "needs a name", ""},
		"name of two lines":    {string(signedKeyFile(sub(json, member(json, "name"), `"name":"a\nb"`))), "can't be a key's name", ""},
		"malformed identity":   {string(signedKeyFile(sub(json, `"identity":"AGE-SECRET-KEY-PQ-1TV`, `"identity":"AGE-SECRET-KEY-PQ-1VT`))), "malformed age identity", ""},
		"no epochs":            {string(signedKeyFile(json[:strings.Index(json, `"epochs":[`)] + `"epochs":[]}`)), "no epoch", ""},
		"epoch 2 first":        {string(signedKeyFile(sub(json, `"number":1`, `"number":2`))), "epoch 2 stands in the place of epoch 1", ""},
		"negative epoch":       {string(signedKeyFile(sub(json, `"number":1`, `"number":-1`))), "cannot unmarshal", ""},
		"no data":              {string(signedKeyFile(sub(json, member(json, "data_identity")+",", ""))), "want a data identity or", ""},
		"both data":            {string(signedKeyFile(sub(json, member(json, "data_identity"), member(json, "data_identity")+","+member(wjson, "data_recipient")))), "want a data identity or", ""},
		"malformed recipient":  {string(signedKeyFile(sub(wjson, `"data_recipient":"age1pq1`, `"data_recipient":"age1pq1q`))), "malformed data recipient", ""},
		"no meta identity":     {string(signedKeyFile(sub(json, member(json, "meta_identity")+",", ""))), "malformed age identity", ""},
		"short key":            {string(signedKeyFile(sub(json, member(json, "meta_key"), `"meta_key":"AAAA"`))), "a key has 3 bytes", ""},
		"another key":          {string(signedKeyFile(sub(json, member(json, "meta_key"), `"meta_key":"`+strings.Repeat("A", 43)+`="`))), "did not sign", ""},
		"polynomial":           {string(signedKeyFile(sub(json, member(json, "polynomial"), `"polynomial":"xyz"`))), "hexadecimal", ""},
		"unsigned polynomial":  {string(signedKeyFile(sub(json, member(json, "polynomial"), `"polynomial":"3"`))), "did not sign", ""},
		"signature of another": {string(signedKeyFile(sub(json, member(json, "signature"), `"signature":"AAAA"`))), "did not sign", ""},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := keys.ParseFile([]byte(c.text))
			wantError(t, err, c.words)
			if got, _ := told(err); c.cause != "" && got != c.cause {
				t.Errorf("the cause is %q, want %q", got, c.cause)
			}
			if containsAny(strings.ToLower(err.Error()), secrets(owner)) || len(err.Error()) > 200 {
				t.Errorf("error tells too much: %v", err)
			}
			if strings.Contains(c.words, "newer") && !errors.Is(err, store.ErrNewerFormat) {
				t.Error("not ErrNewerFormat")
			}
		})
	}
}

func TestWriteKeyFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "recovery.txt")
	k := newOwner(t, 1)
	if err := keys.WriteFile(path, k); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	data, _ := os.ReadFile(path)
	if !bytes.Equal(data, keyFile(t, k)) {
		t.Error("the file does not hold the keyring")
	}

	err = keys.WriteFile(path, newOwner(t, 1))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing over a key file: %v", err)
	}
	wantError(t, err, path)
	if again, _ := os.ReadFile(path); !bytes.Equal(again, data) {
		t.Error("the file was changed")
	}
	dangling := filepath.Join(dir, "link")
	os.Symlink("nowhere", dangling)
	if err := keys.WriteFile(dangling, k); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing through a symlink: %v", err)
	}
	if err := keys.WriteFile(filepath.Join(dir, "no/dir"), k); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into no directory: %v", err)
	}
	if err := keys.WriteFile(filepath.Join(dir, "update"), k.ForWriter()); err == nil {
		t.Error("an update was written as a key file")
	}
	wantNames(t, dir, "link", "recovery.txt")
}

// Root puts no key where another user decides which directory it goes to: that user would own it.
func TestKeyFileWhereOthersDecide(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root writes: run it as root")
	}
	const other = 54321
	top := t.TempDir()
	his, roots := filepath.Join(top, "his"), filepath.Join(top, "roots")
	for _, err := range []error{os.Chmod(filepath.Dir(top), 0o755), os.Mkdir(his, 0o755), os.Mkdir(roots, 0o755), os.Symlink(roots, filepath.Join(his, "link")), os.Chown(his, other, other)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	k := newOwner(t, 1)
	wanted := func(err error) {
		t.Helper()
		if shared := (*hostfs.SharedError)(nil); !errors.As(err, &shared) {
			t.Error(err)
		}
	}
	wanted(keys.WriteFile(filepath.Join(his, "key"), k))
	wanted(keys.WriteFile(filepath.Join(his, "link", "key"), k))
	wantNames(t, his, "link")
	wantNames(t, roots)
	data, err := k.KeyFile()
	if err == nil {
		err = os.WriteFile(filepath.Join(his, "key"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	wanted(keys.ReplaceFile(filepath.Join(his, "key"), k))
	wantNames(t, his, "key", "link")
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the directory holds %q, want %q", got, want)
	}
}

func TestReplaceKeyFile(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "key"), filepath.Join(dir, "link")
	k := newOwner(t, 1)
	old := *k
	if err := keys.WriteFile(path, k); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("key", link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 1234, 2345); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	addEpoch(t, k)
	if err := keys.ReplaceFile(link, k); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); info.Mode() != 0o440 || s.Uid != 1234 || s.Gid != 2345 {
		t.Errorf("the file is now %v of %d:%d", info.Mode(), s.Uid, s.Gid)
	}
	want := keyFile(t, k)
	holds := func(what string) {
		t.Helper()
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s: the file does not hold the keyring, %v", what, err)
		}
	}
	holds("replaced")
	for what, k := range map[string]*keys.Keyring{"an older one": &old, "another repository's": newOwner(t, 3), "a writer's": newWriter(t, k, "web1")} {
		wantError(t, keys.ReplaceFile(path, k), path, "other keys")
		holds(what)
	}
	if err := keys.ReplaceFile(filepath.Join(dir, "none"), k); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("replacing nothing: %v", err)
	}
	wantNames(t, dir, "key", "link")

	locked := keyPath(t, lock(t, string(want), true))
	err = keys.ReplaceFile(locked, k)
	wantError(t, err, locked, "encrypted with a passphrase")
	if c, facts := told(err); c != cause.KeyFilePassphrase || !slices.Equal(facts, []string{locked}) {
		t.Errorf("%q %q", c, facts)
	}
}
