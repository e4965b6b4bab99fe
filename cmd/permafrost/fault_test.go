package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
)

// Whatever fails, on the host or at the storage: the command says so with the right code, lists nothing that is not
// whole, and what was stored before comes back.
func TestFaults(t *testing.T) {
	signal.Ignore(unix.SIGXFSZ)                                                                           // inherited by sshd: see testRefused
	s := newSite(t, sandbox.Config{Redis: sandbox.RedisConfig{Args: []string{"--rdbcompression", "no"}}}) // what it holds is to be found
	s.init()
	settle(t, s.System())
	s.run(exitDone, "snapshot", "--date", "2026-06-26")
	w := newWitness(t, s, s.System())
	for _, test := range []struct {
		name string
		run  func(*witness, *testing.T)
	}{
		{"unchanged", (*witness).testUnchanged},
		{"plaintext", (*witness).testPlaintext},
		{"host", (*witness).testHost},
		{"recovery file", (*witness).testRecoveryFile},
		{"damage", (*witness).testDamaged},
		{"input", (*witness).testInput},
		{"killed pg_dump", (*witness).testKilledDump},
		{"wrong password", (*witness).testWrongPassword},
		{"full", (*witness).testFull},
		{"refused", (*witness).testRefused},
		{"tree", (*witness).testTree},
		{"no Redis", (*witness).testNoRedis}, // the last ones: the servers do not come back
		{"no PostgreSQL", (*witness).testNoPostgres},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(w.on(t), t) })
	}
}

// A witness knows what was in a site's first snapshot.
type witness struct {
	*site
	root  string // of the media
	media compare.State
	files map[string]string // hashes of the other files of a restore
}

// parts are the files of a restore beside the media.
var parts = []string{"env.production", "mastodon_production.dump", "redis-dump.rdb"}

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
	for _, name := range parts {
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
	for _, name := range parts {
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

// snapshotFails makes a snapshot that can't be made.
func (w *witness) snapshotFails(args []string, want ...string) {
	w.t.Helper()
	before := w.snapshots(w.t)
	told(w.t, w.run(exitFailed, append([]string{"snapshot"}, args...)...), want...)
	w.nothingCame(before)
}

// nothingCame looks at what a failed snapshot left.
func (w *witness) nothingCame(before []snapshotLine) {
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
	if err := os.WriteFile(path, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { os.Remove(path) })
}

// pg_dump is killed in the middle of its work.
func (w *witness) testKilledDump(t *testing.T) {
	release := w.lockTable()
	before := w.snapshots(t)
	c := w.command("snapshot")
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	// It waits for the table. This process halted, it can't write more than the pipe holds.
	dump := 0
	await(t, "pg_dump", func() bool {
		dump = childOf(c.Process.Pid, "pg_dump", "--snapshot")
		return dump != 0
	})
	signalTo(t, c.Process.Pid, unix.SIGSTOP)
	release()
	await(t, "data", func() bool { return written(dump) > 64<<10 })
	signalTo(t, dump, unix.SIGKILL)
	signalTo(t, c.Process.Pid, unix.SIGCONT)
	c.Wait()
	if c.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v", c.ProcessState)
	}
	told(t, result{stderr: errs.String()}, "postgres: ", "pg_dump failed: signal: killed")
	w.nothingCame(before)
	w.intact()
}

// lockTable keeps a table from everybody until release is called.
func (w *witness) lockTable() (release func()) {
	w.t.Helper()
	psql := w.Postgres.Command(w.t.Context(), "psql", "-X", "-q", "-d", sandbox.Database)
	in, err := psql.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := psql.StdoutPipe()
	if err == nil {
		err = psql.Start()
	}
	if err == nil {
		_, err = io.WriteString(in, "BEGIN;\nLOCK TABLE statuses;\n\\echo locked\n")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		w.t.Fatalf("psql says %q, %v", line, err)
	}
	return func() {
		if err := errors.Join(in.Close(), psql.Wait()); err != nil {
			w.t.Error(err)
		}
	}
}

// childOf finds a process by its parent, its name and one of its arguments. It returns 0 where there is none.
func childOf(parent int, name, arg string) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, _ := os.ReadFile(path) // "PID (NAME) STATE PARENT ...", or nothing of one that has ended
		_, rest, _ := strings.Cut(string(data), " ("+name+") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if strings.Contains(string(args), arg) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

// written returns how many bytes a process has written.
func written(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	_, rest, _ := strings.Cut(string(data), "wchar: ")
	text, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func signalTo(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !there(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
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

func (w *witness) testWrongPassword(t *testing.T) {
	w.snapshotFails([]string{"--live", w.live(map[string]string{"DB_PASS": "hunter2"})}, "postgres: ", "password authentication failed")
	w.snapshotFails([]string{"--live", w.live(map[string]string{"REDIS_PASSWORD": "hunter2"})}, "redis: ", "password")
	w.intact()
}

func (w *witness) testNoRedis(t *testing.T) {
	if err := w.Redis.Stop(); err != nil {
		t.Fatal(err)
	}
	w.snapshotFails(nil, "redis: ", "connection refused")
	w.intact()
}

func (w *witness) testNoPostgres(t *testing.T) {
	if err := w.Postgres.Stop(); err != nil {
		t.Fatal(err)
	}
	w.snapshotFails(nil, "postgres: ", "connection refused")
	w.intact()
}

// The storage's file system is full.
func (w *witness) testFull(t *testing.T) {
	first := w.snapshots(t)[0]
	small := filepath.Join(w.SSHD.Root, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", small, "tmpfs", 0, fmt.Sprintf("size=%d", first.Stored+16<<20))
	if errors.Is(err, unix.EPERM) {
		t.Log("no right to mount a small file system: testRefused alone shows what a failed write leaves")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	m := w.machine()
	m.repo = "sftp:backup.example:" + small + "/repo"
	m.run(exitDone, "init", "--live", m.Live, "--recovery-key", m.recovery)
	m.run(exitDone, "snapshot", "--date", "2026-06-26")
	m = newWitness(t, m.site, m.root)
	ballast := filepath.Join(small, "ballast")
	fillUp(t, ballast, 1<<20)
	m.addMedia("too-much.jpg", 4<<20)
	m.snapshotFails(nil, "no space left on the storage")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(m.root, "too-much.jpg"))
	m.intact()
	m.run(exitDone, "snapshot", "--date", "2026-06-27")
	m.run(exitDone, "check")
}

// fillUp makes a file that takes all of a file system but so many bytes.
func fillUp(t *testing.T, path string, rest int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(0)
	for block := make([]byte, 64<<10); err == nil; {
		var n int
		n, err = f.Write(block)
		size += int64(n)
	}
	if !errors.Is(err, unix.ENOSPC) || size < rest {
		t.Fatalf("after %d bytes: %v", size, err)
	}
	if err := f.Truncate(size - rest); err != nil {
		t.Fatal(err)
	}
}

// The server refuses to write more, as for a quota of which the protocol does not tell.
func (w *witness) testRefused(t *testing.T) {
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Prlimit(w.SSHD.PID, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.addMedia("refused.jpg", 4<<20)
	limit(1 << 20)
	defer limit(unix.RLIM_INFINITY)
	w.snapshotFails(nil, "quota")
	limit(unix.RLIM_INFINITY)
	w.intact()
}

func untold(t *testing.T, r result, text string) {
	t.Helper()
	if strings.Contains(r.stdout+r.stderr, text) {
		t.Errorf("it tells %q:\n%s%s", text, r.stdout, r.stderr)
	}
}
