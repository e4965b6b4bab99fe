package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/internal/dirstore"
	"permafrost/internal/sandbox"
	"permafrost/repo"
	"permafrost/repo/keys"
)

// The policy and the prune follow each snapshot that was kept, and never hide what is wrong with it.
func TestRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init() // the policy keeps one
	type line struct {
		Snapshot  string `json:"snapshot"`
		Code      int    `json:"exit_code"`
		Retention string `json:"retention"`
		Kept      int    `json:"snapshots_kept"`
		Removed   int    `json:"snapshots_removed"`
	}
	night := func(code int, retention string, left int, args ...string) result {
		t.Helper()
		r := s.run(code, append([]string{"run", "--json"}, args...)...)
		lines := decode[line](t, r.stdout, "run")
		if len(lines) != 1 || lines[0].Code != code || lines[0].Retention != retention || lines[0].Kept != left {
			t.Fatalf("%+v", lines)
		}
		if all := s.snapshots(t); len(all) != left || all[left-1].ID != lines[0].Snapshot {
			t.Fatalf("%d snapshots are left, want %d", len(all), left)
		}
		return r
	}
	night(exitDone, "done", 1)
	night(exitDone, "done", 1)

	t.Run("files left out", func(t *testing.T) {
		path := filepath.Join(s.System(), "accounts", "closed.jpg")
		writeMedia(t, path, []byte("closed"))
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 1, 1); os.Geteuid() == 0 && err != nil {
			t.Fatal(err)
		}
		night(exitPartial, "done", 2) // the last complete one stays
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		night(exitDone, "done", 1)
	})
	t.Run("without Redis", func(t *testing.T) {
		night(exitIncomplete, "done", 2, "--redis-url", "redis://127.0.0.1:1/0")
		night(exitDone, "done", 1)
	})
	t.Run("nothing committed", func(t *testing.T) {
		before := s.snapshots(t)
		if r := s.run(exitFailed, "run", "--strict", "--redis-url", "redis://127.0.0.1:1/0"); strings.Contains(r.stdout+r.stderr, "removed") {
			t.Error(r.stdout, r.stderr)
		}
		if after := s.snapshots(t); len(after) != len(before) {
			t.Errorf("%d snapshots, before there were %d", len(after), len(before))
		}
	})
	t.Run("without a policy", func(t *testing.T) {
		night(exitDone, "no policy", 2, "--keep-last", "0")
	})
	t.Run("the prune fails", func(t *testing.T) {
		// A prune can't go on where somebody else is at work.
		lease, err := s.open().NewLease(t.Context(), "snapshot of another.example")
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release()
		r := night(exitRetention, "failed", 1)
		if !strings.Contains(r.stderr, "is kept; removing old snapshots after it failed: ") {
			t.Error(r.stderr)
		}
		night(exitIncomplete, "failed", 2, "--redis-url", "redis://127.0.0.1:1/0")
	})
	night(exitDone, "done", 1)
	t.Run("it looks wrong", func(t *testing.T) {
		r := s.run(exitSuspect, "run", "-q", "--skip", "media") // what the settings leave out is in doubt too
		if n := strings.Count(r.stderr, "looks wrong"); n != 1 || !strings.Contains(r.stderr, "permafrost confirm ") {
			t.Errorf("told %d times: %s", n, r.stderr)
		}
		s.run(exitDone, "forget", s.snapshots(t)[1].ID)
	})
	t.Run("a second run waits", func(t *testing.T) {
		unlock, err := s.open().LockRun("mastodon.example")
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		if r := s.run(exitLocked, "run"); !strings.Contains(r.stderr, "another run for mastodon.example runs on this machine") {
			t.Error(r.stderr)
		}
	})
	t.Run("a host that may not forget", func(t *testing.T) {
		s.run(exitDone, "key", "add", "writer", "--name", "sealed", "--instance", "mastodon.example", "--no-forget", "--key-file", "sealed.key", "-i", s.recovery)
		night(exitDone, "not allowed", 2, "--writer-key", filepath.Join(s.home, "sealed.key"))
	})
}

// open opens the repository in this process, as the host does.
func (s *site) open() *repo.Repo {
	s.t.Helper()
	st, err := dirstore.Open(filepath.Join(s.SSHD.Root, "repo"))
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := keys.LoadIdentity(filepath.Join(s.home, "writer.key"), keys.Prompt{})
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := repo.Open(s.t.Context(), st, id.Keyring, repo.Options{StateDir: filepath.Join(s.home, "state")})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}
