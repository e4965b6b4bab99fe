package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
)

// setEnv appends lines to the settings of Mastodon, which the last assignment decides, and returns the whole file.
func (s *site) setEnv(lines string) string {
	s.t.Helper()
	path := filepath.Join(s.Live, ".env.production")
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	text = append(text, lines...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// Mastodon's settings name a pooler, and hosts that only Mastodon can reach. permafrost is told other addresses, and the settings
// are stored as they are.
func TestOtherAddresses(t *testing.T) {
	s := newSite(t, sandbox.Config{Sidekiq: true})
	s.init()
	pooler, err := sandbox.StartPgBouncer(t.Context(), s.Dir, s.Postgres, sandbox.Database, "transaction")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pooler.Stop() })
	env := s.setEnv(fmt.Sprintf("DB_PORT=%d\nPREPARED_STATEMENTS=false\n", pooler.Port))
	r := s.run(exitIncomplete, "snapshot")
	if !strings.Contains(r.stderr, "a connection pooler answers") || !strings.Contains(r.stderr, "--postgres-port 5432") || !strings.Contains(r.stderr, "[postgres]") {
		t.Errorf("without an address: %s", r.stderr)
	}
	stored := func(how string, vars []string, args ...string) {
		t.Helper()
		c := s.command(append([]string{"snapshot"}, args...)...)
		c.Env = append(c.Env, vars...)
		if r := c.run(t); r.code != exitDone {
			t.Fatalf("%s: code %d: %s", how, r.code, r.stderr)
		}
		if got := s.run(exitDone, "dump", "-i", s.recovery, "latest", "secrets").stdout; got != env {
			t.Errorf("%s: the stored settings are not the instance's own:\n%s", how, got)
		}
		if got := s.run(exitDone, "dump", "-i", s.recovery, "latest", "postgres").stdout; !strings.HasPrefix(got, "PGDMP") {
			t.Errorf("%s: the dump begins with %.10q", how, got)
		}
	}
	port := strconv.Itoa(s.Postgres.Port)
	stored("flag", nil, "--postgres-port", port)
	stored("variable", []string{"PERMAFROST_POSTGRES_PORT=" + port})

	// As in a container: none of the names means anything on this host.
	env = s.setEnv("DB_HOST=db.invalid\nDB_PASS=other\nREDIS_HOST=redis.invalid\nREDIS_PASSWORD=other\nSIDEKIQ_REDIS_URL=redis://queues.invalid/0\nPAPERCLIP_ROOT_PATH=/opt/mastodon/public/system\n")
	files := map[string]string{"db": s.Postgres.Password, "redis": s.Redis.Password, "sidekiq": s.Sidekiq.Password}
	for name, password := range files {
		if err := os.WriteFile(filepath.Join(s.home, name), []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := fmt.Sprintf(`live = %q
[postgres]
host = "127.0.0.1"
port = %s
password_file = %q
sslmode = "disable"
lock_wait = "5m"
bin = %q
[redis]
url = "redis://%s/0"
password_file = %q
[sidekiq]
url = "redis://%s"
password_file = %q
[media]
root = %q
`, s.Live, port, filepath.Join(s.home, "db"), s.Postgres.BinDir, s.Redis.Addr, filepath.Join(s.home, "redis"), s.Sidekiq.Addr, filepath.Join(s.home, "sidekiq"), s.System())
	if err := os.WriteFile(filepath.Join(s.home, "permafrost.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stored("configuration", nil)
	for _, what := range []string{"redis", "sidekiq"} {
		if got := s.run(exitDone, "dump", "-i", s.recovery, "latest", what).stdout; !strings.HasPrefix(got, "REDIS") {
			t.Errorf("%s begins with %.10q", what, got)
		}
	}
	if ls := s.run(exitDone, "ls", "latest", "media/").stdout; !strings.Contains(ls, "media_attachments") {
		t.Errorf("the media are\n%s", ls)
	}
	// A flag goes before the configuration, and its mistakes are wrong usage.
	if r := s.run(exitIncomplete, "snapshot", "--postgres-host", "also.invalid"); !strings.Contains(r.stderr, "also.invalid") || !strings.Contains(r.stderr, "below [postgres]") {
		t.Errorf("a flag: %s", r.stderr)
	}
	if r := s.run(exitUsage, "snapshot", "--postgres-port", "70000"); !strings.Contains(r.stderr, "a port is a number from 1 to 65535") {
		t.Errorf("a port: %s", r.stderr)
	}
	if r := s.run(exitUsage, "snapshot", "--replica"); !strings.Contains(r.stderr, "--replica can't be used with an address") {
		t.Errorf("a replica: %s", r.stderr)
	}
}

// Who holds a lock that the database's dump needs is named on standard error, and it fails in time.
func TestLockedTable(t *testing.T) {
	s := newSite(t, sandbox.Config{})
	s.init()
	release := s.lockTable()
	r := s.run(exitIncomplete, "snapshot", "-q", "--postgres-lock-wait", "2s")
	for _, want := range []string{"warning: postgres: waiting for a lock", "table statuses is locked by PID ", "application psql", "gave up waiting for a lock", "lock_wait"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q is missing from\n%s", want, r.stderr)
		}
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	s.run(exitDone, "snapshot")
}

// Mastodon loads more settings files than one, and skips lines that are no assignments: a snapshot does both, and stores the files.
func TestSettingsFiles(t *testing.T) {
	s := newSite(t, sandbox.Config{})
	s.init()
	path := filepath.Join(s.Live, ".env.production")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Replace(string(text), "DB_PASS="+s.Postgres.Password+"\n", "", 1) +
		"=======\n[smtp]\nOLD_PASSWORD='x7!k\nAWS_ACCESS_KEY_ID\nDB_PORT=1\n"
	uid, gid := owner(t, s.Live)
	for name, text := range map[string]string{
		".env.production": env, ".env": "DB_PASS=" + s.Postgres.Password + "\n", ".env.local": fmt.Sprintf("DB_PORT=%d\n", s.Postgres.Port),
	} {
		if err := os.WriteFile(filepath.Join(s.Live, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(s.Live, name), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	s.run(exitDone, "snapshot")
	shown := s.run(exitDone, "show", "latest").stdout
	for _, want := range []string{"not an assignment", "a quote before the value of OLD_PASSWORD is not closed"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing from\n%s", want, shown)
		}
	}
	for name, want := range map[string]string{"secrets": env, "secrets/.env": "DB_PASS=" + s.Postgres.Password + "\n", "secrets/.env.local": fmt.Sprintf("DB_PORT=%d\n", s.Postgres.Port)} {
		if got := s.run(exitDone, "dump", "-i", s.recovery, "latest", name).stdout; got != want {
			t.Errorf("%s is stored as %q, want %q", name, got, want)
		}
	}
	if r := s.run(exitDone, "dump", "-i", s.recovery, "latest", "postgres"); !strings.HasPrefix(r.stdout, "PGDMP") {
		t.Error("there is no dump of the database")
	}
}

// Mastodon's user may be a number that this host has no name for. A name is needed for peer authentication alone, and asked for then.
func TestNamelessUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test gives files away: run it as root")
	}
	s := newSite(t, sandbox.Config{})
	s.init()
	const uid = 60991
	err := filepath.WalkDir(s.Live, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
	r := s.run(exitDone, "snapshot")
	if strings.Contains(r.stderr, "unknown user") {
		t.Errorf("it says %s", r.stderr)
	}
	r = s.run(exitIncomplete, "snapshot", "--postgres-host", s.Postgres.SocketDir)
	if want := fmt.Sprintf("give user %d a name on this host", uid); !strings.Contains(r.stderr, want) {
		t.Errorf("%q is missing from\n%s", want, r.stderr)
	}
}
