package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox"
)

// The connections of pg_dump and of permafrost itself are ended by the database, and its processes killed.
func (s *site) testDatabaseGone(t *testing.T) {
	w := newStruckWriter(t, s)
	for _, end := range []struct {
		of, how string
		fails   bool
	}{
		{"application_name = 'pg_dump'", "SELECT pg_terminate_backend($)", true},
		{"application_name = 'pg_dump'", "SELECT pg_cancel_backend($)", true},
		{"application_name NOT IN ('pg_dump', 'psql') AND state = 'idle in transaction'", "SELECT pg_terminate_backend($)", false},
		{"application_name = 'pg_dump'", "", true}, // the last one: all connections go
	} {
		release := s.lockTable()
		u := w.next()
		backend := 0
		await(t, "pg_dump that waits for the table", func() bool {
			waits := s.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'")
			backend, _ = strconv.Atoi(s.query("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL" +
				" AND application_name <> 'psql' AND " + end.of + " ORDER BY backend_start LIMIT 1"))
			return waits != "" && backend != 0 || !u.runs()
		})
		if end.how == "" {
			signalTo(t, backend, unix.SIGKILL)
		} else if got := s.query(strings.ReplaceAll(end.how, "$", strconv.Itoa(backend))); got != "t" {
			t.Fatalf("%s: %q", end.how, got)
		}
		if err := release(); err != nil && end.how != "" {
			t.Error(err)
		}
		if r := u.wait(); end.fails || r.code != exitDone {
			u.fails("postgres: ")
		} else {
			u.must(exitDone)
		}
		w.listed(u)
	}
	await(t, "database", func() bool { return s.query("SELECT 1") == "1" })
	w.next().must(exitDone)
	w.compare()
	w.tidy()
}

// query returns what the database answers, or "".
func (s *site) query(sql string) string {
	out, _ := s.Postgres.Command(s.t.Context(), "psql", "-XAtq", "-d", sandbox.Database, "-c", sql).Output()
	return strings.TrimSpace(string(out))
}

// halt halts a command once something has come, or gone, in a directory of the repository, and reports whether it
// had not ended by then.
func (s *site) halt(run *running, dir string, changed func(before, now map[string]bool) bool, before map[string]bool) bool {
	s.t.Helper()
	for run.runs() {
		if changed(before, s.names(dir)) {
			return halt(s.t, run.c.Process.Pid)
		}
	}
	return false
}

// names lists the objects in a directory of the repository.
func (s *site) names(dir string) map[string]bool {
	s.t.Helper()
	all := make(map[string]bool)
	paths, _ := filepath.Glob(filepath.Join(s.place(), dir, "*"))
	if dir == "packs" {
		paths, _ = filepath.Glob(filepath.Join(s.place(), dir, "??", "*"))
	}
	for _, path := range paths {
		all[path] = true
	}
	return all
}

func came(before, now map[string]bool) bool {
	for name := range now {
		if !before[name] {
			return true
		}
	}
	return false
}

func went(before, now map[string]bool) bool { return came(now, before) }

// A writer is halted before its snapshot is committed, and goes on days later: what it had stored was left over, and a
// prune has deleted it.
func (s *site) testSuspendedWriter(t *testing.T) {
	r, through := s.relay(0, 0)
	w := newStruckWriter(t, s)
	w.begin(through).must(exitDone)
	for _, stage := range []string{"leases", "tmp", "packs", "index", "manifests"} {
		for tries := 1; ; tries++ {
			r.Delay(20 * time.Millisecond)
			before, log := s.names(stage), len(s.names("log"))
			u := w.begin(through)
			halted := s.halt(u.running, stage, came, before)
			r.Delay(0)
			if !halted || len(s.names("log")) != log {
				if tries == 5 {
					t.Fatalf("%s: never in time", stage)
				}
				if halted {
					signalTo(t, u.c.Process.Pid, unix.SIGCONT)
				}
				u.must(exitDone)
				continue
			}
			s.age("", 80*time.Hour)
			pruned := decode[pruneLine](t, s.run(exitDone, "prune", "-i", s.recovery, "--json").stdout, "prune")
			if stage != "leases" && stage != "tmp" && pruned[0].LeftOver == 0 {
				t.Errorf("%s: nothing was left over", stage)
			}
			signalTo(t, u.c.Process.Pid, unix.SIGCONT)
			got := u.wait()
			if got.code != exitDone {
				u.fails("a prune removed data")
			} else {
				u.must(exitDone)
			}
			t.Logf("halted at %s; pruned %d left over; then exit code %d: %s", stage, pruned[0].LeftOver, got.code, got.stderr)
			w.listed(u)
			break
		}
		u := w.begin(through)
		u.must(exitDone)
		w.listed(u)
	}
	w.compare()
	w.tidy()
}

// A pruner is halted at each step, and goes on days later: another one has pruned, and a writer written.
func (s *site) testSuspendedPruner(t *testing.T) {
	r, through := s.relay(0, 0)
	w := newStruckWriter(t, s)
	for _, stage := range []struct {
		name, dir string
		changed   func(before, now map[string]bool) bool
	}{
		{"lease", "leases", came}, {"moved packs", "packs", came}, {"index", "index", came}, {"entry", "log", came}, {"deletions", "packs", went},
	} {
		for tries := 1; ; tries++ {
			w.next().must(exitDone)
			w.next().must(exitDone)
			w.forget(1)
			r.Delay(20 * time.Millisecond)
			before := s.names(stage.dir)
			first := start(t, through("prune", "-i", s.recovery, "--max-unused", "0"))
			halted := s.halt(first, stage.dir, stage.changed, before)
			r.Delay(0)
			if !halted {
				first.must(exitDone)
				if tries == 5 {
					t.Fatalf("%s: never in time", stage.name)
				}
				continue
			}
			s.age("", 80*time.Hour)
			s.run(exitDone, "prune", "-i", s.recovery, "--max-unused", "0")
			u := w.next()
			u.must(exitDone)
			signalTo(t, first.c.Process.Pid, unix.SIGCONT)
			got := first.wait()
			t.Logf("halted at %s; then exit code %d: %s%s", stage.name, got.code, got.stdout, got.stderr)
			if got.code != exitDone {
				told(t, got)
			}
			w.listed(u)
			break
		}
		s.run(exitDone, "check", "-i", s.recovery, "--read-data")
	}
	w.compare()
	w.tidy()
}
