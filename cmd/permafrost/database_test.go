package main

import (
	"strconv"
	"strings"
	"testing"

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
		{"application_name LIKE '% pg_dump'", "SELECT pg_terminate_backend($)", true},
		{"application_name LIKE '% pg_dump'", "SELECT pg_cancel_backend($)", true},
		{"application_name NOT LIKE '% pg_dump' AND state = 'idle in transaction'", "SELECT pg_terminate_backend($)", false},
		{"application_name LIKE '% pg_dump'", "", true}, // the last one: all connections go
	} {
		release := s.lockTable()
		u := w.next()
		backend := 0
		await(t, "pg_dump that waits for the table", func() bool {
			waits := s.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE '% pg_dump' AND wait_event_type = 'Lock'")
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
