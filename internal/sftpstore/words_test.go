package sftpstore

import (
	"testing"

	"permafrost/internal/sandbox"
)

// A server's process that ends by itself is not started again, and the error has what it said.
func TestServersWords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ command, says, hint string }{
		"fails":   {"exit 1", "status 1", "forced command"},
		"missing": {"/nonexistent/sftp-server", "status 127", "forced command"},
		"nologin": {"/usr/sbin/nologin", "account is currently not available", "login shell"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(startSSHD(t, sandbox.SSHDConfig{Config: []string{"ForceCommand " + test.command}}))
			refuses(t, c, test.says, test.hint)
			c.UseCommand = true
			refuses(t, c, test.says, test.hint)
		})
	}
	c := Config{Host: "words", Path: "/x", UseCommand: true, Command: scripted(t, "sh", "-c", "echo the root is missing >&2; exit 1")}
	refuses(t, c, "the root is missing", "forced command")
}
