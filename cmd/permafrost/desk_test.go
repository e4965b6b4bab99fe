package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
)

// A desk is a machine with a repository in a local directory.
type desk struct {
	t    *testing.T
	home string
}

func newDesk(t *testing.T) *desk {
	d := &desk{t, t.TempDir()}
	d.run(exitDone, "init", "--recovery-key", "recovery.key")
	return d
}

func (d *desk) command(args ...string) *command {
	c := newCommand(d.t, append(args, "-r", "./repo")...)
	c.Dir = d.home
	c.Env = append(c.Env, "PERMAFROST_STATE_DIR=state", "PERMAFROST_CACHE_DIR=cache", "PERMAFROST_WRITER_KEY=writer.key")
	return c
}

func (d *desk) run(code int, args ...string) result {
	d.t.Helper()
	r := d.command(args...).run(d.t)
	if r.code != code {
		d.t.Fatalf("permafrost %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// newIdentity writes an age identity of the old kind into a file and returns its recipient.
func (d *desk) newIdentity(file string) string {
	d.t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.home, file), []byte(id.String()+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return id.Recipient().String()
}

var fingerprintPattern = regexp.MustCompile(`[a-z2-7]{4}(-[a-z2-7]{4}){7}`)
