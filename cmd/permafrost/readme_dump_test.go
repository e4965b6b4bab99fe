package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
)

// The README's commands for the database alone bring it back with its owners: the instance's role, which is no superuser, works with it.
func TestREADMEDump(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	pg := s.Postgres
	must := func(db, sql string) string {
		t.Helper()
		out, err := pg.Query(t.Context(), db, sql)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	// The instance's role is the README's "mastodon" here; the sandbox's own of that name is a superuser.
	const role = "instance"
	must("postgres", "create role postgres superuser login password 'secret of postgres'; create role "+role+" login password 'secret of the role'")
	must(sandbox.Database, `do $$ declare x record; begin
  for x in select format('alter %s %s owner to `+role+`', case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end, oid::regclass) as sql
    from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'p', 'S')
    and not exists (select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i') and relkind = 'S') loop execute x.sql; end loop; end $$`)
	s.init()
	s.run(exitDated, "snapshot", "--date", "2026-06-27")

	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?ms)^```\n(runuser .*?createdb.*?)^```$").FindStringSubmatch(string(readme))
	if block == nil || !strings.Contains(block[1], "permafrost dump -i recovery.key 2026-06-27 postgres | ") || !strings.Contains(block[1], "-O mastodon ") {
		t.Fatal("the README's commands for the database alone are not where they were")
	}
	c := s.command()
	commands := strings.NewReplacer("-O mastodon ", "-O "+role+" ", "recovery.key", s.recovery).Replace(block[1])
	script := `set -eu -o pipefail
runuser() { test "$1 $2 $3" = "-u postgres --"; shift 3; PGUSER=postgres PGPASSWORD="secret of postgres" "$@"; }
permafrost() { ` + c.Path + ` "$@"; }
` + commands
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = c.Dir
	cmd.Env = append(c.Env, "PATH="+pg.BinDir+":"+os.Getenv("PATH"), "PGHOST="+pg.Host, fmt.Sprintf("PGPORT=%d", pg.Port))
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "error") {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	const restored = "mastodon_restored"
	if owners := must(restored, "select string_agg(distinct tableowner, ',') from pg_tables where schemaname = 'public'"); owners != role {
		t.Errorf("the tables belong to %s", owners)
	}
	login := pg.Command(t.Context(), "psql", "-XAtq", "-d", restored, "-c", "update statuses set text = text; select count(*) from statuses")
	login.Env = append(login.Env, "PGUSER="+role, "PGPASSWORD=secret of the role")
	got, err := login.CombinedOutput()
	if want := must(sandbox.Database, "select count(*) from statuses"); err != nil || strings.TrimSpace(string(got)) != want || want == "0" {
		t.Errorf("the role finds %q, want %s: %v", got, want, err)
	}
}
