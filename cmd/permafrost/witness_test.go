package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox/compare"
)

// A witness knows what was in a site's first snapshot.
type witness struct {
	*site
	root  string // of the media
	media compare.State
	files map[string]string // hashes of the other files of a restore
}

// fileParts are the files of a restore beside the media.
var fileParts = []string{"env.production", "mastodon_production.dump", "redis-dump.rdb"}

// newWitness looks at the media, which are as they were in the first snapshot, and at what a restore gives.
func newWitness(t *testing.T, s *site, root string) *witness {
	t.Helper()
	w := &witness{site: s, root: root, files: make(map[string]string)}
	var err error
	if w.media, err = compare.Tree(root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "first")
	s.run(exitDone, "restore", "-i", s.recovery, "--date", "2026-06-26", "--target", dir)
	for _, name := range fileParts {
		if w.files[name], err = compare.SHA256(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.compare(dir)
	return w
}

// settle waits until the files have been left alone for so long that a snapshot takes their times for granted.
func settle(t *testing.T, root string) {
	t.Helper()
	newest := int64(0)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		newest = max(newest, unix.TimespecToNsec(st.Ctim))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(time.Unix(0, newest).Add(6 * time.Second)))
}

// on returns the witness for a subtest.
func (w *witness) on(t *testing.T) *witness {
	c := *w
	c.site = w.site.on(t)
	return &c
}

func (s *site) on(t *testing.T) *site {
	c := *s
	c.t = t
	return &c
}

// machine returns a machine that has never seen the repository, with copies of these files of the site's.
func (w *witness) machine(files ...string) *witness {
	w.t.Helper()
	m := w.on(w.t)
	m.home = w.t.TempDir()
	m.recovery = filepath.Join(m.home, "recovery.key")
	for _, name := range append(files, "permafrost.toml") {
		data, err := os.ReadFile(filepath.Join(w.home, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(m.home, name), data, 0o600)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return m
}

// intact restores the first snapshot, and compares.
func (w *witness) intact() {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "intact")
	w.run(exitDone, "restore", "-i", w.recovery, "--date", "2026-06-26", "--target", dir)
	w.compare(dir)
}

func (w *witness) compare(dir string) {
	w.t.Helper()
	got, err := compare.Tree(filepath.Join(dir, "public-system"))
	if err == nil {
		err = w.media.Diff(got)
	}
	if err != nil {
		w.t.Errorf("media: %v", err)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		w.t.Error(err)
	}
	for _, name := range fileParts {
		got, err := compare.SHA256(filepath.Join(dir, name))
		if err != nil || got != w.files[name] || !strings.Contains(string(sums), got+"  "+name+"\n") {
			w.t.Errorf("%s is %s, was %s: %v; SHA256SUMS\n%s", name, got, w.files[name], err, sums)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "env.production")); err != nil || info.Mode() != 0o600 {
		w.t.Errorf("env.production: %v, %v", info.Mode(), err)
	}
}

// told looks at what a command that failed said: one line with the words want, and a hint at most.
func told(t *testing.T, r result, want ...string) {
	t.Helper()
	// A server that takes a moment is told of too.
	r.stderr = strings.Join(slices.DeleteFunc(strings.SplitAfter(r.stderr, "\n"), func(line string) bool {
		return strings.HasPrefix(line, "waiting for an answer of ") || strings.HasPrefix(line, "trying again to reach ")
	}), "")
	lines := strings.SplitAfter(r.stderr, "\n")
	if len(lines) > 3 || lines[len(lines)-1] != "" || !strings.HasPrefix(lines[0], "permafrost: error: ") ||
		len(lines) == 3 && !strings.HasPrefix(lines[1], "permafrost: hint: ") || len(r.stderr) > 1000 || r.stdout != "" {
		t.Errorf("not an error and a hint: stdout %.80q, stderr\n%s", r.stdout, r.stderr)
	}
	for _, text := range want {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("it does not say %q:\n%s", text, r.stderr)
		}
	}
}

// untold looks for what a command may not say.
func untold(t *testing.T, r result, text string) {
	t.Helper()
	if strings.Contains(r.stdout+r.stderr, text) {
		t.Errorf("it tells %q:\n%s%s", text, r.stdout, r.stderr)
	}
}

// snapshotFails makes a snapshot that can't be made: one that has to be whole.
func (w *witness) snapshotFails(args []string, want ...string) {
	w.t.Helper()
	before := w.snapshots(w.t)
	told(w.t, w.run(exitFailed, append([]string{"snapshot", "--strict"}, args...)...), want...)
	w.nothingCame(before)
}

// nothingCame looks at what a failed snapshot left.
func (w *witness) nothingCame(before []keeper.Snapshot) {
	w.t.Helper()
	if after := w.snapshots(w.t); len(after) != len(before) {
		w.t.Errorf("%d snapshots became %d", len(before), len(after))
	}
	for _, name := range []string{"tmp", "leases"} {
		if left, err := os.ReadDir(filepath.Join(w.place(), name)); err != nil || len(left) > 0 {
			w.t.Errorf("left in %s/: %v, %v", name, left, err)
		}
	}
}

// place is where the repository is on the server.
func (s *site) place() string { return strings.TrimPrefix(s.repo, "sftp:backup.example:") }

// addMedia makes a file of so many bytes that are nowhere else.
func (w *witness) addMedia(name string, size int) {
	w.t.Helper()
	data := make([]byte, size)
	rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%32.32s", name)))).Read(data)
	path := filepath.Join(w.root, name)
	writeMedia(w.t, path, data)
	w.t.Cleanup(func() { os.Remove(path) })
}

// writeMedia makes a file as Mastodon would: it belongs to whom the directory does.
func writeMedia(t *testing.T, path string, data []byte) {
	t.Helper()
	var st unix.Stat_t
	err := unix.Stat(filepath.Dir(path), &st)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err == nil {
		err = os.Chown(path, int(st.Uid), int(st.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// live returns a directory like the instance's, with other settings.
func (w *witness) live(set map[string]string) string {
	w.t.Helper()
	env, err := os.ReadFile(filepath.Join(w.Live, ".env.production"))
	if err != nil {
		w.t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.SplitAfter(string(env), "\n"), func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		_, other := set[name]
		return other
	})
	for _, name := range slices.Sorted(maps.Keys(set)) {
		lines = append(lines, name+"="+set[name]+"\n")
	}
	dir := w.t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, ".env.production"), []byte(strings.Join(lines, "")), 0o600),
		os.Symlink(filepath.Join(w.Live, "public"), filepath.Join(dir, "public"))); err != nil {
		w.t.Fatal(err)
	}
	return dir
}
