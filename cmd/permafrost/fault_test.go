package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox"
)

// Whatever fails, on the host or at the storage: the command says so with the right code, lists nothing that is not
// whole, and what was stored before comes back.
func TestFaults(t *testing.T) {
	t.Parallel()
	signal.Ignore(unix.SIGXFSZ)                                            // inherited by sshd: see testRefused
	plain := sandbox.RedisConfig{Args: []string{"--rdbcompression", "no"}} // see testPlaintext
	s := newSite(t, sandbox.Config{Redis: plain})
	s.init()
	settle(t, s.System())
	s.run(exitDated, "snapshot", "--date", "2026-06-26")
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
		{"repair", (*witness).testRepair},
		{"input", (*witness).testInput},
		{"killed pg_dump", (*witness).testKilledDump},
		{"wrong password", (*witness).testWrongPassword},
		{"full", (*witness).testFull},
		{"no byte free", (*witness).testNoByteFree},
		{"read-only account", (*witness).testReadOnlyAccount},
		{"refused", (*witness).testRefused},
		{"tree", (*witness).testTree},
		{"terminal", (*witness).testTerminal},
		{"no Redis", (*witness).testNoRedis}, // the last ones: the servers do not come back
		{"no PostgreSQL", (*witness).testNoPostgres},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(w.on(t), t) })
	}
}

// pg_dump is killed in the middle of its work.
func (w *witness) testKilledDump(t *testing.T) {
	// More than the pipe behind pg_dump holds: it can't be through before it is killed.
	w.sql("CREATE TABLE ballast AS SELECT n, repeat(md5(n::text), 64) AS text FROM generate_series(1, 4096) n")
	release := w.lockTable()
	before := w.snapshots(t)
	c := w.command("snapshot", "--strict")
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
	if err := release(); err != nil {
		t.Error(err)
	}
	await(t, "data", func() bool { return written(dump) > 64<<10 })
	signalTo(t, dump, unix.SIGKILL)
	signalTo(t, c.Process.Pid, unix.SIGCONT)
	c.Wait()
	w.sql("DROP TABLE ballast")
	if c.ProcessState.ExitCode() != exitFailed {
		t.Errorf("%v", c.ProcessState)
	}
	told(t, result{stderr: errs.String()}, "postgres: ", "pg_dump failed: signal: killed")
	w.nothingCame(before)
	w.intact()
}

// sql has the database carry out a statement.
func (s *site) sql(statement string) {
	s.t.Helper()
	if err := s.Postgres.Exec(s.t.Context(), sandbox.Database, statement); err != nil {
		s.t.Fatal(err)
	}
}

// lockTable keeps a table from everybody until release is called.
func (s *site) lockTable() (release func() error) {
	s.t.Helper()
	psql := s.Postgres.Command(s.t.Context(), "psql", "-X", "-q", "-d", sandbox.Database)
	in, err := psql.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := psql.StdoutPipe()
	if err == nil {
		err = psql.Start()
	}
	if err == nil {
		_, err = io.WriteString(in, "BEGIN;\nLOCK TABLE statuses;\n\\echo locked\n")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		s.t.Fatalf("psql says %q, %v", line, err)
	}
	return func() error { return errors.Join(in.Close(), psql.Wait()) }
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
	small := w.smallDisk(t, "small", first.Stored+16<<20)
	if small == "" {
		return
	}
	m := w.machine()
	m.repo = "sftp:backup.example:" + small + "/repo"
	m.run(exitDone, "init", "--live", m.Live, "--recovery-key", m.recovery)
	m.run(exitDated, "snapshot", "--date", "2026-06-26")
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
	m.run(exitDated, "snapshot", "--date", "2026-06-27")
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
