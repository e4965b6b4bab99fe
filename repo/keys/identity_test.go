package keys_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"permafrost/repo/cause"
	"permafrost/repo/keys"
)

// pluginName is an age plugin that this test binary is when it is run as age-plugin-pftest.
const pluginName = "pftest"

func init() {
	if filepath.Base(os.Args[0]) != "age-plugin-"+pluginName {
		return
	}
	p, err := plugin.New(pluginName)
	if err != nil {
		panic(err)
	}
	p.HandleRecipient(func([]byte) (age.Recipient, error) { return openPlugin{}, nil })
	p.HandleIdentity(func([]byte) (age.Identity, error) { return openPlugin{}, nil })
	os.Exit(p.Main())
}

// openPlugin hides nothing: its stanza holds the file key as it is.
type openPlugin struct{}

func (openPlugin) Wrap(key []byte) ([]*age.Stanza, error) {
	return []*age.Stanza{{Type: pluginName, Body: key}}, nil
}

func (openPlugin) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type == pluginName {
			return s.Body, nil
		}
	}
	return nil, age.ErrIncorrectIdentity
}

func installPlugin(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "age-plugin-"+pluginName)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// keyPath writes a file as a person's key would be.
func keyPath(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sshKey makes a key pair with ssh-keygen.
func sshKey(t testing.TB, args ...string) (path, public string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "id")
	out, err := exec.Command("ssh-keygen", append([]string{"-q", "-f", path, "-C", "anna@home"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen, of the Debian package openssh-client: %v: %s", err, out)
	}
	pub, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return path, string(pub)
}

func answer(pass string) keys.Prompt {
	return keys.Prompt{Passphrase: func(string) ([]byte, error) { return []byte(pass), nil }}
}

func nobody(t testing.TB) keys.Prompt {
	return keys.Prompt{Passphrase: func(prompt string) ([]byte, error) {
		t.Errorf("asked %q", prompt)
		return nil, errors.New("nobody there")
	}}
}

// TestPersons: each kind of recipient that a person may bring, and the key file that goes with it.
func TestPersons(t *testing.T) {
	installPlugin(t)
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ed, edPub := sshKey(t, "-t", "ed25519", "-N", "")
	edLocked, edLockedPub := sshKey(t, "-t", "ed25519", "-N", "secret")
	rsa, rsaPub := sshKey(t, "-t", "rsa", "-b", "2048", "-N", "")
	rsaOld, rsaOldPub := sshKey(t, "-t", "rsa", "-b", "2048", "-N", "secret", "-m", "PEM")
	owner := newOwner(t, 1)
	for what, c := range map[string]struct {
		recipient, kind string
		weak            string
		path            string
		person          keys.Prompt
	}{
		"X25519":           {classic.Recipient().String(), "X25519", "not post-quantum", keyPath(t, "# created: today\n\n"+classic.String()+"\n"), nobody(t)},
		"hybrid":           {hybrid.Recipient().String() + "\n", "post-quantum", "", keyPath(t, hybrid.String()), nobody(t)},
		"one of several":   {hybrid.Recipient().String(), "post-quantum", "", keyPath(t, classic.String()+"\r\n"+hybrid.String()+"\r\n"), nobody(t)},
		"plugin":           {plugin.EncodeRecipient(pluginName, []byte("x")), "plugin pftest", "age-plugin-pftest", keyPath(t, plugin.EncodeIdentity(pluginName, nil)), nobody(t)},
		"ssh-ed25519":      {edPub, "ssh-ed25519", "not post-quantum", ed, nobody(t)},
		"ssh-rsa":          {rsaPub, "ssh-rsa", "not post-quantum", rsa, nobody(t)},
		"locked ssh":       {edLockedPub, "ssh-ed25519", "not post-quantum", edLocked, answer("secret")},
		"old ssh format":   {rsaOldPub, "ssh-rsa", "not post-quantum", rsaOld, answer("secret")},
		"locked age file":  {hybrid.Recipient().String(), "post-quantum", "", keyPath(t, lock(t, hybrid.String()+"\n", false)), answer("secret")},
		"locked and armed": {hybrid.Recipient().String(), "post-quantum", "", keyPath(t, "\n"+lock(t, hybrid.String(), true)), answer("secret")},
	} {
		t.Run(what, func(t *testing.T) {
			to, kind, weak, err := keys.ParseRecipient(c.recipient, keys.Prompt{})
			if err != nil {
				t.Fatal(err)
			}
			if kind != c.kind || (weak == "") != (c.weak == "") || !strings.Contains(weak, c.weak) {
				t.Errorf("kind %q, weak %q", kind, weak)
			}
			data, err := keys.Wrap(owner, to)
			if err != nil {
				t.Fatal(err)
			}
			id, err := keys.LoadIdentity(c.path, c.person)
			if err != nil {
				t.Fatal(err)
			}
			if id.Keyring != nil || id.Warning != "" {
				t.Errorf("got %v, warning %q", id, id.Warning)
			}
			for range 2 { // an SSH key that is unlocked stays so
				if k, err := keys.Unwrap(data, id.Identities...); err != nil || k.Fingerprint() != owner.Fingerprint() {
					t.Errorf("opening the keyring: %v", err)
				}
			}
			elsewhere, err := keys.Wrap(owner, owner.Identity.Recipient())
			if err != nil {
				t.Fatal(err)
			}
			var noMatch *age.NoIdentityMatchError
			if _, err := keys.Unwrap(elsewhere, id.Identities...); !errors.As(err, &noMatch) {
				t.Errorf("somebody else's keyring: %v, want a NoIdentityMatchError", err)
			}
		})
	}
}

// lock encrypts with the passphrase "secret", as age -p does but quickly.
func lock(t testing.TB, text string, armored bool) string {
	t.Helper()
	r, err := age.NewScryptRecipient("secret")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(4)
	data := encrypt(t, []byte(text), r)
	if !armored {
		return string(data)
	}
	var out bytes.Buffer
	w := armor.NewWriter(&out)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestLoadKeyFile(t *testing.T) {
	file := string(golden(t, "recovery.txt"))
	for what, c := range map[string]struct {
		text   string
		person keys.Prompt
	}{
		"as it is":         {file, nobody(t)},
		"CR LF":            {"\ufeff" + strings.ReplaceAll(file, "\n", "\r\n"), nobody(t)},
		"two lines":        {file[strings.Index(file, "# permafrost-keyring-"):], nobody(t)},
		"locked":           {lock(t, file, false), answer("secret")},
		"locked and armed": {lock(t, file, true), answer("secret")},
	} {
		id, err := keys.LoadIdentity(keyPath(t, c.text), c.person)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if id.Keyring == nil || id.Keyring.Fingerprint() != goldenFingerprint || id.Identities != nil || id.Warning != "" {
			t.Errorf("%s: got %v, warning %q", what, id, id.Warning)
		}
	}
}

func TestPassphrasePrompt(t *testing.T) {
	path := keyPath(t, lock(t, string(golden(t, "writer.txt")), false))
	var prompt string
	_, err := keys.LoadIdentity(path, keys.Prompt{Passphrase: func(p string) ([]byte, error) { prompt = p; return []byte("wrong"), nil }})
	wantError(t, err, path, "wrong passphrase")
	if !strings.Contains(prompt, path) {
		t.Errorf("the prompt %q does not name the file", prompt)
	}
	refused := errors.New("no terminal")
	if _, err := keys.LoadIdentity(path, keys.Prompt{Passphrase: func(string) ([]byte, error) { return nil, refused }}); !errors.Is(err, refused) {
		t.Errorf("got %v, want that nobody could be asked", err)
	}
	_, err = keys.LoadIdentity(path, keys.Prompt{})
	wantError(t, err, "nobody can be asked")

	ssh, pub := sshKey(t, "-t", "ed25519", "-N", "secret")
	to, _, _, err := keys.ParseRecipient(pub, keys.Prompt{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := keys.Wrap(newOwner(t, 1), to)
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.LoadIdentity(ssh, answer("wrong"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = keys.Unwrap(data, id.Identities...)
	wantError(t, err, "decrypt SSH key")
}

func TestBadIdentityFile(t *testing.T) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ed, edPub := sshKey(t, "-t", "ed25519", "-N", "")
	ecdsa, _ := sshKey(t, "-t", "ecdsa", "-N", "")
	ecdsaLocked, _ := sshKey(t, "-t", "ecdsa", "-N", "secret")
	old, _ := sshKey(t, "-t", "rsa", "-b", "2048", "-N", "secret", "-m", "PEM")
	pem, err := exec.Command("ssh-keygen", "-e", "-m", "PKCS8", "-f", old).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(old + ".pub"); err != nil {
		t.Fatal(err)
	}
	recovery := string(golden(t, "recovery.txt"))
	secret := id.String()
	for what, c := range map[string]struct {
		path, words string
		cause       cause.Cause
	}{
		"absent":                 {filepath.Join(t.TempDir(), "none"), "no such file", ""},
		"directory":              {t.TempDir(), "is a directory", cause.KeyFileDirectory},
		"empty":                  {keyPath(t, ""), "is empty", ""},
		"blank":                  {keyPath(t, " \n\n"), "is empty", ""},
		"comments":               {keyPath(t, "# created: today\n"), "only comments", ""},
		"too long":               {keyPath(t, strings.Repeat("# nothing\n", 10000)), "longer than", ""},
		"endless":                {"/dev/zero", "longer than", ""},
		"age recipient":          {keyPath(t, id.Recipient().String()), "line 1 is a public key", cause.KeyFilePublic},
		"SSH public key":         {ed + ".pub", "line 1 is a public key", cause.KeyFilePublic},
		"ECDSA public key":       {keyPath(t, "# mine\necdsa-sha2-nistp256 AAAA anna@home"), "line 2 is a public key", cause.KeyFilePublic},
		"PEM public key":         {keyPath(t, string(pem)), "is no private key", cause.KeyFilePublic},
		"ECDSA key":              {ecdsa, "unsupported SSH", ""},
		"locked ECDSA key":       {ecdsaLocked, "unsupported SSH", ""},
		"old format, no .pub":    {old, "public key", cause.KeyFileOldSSH},
		"cut SSH key":            {keyPath(t, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"), "SSH key", ""},
		"cut age key":            {keyPath(t, secret[:50]), "malformed key", cause.KeyFileCut},
		"mistyped age key":       {keyPath(t, strings.Replace(secret, "PQ-1", "PQ-1Q", 1)), "malformed key", cause.KeyFileCut},
		"mistyped plugin":        {keyPath(t, "AGE-PLUGIN-X-1QQQ"), "malformed key", ""},
		"text":                   {keyPath(t, "hello"), "line 1 is no key", cause.KeyFileNoKey},
		"key behind text":        {keyPath(t, secret+"\nhello"), "line 2 is no key", ""},
		"newer key file":         {keyPath(t, strings.Replace(recovery, "keyring-1", "keyring-2", 1)), "newer version", ""},
		"cut key file":           {keyPath(t, recovery[:500]), "damaged", cause.KeyFileDamaged},
		"key file cut in a line": {keyPath(t, recovery[:strings.Index(recovery, "\nAGE-SECRET")+5]), "neither a comment nor a key", cause.KeyFileNote},
		"key file, no keyring":   {keyPath(t, strings.Replace(recovery, "# permafrost-keyring-1", "# permafrosd", 1)), "damaged", cause.KeyFileDamaged},
		"wrapped keyring":        {"testdata/update.age", "not with a passphrase", cause.KeyFileEncrypted},
		"cut age file":           {keyPath(t, lock(t, recovery, false)[:300]), "decrypting it", ""},
		"locked text":            {keyPath(t, lock(t, "hello", false)), "line 1 is no key", ""},
		"twice locked":           {keyPath(t, lock(t, lock(t, recovery, false), false)), "is no key", ""},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := keys.LoadIdentity(c.path, answer("secret"))
			if got != nil {
				t.Error("an identity beside an error")
			}
			wantError(t, err, c.path, c.words)
			if got, _ := told(err); c.cause != "" && got != c.cause {
				t.Errorf("the cause is %q, want %q", got, c.cause)
			}
			if strings.Contains(err.Error(), secret[20:40]) || strings.Contains(err.Error(), edPub) {
				t.Error("the error quotes the key")
			}
		})
	}
	if _, err := keys.LoadIdentity(filepath.Join(t.TempDir(), "none"), keys.Prompt{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

func TestKeyFileMode(t *testing.T) {
	path := keyPath(t, string(golden(t, "writer.txt")))
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o640, 0o604, 0o620, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		id, err := keys.LoadIdentity(path, keys.Prompt{})
		if err != nil {
			t.Fatal(err)
		}
		if want := mode&0o077 != 0; (id.Warning != "") != want {
			t.Errorf("mode %v: warning %q", mode, id.Warning)
		} else if want && !strings.Contains(id.Warning, "chmod 600 "+path) {
			t.Errorf("mode %v: warning %q does not say what to do", mode, id.Warning)
		}
	}
}

// TestKeyFromPipe: -i <(command) hands over a pipe.
func TestKeyFromPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		defer w.Close()
		w.Write(golden(t, "recovery.txt"))
	}()
	id, err := keys.LoadIdentity(fmt.Sprintf("/dev/fd/%d", r.Fd()), keys.Prompt{})
	if err != nil || id.Keyring == nil || id.Warning != "" {
		t.Errorf("got %v, %v", id, err)
	}
}

// TestReadsNoFurther: what is behind a key file's bound is never read.
func TestReadsNoFurther(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int64)
	go func() {
		n, _ := io.Copy(w, zeros{})
		done <- n
	}()
	_, err = keys.LoadIdentity(fmt.Sprintf("/dev/fd/%d", r.Fd()), keys.Prompt{})
	wantError(t, err, "longer than")
	r.Close()
	if n := <-done; n > 1<<20 {
		t.Errorf("%d bytes were read", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
