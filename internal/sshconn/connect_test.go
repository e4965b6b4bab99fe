package sshconn

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"permafrost/internal/sandbox"
)

func newKey(t *testing.T) (ssh.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// writeKey writes a private key, with a passphrase or "".
func writeKey(t *testing.T, private ed25519.PrivateKey, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(private, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "key", string(pem.EncodeToMemory(block)))
}

func TestUnknownHostKey(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	transports(t, func(t *testing.T, command bool) {
		c := config(server)
		c.UseCommand = command
		file := filepath.Join(t.TempDir(), "ssh", "known_hosts")
		if command {
			file = filepath.Join(t.TempDir(), "known_hosts")
		}
		c.KnownHostsFiles = []string{file}
		refuses(t, c, "host key", "host key ")
		if _, err := os.Stat(file); err == nil {
			t.Error("known_hosts was written")
		}
		c.AcceptNewHostKey = true
		connect(t, c).Close()
		c.AcceptNewHostKey = false
		works(t, connect(t, c))
	})
}

// A new key goes into a line of its own, whatever the file ends with.
func TestRecordHostKey(t *testing.T) {
	server := plainSSHD(t)
	other, _ := newKey(t)
	line := knownhosts.Line([]string{"example.org"}, other)
	for _, before := range []string{"", line, line + "\n", "# comment\n"} {
		c := config(server)
		c.KnownHostsFiles, c.AcceptNewHostKey = []string{write(t, "known_hosts", before)}, true
		connect(t, c).Close()
		connect(t, c).Close() // it is known now, and not written twice
		got, err := os.ReadFile(c.KnownHostsFiles[0])
		want, err2 := os.ReadFile(server.KnownHosts)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if before != "" && !strings.HasSuffix(before, "\n") {
			before += "\n"
		}
		if string(got) != before+string(want) {
			t.Errorf("known_hosts is %q", got)
		}
	}
}

// A key that has changed is never taken, not by --accept-new-host-key either; nor one of another kind.
func TestChangedHostKey(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	other, _ := newKey(t)
	address := knownhosts.Normalize(net.JoinHostPort(server.Host, fmt.Sprint(server.Port)))
	const rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDF4Tl6y7RTaFt7mnVSPBGlDT0q5tj3lBHvUr1lVbx3mqoB6fHVwkJlNqZuYhMKSjvXvNmsXBoP8m4iL8gqmPU4n0GfYhUq0u8m2Wx3V2dqkq4Aq1K5GmUNj8TgLKn1Y2t1mYl7TnCJqBMaA9Cj4JYvfcb5kU0P8Wj4KXyHqzIYbSNnDsqHOPNz1tlrAiYcVYhP5kCkVvOsdqdQ2Nd0bU0nYV0oU2rYqHnB9rTgXx3y1oQ0Zl4Y9dC3x5Vw8jQb7Xl4o1v5r2qk6k1JtZ0mX2cQKqS7rQf9F0T8n2mJ8oM5yV6LcS3wHq3Z0rR5v0lW9q4Hj7uT1dPzGd2sXoYyXcJ9"
	for name, lines := range map[string]string{"another": knownhosts.Line([]string{address}, other), "another kind": address + " " + rsa} {
		t.Run(name, func(t *testing.T) {
			transports(t, func(t *testing.T, command bool) {
				c := config(server)
				c.UseCommand = command
				c.KnownHostsFiles = []string{write(t, "known_hosts", lines+"\n")}
				for _, c.AcceptNewHostKey = range []bool{false, true} {
					if command {
						refuses(t, c, "erification failed", string(CauseHostKeyRefused))
					} else {
						refuses(t, c, "is not the one in "+c.KnownHostsFiles[0]+", line 1", string(CauseHostKeyChanged)+" "+c.KnownHostsFiles[0]+" ")
					}
				}
				if got, err := os.ReadFile(c.KnownHostsFiles[0]); err != nil || string(got) != lines+"\n" {
					t.Errorf("known_hosts was changed: %q, %v", got, err)
				}
			})
		})
	}
}

// With several kinds of key in known_hosts or on the server the one that both have is asked for.
func TestHostKeyKinds(t *testing.T) {
	server := plainSSHD(t)
	known, err := os.ReadFile(server.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(known)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(server.Host, fmt.Sprint(server.Port))
	for name, lines := range map[string]string{
		"hashed":                   knownhosts.HashHostname(knownhosts.Normalize(address)) + " " + string(ssh.MarshalAuthorizedKey(key)),
		"wildcard":                 "[127.0.0.*]:" + fmt.Sprint(server.Port) + " " + string(ssh.MarshalAuthorizedKey(key)),
		"an authority for another": "@cert-authority *.example.org " + string(ssh.MarshalAuthorizedKey(key)) + string(known),
		"an authority for this":    "@cert-authority * " + string(ssh.MarshalAuthorizedKey(key)) + string(known),
	} {
		c := config(server)
		c.KnownHostsFiles = []string{"/nonexistent/known_hosts", write(t, "known_hosts", lines)}
		t.Run(name, func(t *testing.T) { works(t, connect(t, c)) })
	}
	c := config(server)
	c.KnownHostsFiles = []string{write(t, "known_hosts", "@revoked * "+string(ssh.MarshalAuthorizedKey(key))+string(known))}
	refuses(t, c, "revoked", "")
	c.KnownHostsFiles = []string{write(t, "known_hosts", "host ssh-ed25519 !!!\n")}
	refuses(t, c, "is not known", string(CauseHostKeyUnknown))
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	public, private := newKey(t)
	transports(t, func(t *testing.T, command bool) {
		c := config(server)
		c.UseCommand = command
		c.IdentityFiles = []string{writeKey(t, private, "")}
		if command {
			refuses(t, c, "Permission denied", string(CauseLoginRefused))
		} else {
			refuses(t, c, "logging in as "+server.User, string(CauseKeyRefused)+" "+ssh.FingerprintSHA256(public))
		}
		c.IdentityFiles = []string{"/nonexistent/key"}
		refuses(t, c, "/nonexistent/key", "")
	})
	c := config(server)
	c.IdentityFiles = []string{write(t, "key", "no key at all")}
	refuses(t, c, "reading identity", "")
}

func TestNoSession(t *testing.T) {
	t.Parallel()
	d, err := NewDialer(config(startSSHD(t, sandbox.SSHDConfig{Config: []string{"MaxSessions 0"}})))
	if err != nil {
		t.Fatal(err)
	}
	if made, err := greet(t.Context(), d); err == nil {
		made.Close()
		t.Error("connected without a session")
	}
}

// A key with a passphrase serves through the agent alone.
func TestAgent(t *testing.T) {
	server := plainSSHD(t)
	data, err := os.ReadFile(server.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	private := *raw.(*ed25519.PrivateKey)
	c := config(server)
	c.IdentityFiles = []string{writeKey(t, private, "passphrase")}
	refuses(t, c, "logging in", string(CauseKeyEncrypted)+" "+c.IdentityFiles[0])

	keyring := agent.NewKeyring()
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keyring, conn)
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket)
	refuses(t, c, "logging in", string(CauseKeyEncrypted))
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	connect(t, c).Close()
	c.IdentityFiles = nil
	connect(t, c).Close()

	_, other := newKey(t)
	c.Host = "alias"
	c.ConfigFile = write(t, "config", fmt.Sprintf("Host alias\n HostName %s\n HostKeyAlias key\n IdentitiesOnly yes\n IdentityFile %s\n",
		server.Host, writeKey(t, other, "")))
	c.KnownHostsFiles = []string{alias(t, server, "key")}
	refuses(t, c, "logging in", string(CauseKeyRefused)) // the agent's key is not among those named
}

// alias returns a known_hosts file that has the server's key under another name.
func alias(t *testing.T, server *sandbox.SSHD, name string) string {
	t.Helper()
	known, err := os.ReadFile(server.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := bytes.Cut(known, []byte(" "))
	return write(t, "known_hosts", name+" "+string(key))
}

// What ssh_config says is heeded: an alias stands for everything.
func TestSSHConfig(t *testing.T) {
	server := plainSSHD(t)
	known := alias(t, server, "name-of-key")
	included := write(t, "included", "Host backup-*\n  User wrong\n  HostKeyAlias name-of-key\n")
	text := fmt.Sprintf(`# comment
Include %s
Host other
  HostName 192.0.2.1
Host !backup-not backup-*
  hostname = %s
  Port %d
  User wrong-too
  IdentityFile "%s"
  UserKnownHostsFile %s
Host *
  User %s
`, included, server.Host, server.Port, server.IdentityFile, known, server.User)
	c := Config{Host: "backup-1", User: server.User, ConfigFile: write(t, "config", text)}
	s := connect(t, c)
	works(t, s)
	if _, ok := s.conn.(*clientConn); !ok {
		t.Error("the ssh command was used")
	}
	c.UseCommand = true
	works(t, connect(t, c))
}

// What only the ssh command can do makes it connect.
func TestFallsOver(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	base := fmt.Sprintf("\nHost alias\n HostName 192.0.2.1\n Port %d\n HostKeyAlias key\n User %s\n IdentityFile %s\n UserKnownHostsFile %s\n",
		server.Port, server.User, server.IdentityFile, alias(t, server, "key"))
	included := write(t, "included", "Match exec true\n HostName 127.0.0.1\n")
	for name, text := range map[string]string{
		"ProxyCommand":  base + " ProxyCommand " + proxy(t, server) + "\n",
		"Match exec":    "Match exec true\n HostName 127.0.0.1\n" + base,
		"Match host":    "Match host alias exec true\n HostName 127.0.0.1\n" + base,
		"Include":       "Include " + included + "\n" + base,
		"Ciphers":       "Host alias\n Ciphers aes256-ctr\n HostName 127.0.0.1\n" + base,
		"AddressFamily": "Host alias\n HostName 127.0.0.1\n AddressFamily inet\n" + base,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := connect(t, Config{Host: "alias", ConfigFile: write(t, "config", text)})
			works(t, s)
			if _, ok := s.conn.(commandConn); !ok {
				t.Error("the ssh command was not used")
			}
		})
	}
	c := Config{Host: "alias", Command: "/nonexistent/ssh", ConfigFile: write(t, "config", "Match exec true\n")}
	refuses(t, c, "starting the ssh command", string(CauseNoCommand))
	c.ConfigFile = "/nonexistent/config"
	refuses(t, c, "/nonexistent/config", "")
}

