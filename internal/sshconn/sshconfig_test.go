package sshconn

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// No file of a user's is as good as an empty one: it must not send connections to the ssh command, and what the system's file
// says counts where the user's is silent.
func TestUsersSSHConfig(t *testing.T) {
	home := t.TempDir()
	read := func() *sshConfig {
		c := &sshConfig{home: home, me: "me"}
		if err := c.read(""); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := read()
	if c.beyond != "" || c.get("backup", "HostName") != "" {
		t.Errorf("without a file: beyond %q", c.beyond)
	}
	silent := c.get("backup", "SendEnv")
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config":     "Include hosts/*\nHost backup\n  Include ~/.ssh/login\n  Port 2222\n",
		"hosts/name": "Host backup\n  HostName storage.example\n",
		"login":      "User keeper\n",
	} {
		file := filepath.Join(home, ".ssh", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c = read()
	if c.beyond != "" {
		t.Errorf("with files: beyond %q", c.beyond)
	}
	for keyword, want := range map[string]string{"HostName": "storage.example", "User": "keeper", "Port": "2222"} {
		if got, other := c.get("backup", keyword), c.get("other", keyword); got != want || other != "" {
			t.Errorf("%s is %q, and %q of another host", keyword, got, other)
		}
	}
	// Debian's system file sends the locale's variables; where there is no such file both are empty.
	if got := c.get("backup", "SendEnv"); got != silent {
		t.Errorf("the system's file says %q with a user's file, and %q without", got, silent)
	}
}

// $HOME may be another user's: sudo keeps it where it is told so. What lies there decides nothing.
func TestAnothersHome(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	came := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
			came <- struct{}{}
		}
	}()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "Host backup.invalid\n HostName 127.0.0.1\n Port " + port + "\n"
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := NewDialer(Config{Host: "backup.invalid", DialTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if made, err := greet(t.Context(), d); err == nil {
		made.Close()
		t.Error("a host of that file was opened")
	}
	select {
	case <-came:
		t.Error("the server that another user's file names was called")
	default:
	}
	files, err := readSSHConfig("")
	if err != nil {
		t.Fatal(err)
	}
	if got := files.expand("~/key %d", &host{}); strings.Contains(got, home) {
		t.Errorf("~ and %%d lead to %s", got)
	}
}

// As with ssh, a file that others may write is not obeyed, be it an included one.
func TestSSHConfigOfOthers(t *testing.T) {
	for cause, spoil := range map[Cause]func(file string) error{
		CauseSettingsWritable: func(file string) error { return os.Chmod(file, 0o664) },
		CauseSettingsForeign:  func(file string) error { return os.Chown(file, 54321, 54321) },
	} {
		file := write(t, "config", "Host backup\n Port 2222\n")
		including := write(t, "including", "Include "+file+"\n")
		for _, f := range []string{file, including} {
			if _, err := readSSHConfig(f); err != nil {
				t.Errorf("%s before: %v", f, err)
			}
		}
		if err := spoil(file); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{file, including} {
			_, err := readSSHConfig(f)
			wantCause(t, err, string(cause)+" "+file)
		}
	}
}

// A file that never ends, or that nobody writes, holds nothing up.
func TestEndlessFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	long := write(t, "long", strings.Repeat("# a comment\n", maxSSHConfig/10))
	for _, file := range []string{fifo, "/dev/zero", long, write(t, "including", "Include "+fifo+"\n")} {
		if _, err := readSSHConfig(file); err == nil {
			t.Errorf("%s was read", file)
		}
		if err := new(credentials).add(file, nil); err == nil {
			t.Errorf("%s was taken for a key", file)
		}
	}
	for _, file := range []string{fifo, "/dev/zero"} {
		if data, err := readKnownHosts(file); err != nil || len(data) > 0 {
			t.Errorf("known_hosts %s: %d bytes, %v", file, len(data), err)
		}
	}
	many := write(t, "many", "")
	if err := os.WriteFile(many, []byte(strings.Repeat("Include "+many+"\n", 20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSSHConfig(many); err == nil {
		t.Error("a file that includes itself twenty times was read")
	}
}

// As with ssh, a private key that others may read is not used.
func TestExposedKey(t *testing.T) {
	_, private := newKey(t)
	file := writeKey(t, private, "")
	for mode, want := range map[os.FileMode]int{0o600: 1, 0o400: 1, 0o640: 0, 0o644: 0} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		k, err := readKeys(&host{identities: []string{file}, identitiesOnly: true}, "")
		if err != nil || len(k.signers) != want {
			t.Errorf("mode %o: %d keys, %v", mode, len(k.signers), err)
		}
		if want == 0 {
			wantCause(t, k.refused(&host{}, os.ErrPermission), string(CauseKeyExposed)+" "+file)
		}
	}
}

func wantCause(t *testing.T, err error, want string) {
	t.Helper()
	if !strings.Contains(cause(err), want) {
		t.Errorf("%v; the cause is %q, want %q", err, cause(err), want)
	}
}
