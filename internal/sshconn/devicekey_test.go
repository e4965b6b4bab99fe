package sshconn

import (
	"encoding/pem"
	"fmt"
	"testing"

	"golang.org/x/crypto/ssh"
)

// writeDeviceKey writes the file that ssh-keygen -t ed25519-sk leaves.
func writeDeviceKey(t *testing.T) string {
	t.Helper()
	key, _ := newKey(t)
	var plain struct {
		Type string
		Key  []byte
	}
	if err := ssh.Unmarshal(key.Marshal(), &plain); err != nil {
		t.Fatal(err)
	}
	const kind = "sk-ssh-ed25519@openssh.com"
	public := ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{kind, plain.Key, "ssh:"})
	private := ssh.Marshal(struct {
		Check1, Check2 uint32
		Type           string
		Key            []byte
		Application    string
		Flags          byte
		Handle         []byte
		Reserved       string
		Comment        string
	}{1, 1, kind, plain.Key, "ssh:", 1, []byte("handle"), "", "of a device"})
	for i := byte(1); len(private)%8 != 0; i++ {
		private = append(private, i)
	}
	file := append([]byte("openssh-key-v1\x00"), ssh.Marshal(struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public, Private      []byte
	}{"none", "none", "", 1, public, private})...)
	return write(t, "id_ed25519_sk", string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: file})))
}

// A security key is passed over where another key opens the account. Where it is the only way the ssh command goes it, by
// one process a connection.
func TestSecurityKey(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	device := writeDeviceKey(t)
	for _, named := range []bool{true, false} {
		c := config(server)
		c.IdentityFiles = []string{device, server.IdentityFile}
		if !named {
			c.IdentityFiles = nil
			c.ConfigFile = write(t, "config", fmt.Sprintf("Host %s\n IdentityFile %s\n IdentityFile %s\n", server.Host, device, server.IdentityFile))
		}
		c.Command = "/nonexistent"
		works(t, connect(t, c))
	}
	c := config(server)
	c.IdentityFiles = []string{device}
	c.Command = scripted(t, "/usr/lib/openssh/sftp-server")
	d, err := NewDialer(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := greet(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		works(t, s)
		if _, ok := s.conn.(commandConn); !ok || !s.conn.Single() {
			t.Errorf("%T: the ssh command is not used, or for more than one stream", s.conn)
		}
	}
	c.Command = "/nonexistent"
	refuses(t, c, "starting the ssh command", string(CauseNoCommand))
}