// proxy returns a ProxyCommand that leads to the server: this test's binary.
func proxy(t *testing.T, server *sandbox.SSHD) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s 127.0.0.1:%d", self, proxyArg, server.Port)
}

func TestProxyJump(t *testing.T) {
	t.Parallel()
	first, second, target := startSSHD(t, sandbox.SSHDConfig{}), startSSHD(t, sandbox.SSHDConfig{}), plainSSHD(t)
	var known, hosts strings.Builder
	for i, s := range []*sandbox.SSHD{first, second, target} {
		data, err := os.ReadFile(s.KnownHosts)
		if err != nil {
			t.Fatal(err)
		}
		known.Write(data)
		fmt.Fprintf(&hosts, "Host h%d\n HostName %s\n Port %d\n IdentityFile %s\n", i, s.Host, s.Port, s.IdentityFile)
	}
	c := Config{Host: "h2", KnownHostsFiles: []string{write(t, "known_hosts", known.String())}}
	for name, jump := range map[string]string{
		"list":  "Host h2\n ProxyJump h0,h1\n",
		"chain": "Host h2\n ProxyJump h1\nHost h1\n ProxyJump h0\n",
		"one":   fmt.Sprintf("Host h2\n ProxyJump %s@h0\n", first.User),
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.ConfigFile = write(t, "config", jump+hosts.String()+"Host *\n User "+target.User+"\n")
			works(t, connect(t, c))
		})
	}
	c.ConfigFile = write(t, "config", "Host h0\n ProxyJump h1\nHost h1\n ProxyJump h0\nHost h2\n ProxyJump h0\n"+hosts.String())
	refuses(t, c, "jumps", "")
	c.ConfigFile = write(t, "config", "Host h2\n ProxyJump h0\nHost h0\n Port 1\n"+hosts.String())
	d, err := NewDialer(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || Permanent(err) {
		t.Errorf("a jump host that is not there: %v", err)
	}
}
