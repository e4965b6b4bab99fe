package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
)

// A night in which a component fails keeps the others, says so also to the quiet, and ends with a code of its own. A component
// that a setting leaves out is no failure.
func TestIncompleteNight(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init()
	r := s.run(exitIncomplete, "snapshot", "-q", "--secret", "/nowhere")
	if r.stdout != "" || !strings.Contains(r.stderr, "warning: secrets failed, and the snapshot is made without") ||
		!strings.Contains(r.stderr, "/nowhere") || !strings.Contains(r.stderr, "is kept without secrets, which failed") {
		t.Errorf("stdout %q, stderr\n%s", r.stdout, r.stderr)
	}
	show := s.run(exitDone, "show").stdout
	if !strings.Contains(show, "secrets: it failed: collecting secrets: ") {
		t.Errorf("show says\n%s", show)
	}
	s.run(exitFailed, "snapshot", "-q", "--strict", "--secret", "/nowhere")
	if n := len(s.snapshots(t)); n != 1 {
		t.Errorf("%d snapshots", n)
	}
	config := filepath.Join(s.home, "permafrost.toml")
	if err := os.WriteFile(config, []byte("live = \""+s.Live+"\"\nskip = [\"redis\", \"media\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(exitDone, "snapshot")
	ls := s.run(exitDone, "ls", "latest").stdout
	if !strings.HasPrefix(ls, "secrets/") || !strings.HasSuffix(ls, "\npostgres\n") || strings.Count(ls, "\n") != 2 {
		t.Errorf("ls says\n%s", ls)
	}
	if r := s.run(exitFailed, "ls", "latest", "media"); !strings.Contains(r.stderr, "it was skipped by a setting") || !strings.Contains(r.stderr, "has it") {
		t.Errorf("ls media says\n%s", r.stderr)
	}
	s.run(exitFailed, "dump", "-i", s.recovery, "latest", "redis")
	s.run(exitDone, "restore", "-i", s.recovery, "--snapshot", "latest", "--target", filepath.Join(s.home, "skipped"))
	r = s.run(exitPartial, "restore", "-i", s.recovery, "--snapshot", "latest~1", "--target", filepath.Join(s.home, "failed"))
	if !strings.Contains(r.stderr, "--component secrets --target DIR") {
		t.Errorf("restore says\n%s", r.stderr)
	}
	s.run(exitDone, "check")
	s.run(exitUsage, "snapshot", "--skip", "postgers")
}
