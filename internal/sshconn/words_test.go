package sshconn

import (
	"testing"

	"permafrost/internal/sandbox"
)

// A server's process that ends by itself would do so again, and the error has what it said.
func TestServersWords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ command, says, cause string }{
		"fails":   {"exit 1", "status 1", string(CauseAccountUseless)},
		"missing": {"/nonexistent/sftp-server", "status 127", string(CauseAccountUseless)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(startSSHD(t, sandbox.SSHDConfig{Config: []string{"ForceCommand " + test.command}}))
			refuses(t, c, test.says, test.cause)
			c.UseCommand = true
			refuses(t, c, test.says, test.cause)
		})
	}
	c := Config{Host: "words", UseCommand: true, Command: scripted(t, "sh", "-c", "echo the root is missing >&2; exit 1")}
	refuses(t, c, "the root is missing", string(CauseAccountUseless))
}
