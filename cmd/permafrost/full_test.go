package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of so many bytes on the server. It returns "" where this process may not.
func (w *witness) smallDisk(t *testing.T, name string, size int64) string {
	t.Helper()
	dir := filepath.Join(w.SSHD.Root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if errors.Is(err, unix.EPERM) {
		t.Log("no right to mount a small file system: other tests alone show what a failed write leaves")
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// runsQuietly runs a command that warns of nothing but of what a snapshot's date is.
func (w *witness) runsQuietly(args ...string) {
	w.t.Helper()
	for line := range strings.Lines(w.run(exitDone, args...).stderr) {
		if strings.Contains(line, "warning") && !strings.Contains(line, "looks wrong: it is dated") {
			w.t.Errorf("%v warns: %s", args, line)
		}
	}
}

// The storage's file system has no byte free: commands that read work, and forget and prune make room.
func (w *witness) testNoByteFree(t *testing.T) {
	first := w.snapshots(t)[0]
	disk := w.smallDisk(t, "no-byte-free", first.Stored+24<<20)
	if disk == "" {
		return
	}
	m := w.machine()
	m.repo = "sftp:backup.example:" + disk + "/repo"
	m.run(exitDone, "init", "--live", m.Live, "--recovery-key", m.recovery)
	m.run(exitDated, "snapshot", "--date", "2026-06-26")
	m = newWitness(t, m.site, m.root)
	m.addMedia("large.jpg", 4<<20)
	m.run(exitDated, "snapshot", "--date", "2026-06-27")
	large := m.snapshots(t)[1]
	m.run(exitDone, "confirm", m.snapshots(t)[0].ID, large.ID)
	os.Remove(filepath.Join(m.root, "large.jpg"))
	fillUp(t, filepath.Join(disk, "ballast"), 0)
	if r := m.command("snapshot").run(t); r.code != exitFailed || !strings.Contains(r.stderr, "no space left on the storage") ||
		!strings.Contains(r.stderr, "permafrost prune") {
		t.Errorf("a snapshot: code %d, %s", r.code, r.stderr)
	}
	for _, args := range [][]string{{"check"}, {"check", "--read-data"}, {"snapshots"}, {"ls", "latest"}, {"prune", "--dry-run"}} {
		m.runsQuietly(args...)
	}
	m.intact()
	before := objects(t, filepath.Join(disk, "repo"))
	m.run(exitDone, "forget", large.ID)
	m.run(exitDone, "prune", "-i", m.recovery)
	after := objects(t, filepath.Join(disk, "repo"))
	if len(after) >= len(before) || after["reserve"] != before["reserve"] {
		t.Errorf("%d objects became %d, the reserve %q", len(before), len(after), after["reserve"])
	}
	m.run(exitDone, "check", "-i", m.recovery, "--read-data")
	m.run(exitDated, "snapshot", "--date", "2026-06-28")
	m.intact()
}

// An account that may only read serves all commands that only read, and nothing warns of what it lacks to write.
func (w *witness) testReadOnlyAccount(t *testing.T) {
	m := w.on(t)
	self := filepath.Join(filepath.Dir(w.SSHD.IdentityFile), "authorized_keys")
	key, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	restricted := fmt.Sprintf("command=\"/usr/lib/openssh/sftp-server -R\",restrict %s", key)
	if err := os.WriteFile(self, []byte(restricted), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(self, key, 0o600) })
	for _, args := range [][]string{{"check"}, {"check", "--read-data", "-i", w.recovery}, {"snapshots"}, {"show"}, {"ls", "latest"}, {"prune", "--dry-run"}} {
		m.runsQuietly(args...)
	}
	m.intact()
	if r := m.command("snapshot").run(t); r.code != exitFailed || !strings.Contains(r.stderr, "permission denied") {
		t.Errorf("a snapshot: code %d, %s", r.code, r.stderr)
	}
}
