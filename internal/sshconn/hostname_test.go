package sshconn

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"
)

// A key that is not the known one is refused however the host's name is written, here or in known_hosts, and what stands
// there is not added to.
func TestChangedKeyByAnyName(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	other, _ := newKey(t)
	key := string(bytes.TrimSpace(bytes.SplitN([]byte(knownhosts.Line([]string{"x"}, other)), []byte(" "), 2)[1]))
	hashed := knownhosts.HashHostname(knownhosts.Normalize("localhost:" + strconv.Itoa(server.Port)))
	for name, known := range map[string]string{
		"small":    "[localhost]:PORT " + key,
		"capitals": "[LocalHost]:PORT " + key,
		"pattern":  "[LOCAL*]:PORT " + key,
		"hashed":   hashed + " " + key,
		"unread":   "[localhost]:PORT ssh-newer AAAA",
	} {
		for _, host := range []string{"localhost", "LOCALHOST", "LocalHost"} {
			c := config(server)
			known := strings.ReplaceAll(known, "PORT", strconv.Itoa(server.Port)) + "\n"
			c.Host, c.AcceptNewHostKey = host, true
			c.KnownHostsFiles = []string{write(t, "known_hosts", known)}
			want := "is not the one in " + c.KnownHostsFiles[0] + ", line 1"
			if name == "unread" {
				want = "may be known already"
			}
			refuses(t, c, want, "")
			if data, err := os.ReadFile(c.KnownHostsFiles[0]); err != nil || string(data) != known {
				t.Errorf("%s, %s: known_hosts is now %q, %v", name, host, data, err)
			}
		}
	}
}

// Lines of others that can't be read are passed over, and a known key is known by capitals too.
func TestForeignLines(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	known, err := os.ReadFile(server.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	c := config(server)
	c.Host = "LOCALHOST"
	var said []string
	var mu sync.Mutex
	c.Warn = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, text)
	}
	c.KnownHostsFiles = []string{write(t, "known_hosts", "old.example 1024 35 1234567\nnew.example ssh-newer AAAA\ncut.example ssh-ed25519 AAA\n"+
		strings.Replace(string(known), "127.0.0.1", "LocalHost", 1))}
	d, err := NewDialer(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := greet(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		works(t, s)
		s.Close()
	}
	mu.Lock()
	defer mu.Unlock()
	if file := c.KnownHostsFiles[0]; len(said) != 1 || !strings.Contains(said[0], file+", line 1 and "+file+", line 2 and "+file+", line 3 ") {
		t.Errorf("it says %q", said)
	}
}
