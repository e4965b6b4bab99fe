package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
)

// A secret that is missing is said by init and by each night, and one that was replaced at once; diff tells secrets by name and
// tables by rows.
func TestChangedNight(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	env := filepath.Join(s.Live, ".env.production")
	text, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(env, []byte(string(text)+"\n"+strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := "live = \"" + s.Live + "\"\nskip = [\"redis\"]\n"
	if err := os.WriteFile(filepath.Join(s.home, "permafrost.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	const missing = "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY missing from the settings"
	write("ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY=")
	if r := s.run(exitDone, "init", "-q", "--recovery-key", s.recovery); !strings.Contains(r.stderr, missing) {
		t.Errorf("init says\n%s", r.stderr)
	}
	for range 2 {
		if r := s.run(exitDone, "snapshot", "-q"); !strings.Contains(r.stderr, "warning: "+missing) {
			t.Errorf("snapshot says\n%s", r.stderr)
		}
	}
	write("OTP_SECRET=other")
	if err := s.Postgres.Exec(t.Context(), sandbox.Database, "insert into schema_migrations values ('29990101000000')"); err != nil {
		t.Fatal(err)
	}
	r := s.run(exitDone, "snapshot", "--json")
	if w := decode[struct{ Message string }](t, r.stderr, "warning"); len(w) != 1 || !strings.HasPrefix(w[0].Message, "the keys differ from those of the last snapshot, of ") || !strings.Contains(w[0].Message, ": OTP_SECRET. ") {
		t.Errorf("warned %+v", w)
	}
	r = s.run(exitDone, "diff", "latest~1", "latest")
	for _, want := range []string{"+ ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY\nM OTP_SECRET\nM secrets" + env + "\nM postgres public.schema_migrations: ", "\nmedia: 0 added, 0 removed, 0 modified,"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("diff does not say %q:\n%s", want, r.stdout)
		}
	}
	tables := decode[struct {
		Change, Table string
		Before, After struct{ Rows int64 }
	}](t, s.run(exitDone, "diff", "latest~1", "latest", "--json").stdout, "table")
	if len(tables) != 1 || tables[0].Change != "M" || tables[0].After.Rows != tables[0].Before.Rows+1 || tables[0].Before.Rows == 0 {
		t.Errorf("tables %+v", tables)
	}
}

// A night in which a component fails keeps the others, says so also to the quiet, and ends with a code of its own. A component
// that a setting leaves out is no failure.
func TestIncompleteNight(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init()
	r := s.run(exitIncomplete, "snapshot", "-q", "--secret", "/nowhere")
	if r.stdout != "" || !strings.Contains(r.stderr, "warning: secrets are incomplete: collecting secrets: ") ||
		!strings.Contains(r.stderr, "/nowhere") || !strings.Contains(r.stderr, "is kept with incomplete secrets") {
		t.Errorf("stdout %q, stderr\n%s", r.stdout, r.stderr)
	}
	show := s.run(exitDone, "show").stdout
	if !strings.Contains(show, "secrets: incomplete: collecting secrets: ") || !strings.Contains(show, "  1 file, incomplete\n") {
		t.Errorf("show says\n%s", show)
	}
	s.run(exitFailed, "snapshot", "-q", "--strict", "--secret", "/nowhere")
	if all := s.snapshots(t); len(all) != 1 || !slices.Equal(all[0].Incomplete, []string{"secrets"}) || len(all[0].Failed) != 0 || len(all[0].Skipped) != 0 {
		t.Errorf("snapshots %+v", all)
	}
	config := filepath.Join(s.home, "permafrost.toml")
	if err := os.WriteFile(config, []byte("live = \""+s.Live+"\"\nskip = [\"redis\", \"media\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// No setting explains that media are missing which were there.
	if r := s.run(exitSuspect, "snapshot"); !strings.Contains(r.stderr, "looks wrong: its media are left out by a setting, where snapshot "+s.snapshots(t)[0].ID[:8]+" has ") {
		t.Errorf("snapshot says\n%s", r.stderr)
	}
	skipped := s.snapshots(t)[1].ID
	if r := s.run(exitDone, "ls", "latest", "postgres"); r.stderr != "" {
		t.Errorf("the database is in no doubt:\n%s", r.stderr)
	}
	s.run(exitDone, "confirm", skipped)
	if list := s.run(exitDone, "snapshots").stdout; !strings.Contains(list, "  secrets: incomplete\n") || !strings.Contains(list, "  redis, media skipped\n") {
		t.Errorf("snapshots says\n%s", list)
	}
	ls := s.run(exitDone, "ls", "latest").stdout
	if !strings.HasPrefix(ls, "secrets/") || !strings.HasSuffix(ls, "\npostgres\n") || strings.Count(ls, "\n") != 2 {
		t.Errorf("ls says\n%s", ls)
	}
	if r := s.run(exitFailed, "ls", skipped, "media"); !strings.Contains(r.stderr, "it was skipped by a setting") || !strings.Contains(r.stderr, "has it") {
		t.Errorf("ls media says\n%s", r.stderr)
	}
	if r := s.run(exitDone, "dump", "-i", s.recovery, "latest", "redis"); !strings.Contains(r.stderr, "snapshot "+skipped[:8]+" of ") || !strings.HasPrefix(r.stdout, "REDIS") {
		t.Errorf("dump passes over what does not have it, and says\n%s", r.stderr)
	}
	s.run(exitFailed, "dump", "-i", s.recovery, skipped, "redis")
	s.run(exitDone, "restore", "-i", s.recovery, "--snapshot", "latest", "--target", filepath.Join(s.home, "skipped"))
	r = s.run(exitPartial, "restore", "-i", s.recovery, "--snapshot", s.snapshots(t)[0].ID, "--target", filepath.Join(s.home, "failed"))
	if !strings.Contains(r.stderr, "--component secrets --target DIR") {
		t.Errorf("restore says\n%s", r.stderr)
	}
	s.run(exitDone, "check")
	s.run(exitUsage, "snapshot", "--skip", "postgers")
	s.testCompleteOfDay(config)
}

// testCompleteOfDay restores a date: a snapshot that has all goes before a later one that is confirmed and lacks some. What a
// doubt compares with has its date once it is forgotten.
func (s *site) testCompleteOfDay(config string) {
	t := s.t
	if err := os.WriteFile(config, []byte("live = \""+s.Live+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(exitDone, "snapshot")
	all := s.snapshots(t)
	complete, date := all[len(all)-1].ID, all[len(all)-1].Date
	s.run(exitSuspect, "snapshot", "--skip", "redis,media", "--date", date)
	all = s.snapshots(t)
	lacking := all[len(all)-1].ID
	s.run(exitDone, "confirm", lacking)
	r := s.run(exitDone, "restore", "-i", s.recovery, "--date", date, "--target", filepath.Join(s.home, "day"))
	if !strings.Contains(r.stderr, "snapshot "+lacking[:8]+" of "+date+" is passed over: it lacks redis, media\n") || !strings.Contains(r.stderr, "restoring snapshot "+complete[:8]) {
		t.Errorf("restore says\n%s", r.stderr)
	}
	s.run(exitDone, "forget", complete)
	if show := s.run(exitDone, "show", lacking).stdout; !strings.Contains(show, "where snapshot "+complete[:8]+" of "+date+", which is forgotten, had ") {
		t.Errorf("show says\n%s", show)
	}
}
