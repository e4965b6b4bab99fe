package sftpstore

import (
	"os"
	"path/filepath"
	"testing"
)

// A user's file is looked for below $HOME. None is as good as an empty one: it must not send connections to the ssh
// command, and what the system's file says counts where the user's is silent.
func TestUsersSSHConfig(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	c, err := readSSHConfig("")
	if err != nil {
		t.Fatal(err)
	}
	if c.beyond != "" || c.home != home || c.get("backup", "HostName") != "" {
		t.Errorf("without a file: beyond %q, home %q", c.beyond, c.home)
	}
	silent := c.get("backup", "SendEnv")
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte("Host backup\n  HostName storage.example\n  Port 2222\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = readSSHConfig(""); err != nil {
		t.Fatal(err)
	}
	if c.beyond != "" || c.get("backup", "HostName") != "storage.example" || c.get("backup", "Port") != "2222" || c.get("other", "Port") != "" {
		t.Errorf("with a file: beyond %q, HostName %q, Port %q", c.beyond, c.get("backup", "HostName"), c.get("backup", "Port"))
	}
	// Debian's system file sends the locale's variables; where there is no such file both are empty.
	if got := c.get("backup", "SendEnv"); got != silent {
		t.Errorf("the system's file says %q with a user's file, and %q without", got, silent)
	}
}
