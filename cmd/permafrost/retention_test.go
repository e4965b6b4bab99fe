package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/internal/sandbox"
)

// Retention goes on from night to night, whatever is usual at an instance, and removes nothing good for the sake of what is bad.
func TestRetention(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init()
	w := (&witness{site: s.on(t)})
	w.root = s.System()
	t.Run("many a day", w.testManyADay)
	t.Run("an emptied cache", w.testEmptiedCache)
	t.Run("the storage's clock behind", w.testClockBehind)
	t.Run("object storage", w.testObjectStorage)
	t.Run("who may confirm", w.testWhoMayConfirm)
}

// ids returns the IDs of what is listed.
func (s *site) ids(t *testing.T) (ids []string) {
	t.Helper()
	for _, l := range s.snapshots(t) {
		ids = append(ids, l.ID)
	}
	return ids
}

// Nine snapshots on the day of an upgrade are no reason for doubt.
func (w *witness) testManyADay(t *testing.T) {
	for range 9 {
		w.run(exitDone, "snapshot")
	}
	r := w.run(exitDone, "forget", "--keep-last", "2")
	if n := len(w.ids(t)); n != 2 || strings.Contains(r.stderr, "warning") {
		t.Errorf("%d snapshots are left: %s", n, r.stderr)
	}
}

// Other servers' files are no loss: Mastodon fetches them again.
func (w *witness) testEmptiedCache(t *testing.T) {
	for i := range 8 {
		dir := filepath.Join(w.root, "cache", "media_attachments")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		w.on(t).addMedia(filepath.Join("cache", "media_attachments", string(rune('a'+i))+".jpg"), 8<<20)
	}
	w.run(exitDone, "snapshot")
	if err := os.RemoveAll(filepath.Join(w.root, "cache")); err != nil {
		t.Fatal(err)
	}
	w.run(exitDone, "snapshot")
	newest := w.ids(t)
	r := w.run(exitDone, "forget", "--keep-last", "1")
	if left := w.ids(t); !slices.Equal(left, newest[len(newest)-1:]) || strings.Contains(r.stderr, "warning") {
		t.Errorf("left are %v: %s", left, r.stderr)
	}
}

// A storage whose clock is two hours behind for good keeps no policy from being applied, and is told of once.
func (w *witness) testClockBehind(t *testing.T) {
	const behind = 2 * time.Hour
	told := 0
	for range 6 {
		w.run(exitDone, "snapshot")
		logs, err := filepath.Glob(filepath.Join(w.place(), "log", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range logs {
			info, err := os.Stat(path)
			if err == nil && time.Since(info.ModTime()) < behind/2 {
				err = os.Chtimes(path, time.Time{}, info.ModTime().Add(-behind))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r := w.run(exitDone, "forget", "--keep-last", "1")
		told += strings.Count(r.stderr, "the storage's clock is")
		if n := len(w.ids(t)); n != 1 || strings.Contains(r.stderr, "looks wrong") {
			t.Errorf("%d snapshots are left: %s", n, r.stderr)
		}
	}
	if told > 1 {
		t.Errorf("told %d times", told)
	}
}

// S3_ENABLED=true while files lie in the media directory: they are not stored any more, and their last copies stay.
func (w *witness) testObjectStorage(t *testing.T) {
	good := w.ids(t)
	env := filepath.Join(w.Live, ".env.production")
	settings, err := os.ReadFile(env)
	if err == nil {
		err = os.WriteFile(env, append(slices.Clone(settings), "S3_ENABLED=true\nS3_BUCKET=media\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := w.run(exitSuspect, "snapshot", "-q")
	for _, want := range []string{"looks wrong: its media are in object storage, where snapshot ", "still below the media directory and not stored", "permafrost confirm "} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("snapshot does not say %q:\n%s", want, r.stderr)
		}
	}
	w.run(exitSuspect, "snapshot")
	bad := w.ids(t)[len(good):]
	w.run(exitDone, "forget", "--keep-last", "1")
	if left := w.ids(t); !slices.Equal(left, append(slices.Clone(good), bad[1])) {
		t.Errorf("left are %v, want %v and the last of %v", left, good, bad)
	}
	if r := w.run(exitDone, "ls", "latest", "media"); !strings.Contains(r.stderr, "snapshot "+bad[1][:8]) || !strings.Contains(r.stderr, "is skipped: it looks wrong") {
		t.Errorf("ls does not name what it passes over: %s", r.stderr)
	}
	if r := w.run(exitDone, "show", bad[1]); !strings.Contains(r.stdout, "\ndoubt ") {
		t.Errorf("show does not mark it:\n%s", r.stdout)
	}
	if r := w.run(exitDone, "confirm", bad[1]); !strings.Contains(r.stdout, "its media are in object storage") {
		t.Errorf("confirm does not say what it confirms:\n%s", r.stdout)
	}
	if r := w.run(exitDone, "show", bad[1]); !strings.Contains(r.stdout, "\nconfirmed ") {
		t.Errorf("show does not say that it is confirmed:\n%s", r.stdout)
	}
	w.run(exitDone, "snapshot")
	if err := os.WriteFile(env, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(exitDone, "snapshot")
}

// Confirm takes IDs, and a key that may forget.
func (w *witness) testWhoMayConfirm(t *testing.T) {
	m := w.on(t)
	m.run(exitDated, "snapshot", "--date", "2001-01-01")
	ids := m.ids(t)
	bad := ids[len(ids)-1]
	for _, name := range []string{"latest", "2001-01-01", bad[:3], "0123456789abcdef"} {
		if r := m.run(exitFailed, "confirm", name); !strings.Contains(r.stderr, "give an ID") {
			t.Errorf("confirm %s: %s", name, r.stderr)
		}
	}
	if r := m.run(exitFailed, "confirm", ids[0]); !strings.Contains(r.stderr, "there is nothing to confirm") {
		t.Error(r.stderr)
	}
	m.run(exitFailed, "confirm", "--revoke", bad)
	m.run(exitDone, "confirm", "--dry-run", bad)
	bound := filepath.Join(m.home, "bound.key")
	m.run(exitDone, "key", "add", "writer", "--name", "bound", "--no-forget", "--key-file", bound, "-i", m.recovery)
	r := m.run(exitWrongKey, "confirm", bad, "--writer-key", bound)
	if !strings.Contains(r.stderr, "it can't confirm") || !strings.Contains(r.stderr, "-i RECOVERY-FILE") || !strings.Contains(r.stderr, "or the key of ") {
		t.Error(r.stderr)
	}
	type line struct{ Sound, Confirmed bool }
	last := func() line {
		all := decode[line](t, m.run(exitDone, "snapshots", "--json").stdout, "snapshot")
		return all[len(all)-1]
	}
	if l := last(); l.Sound || l.Confirmed {
		t.Errorf("before: %+v", l)
	}
	m.run(exitDone, "confirm", bad)
	if l := last(); !l.Sound || !l.Confirmed {
		t.Errorf("confirmed: %+v", l)
	}
	if r := m.run(exitDone, "confirm", bad); !strings.Contains(r.stderr, "confirmed already") {
		t.Error(r.stderr)
	}
	m.run(exitDone, "confirm", "--revoke", bad, "-i", m.recovery)
	if l := last(); l.Sound || l.Confirmed {
		t.Errorf("taken back: %+v", l)
	}
}
