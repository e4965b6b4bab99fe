package sandbox

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sftpClient returns OpenSSH's own client, which shares nothing with the server's
// configuration but the two key files.
func sftpClient(t *testing.T, s *SSHD, batch string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sftp", "-F", "none", "-b", "-", "-P", strconv.Itoa(s.Port), "-i", s.IdentityFile,
		"-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+s.KnownHosts,
		s.User+"@"+s.Host)
	cmd.Stdin = strings.NewReader(batch)
	return cmd
}

func TestSSHD(t *testing.T) {
	s, err := StartSSHD(t.Context(), t.TempDir(), SSHDConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	dir := t.TempDir()
	want := []byte("What goes up must come down.\n")
	up, down := filepath.Join(dir, "up"), filepath.Join(dir, "down")
	if err := os.WriteFile(up, want, 0o600); err != nil {
		t.Fatal(err)
	}
	batch := "put " + up + " " + s.Root + "/file\nget " + s.Root + "/file " + down + "\n"
	if out, err := sftpClient(t, s, batch).CombinedOutput(); err != nil {
		t.Fatalf("sftp: %v: %s\nserver: %s", err, out, tail(s.proc.log))
	}
	if got, err := os.ReadFile(down); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// An append-only account is made by sftp-server's own arguments.
func TestSSHDArguments(t *testing.T) {
	s, err := StartSSHD(t.Context(), t.TempDir(), SSHDConfig{SFTPArgs: []string{"-P", "remove"}, Config: []string{"MaxSessions 2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	file := filepath.Join(s.Root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := sftpClient(t, s, "ls "+s.Root+"\n").CombinedOutput(); err != nil {
		t.Errorf("ls: %v: %s", err, out)
	}
	if out, err := sftpClient(t, s, "rm "+file+"\n").CombinedOutput(); err == nil {
		t.Errorf("rm went through: %s", out)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// Stop ends the connections too, though each has a session of its own.
func TestSSHDStop(t *testing.T) {
	s, err := StartSSHD(t.Context(), t.TempDir(), SSHDConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	client := sftpClient(t, s, "")
	client.Stdin = nil
	in, err := client.StdinPipe() // held open, and so is the connection
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	var family []int
	for deadline := time.Now().Add(10 * time.Second); len(family) == 0; {
		if family = descendants(s.PID); time.Now().After(deadline) {
			t.Fatal("no connection came")
		}
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	client.Wait()
	for _, pid := range append(family, s.PID) {
		deadline := time.Now().Add(10 * time.Second)
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d runs on after Stop", pid)
			}
		}
	}
}

// connect opens a connection and starts SFTP on it.
func connect(t *testing.T, s *SSHD) *ssh.Client {
	t.Helper()
	key, err := os.ReadFile(s.IdentityFile)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(s.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ssh.Dial("tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), &ssh.ClientConfig{
		User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: check,
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		t.Fatal(err)
	}
	return c
}

// Nor does Stop leave behind a connection that is just ending.
func TestSSHDStopAfterClose(t *testing.T) {
	s, err := StartSSHD(t.Context(), t.TempDir(), SSHDConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	var clients []*ssh.Client
	for range 10 {
		clients = append(clients, connect(t, s))
	}
	family := descendants(s.PID)
	for _, c := range clients {
		c.Close()
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	for _, pid := range family {
		for deadline := time.Now().Add(10 * time.Second); alive(pid); {
			if time.Now().After(deadline) {
				t.Fatalf("process %d runs on after Stop", pid)
			}
		}
	}
}
