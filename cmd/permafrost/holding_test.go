package main

import (
	"os"
	"path/filepath"
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
