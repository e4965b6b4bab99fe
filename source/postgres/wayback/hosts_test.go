package wayback

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/source"
	"permafrost/source/postgres/quote"
)

// as returns what was captured under another database's name, for a restore of its own.
func (s Saved) as(db, id string) Saved {
	s.Database, s.ID, s.DumpFile = db, id, db+".dump"
	return s
}

// fails runs a step that must fail, and say all of some texts.
func (w *wayBack) fails(step string, texts ...string) {
	w.t.Helper()
	if err := w.step(step); err == nil {
		w.t.Fatalf("%s is done:\n%s", step, w.out[step])
	}
	w.says(step, texts...)
}

// databases lists the databases of the new host that this restore is about.
func (w *wayBack) databases() string {
	w.t.Helper()
	out, err := w.h.Query(w.t.Context(), "template1", "select datname from pg_database where starts_with(datname, "+quote.Literal(w.saved.Database)+") order by 1")
	w.must(err)
	return strings.ReplaceAll(strings.TrimSpace(out), "\n", " ")
}

// An extension that the host lacks is named with its package. Where only an index needs it, that index alone is missing.
func TestWayBackLacksExtension(t *testing.T) {
	t.Parallel()
	s, dump := extended.capture(t)
	lacking := func(id, old, by string) *wayBack {
		s := s.as("lacks_"+id, id)
		s.TOC = bytes.ReplaceAll(s.TOC, []byte(old), []byte(by))
		w := newWayBack(t, host(t), s, bytes.ReplaceAll(dump, []byte(old), []byte(by)), nil)
		w.source = "extended"
		return w
	}
	w := lacking("index", "pg_trgm", "pg_xrgm")
	w.run()
	w.says("postgres-roles", "does not have the extension pg_xrgm", "package postgresql-15-pg-xrgm")
	w.says("postgres-rehearse", "INDEX public index_statuses_on_text", "EXTENSION - pg_xrgm")
	w.compare(without("Name: pg_trgm;", "Name: EXTENSION pg_trgm;", "Name: index_statuses_on_text;"), replaced("extended", "lacks_index"), replaced("Owner: lacks_index", "Owner: extended"), replaced("TO lacks_index;", "TO extended;"))

	w = lacking("table", "hstore", "hstorx")
	w.must(w.step("postgres-roles"))
	w.fails("postgres-rehearse", "EXTENSION - hstorx", "TABLE public tagged", `type "public.hstorx" does not exist`, "pg_without")
	if got := w.databases(); got != "" {
		t.Errorf("databases %s", got)
	}
	w.fails("postgres-data", "can't be restored", `relation "public.tagged" does not exist`)
	if got := w.databases(); got != "" {
		t.Errorf("databases %s", got)
	}
	w.set(map[string]string{"pg_without": "hstorx"})
	w.writeHost(w.h.permafrost)
	w.run()
	w.says("postgres-verify", "public.tagged|20|not there")
	w.login("select count(*) from kept", "10")
}

// A locale that the host lacks is named with the command that makes it. With C.UTF-8 in its place the way goes on.
func TestWayBackLacksLocale(t *testing.T) {
	t.Parallel()
	s, dump := computed.capture(t)
	s = s.as("lacks locale", "loc1")
	s.Facts.Collate, s.Facts.CType = "de_DE.UTF-8", "de_DE.UTF-8"
	w := newWayBack(t, host(t), s, dump, nil)
	w.source = "computed"
	w.must(w.step("postgres-roles"))
	w.fails("postgres-rehearse", "localedef -i de_DE -f UTF-8 de_DE.UTF-8", "C.UTF-8")
	if got := w.databases(); got != "" {
		t.Errorf("databases %s", got)
	}
	w.set(map[string]string{"pg_collate": "C.UTF-8", "pg_ctype": "C.UTF-8"})
	w.writeHost(w.h.permafrost)
	w.run()
	w.login("select count(*) from accounts", "300")
}

// The database may be the one that clients use to make others.
func TestWayBackOfPostgres(t *testing.T) {
	t.Parallel()
	s, dump := computed.capture(t)
	w := newWayBack(t, host(t), s.as("postgres", "pos1"), dump, nil)
	w.run()
	w.login("select count(*) from accounts", "300")
	if got := w.databases(); got != "postgres postgres_before_20260627_030400" {
		t.Errorf("databases %s", got)
	}
	// What RESTORE.md says to undo the swap does so, and the step swaps again.
	w.undo("postgres-swap")
	if got := w.databases(); got != "postgres postgres_restoring_pos1" {
		t.Errorf("databases %s", got)
	}
	w.must(w.step("postgres-swap"))
	w.login("select count(*) from accounts", "300")
	// Once more, on the same day: nothing is lost to an old name.
	w.must(w.step("postgres-data"))
	w.fails("postgres-swap", "set pg_old to another name")
	w.set(map[string]string{"pg_old": "postgres_again"})
	w.writeHost(w.h.permafrost)
	w.must(w.step("postgres-swap"))
	w.must(w.step("postgres-login"))
	if got := w.databases(); got != "postgres postgres_again postgres_before_20260627_030400" {
		t.Errorf("databases %s", got)
	}
}

// undo does what a step says of itself to undo it.
func (w *wayBack) undo(name string) {
	w.t.Helper()
	for _, s := range w.part.Steps {
		if s.Name != name {
			continue
		}
		command := regexp.MustCompile(`(?m)^    (\(.*\))$`).FindStringSubmatch(s.Undo)
		if command == nil {
			w.t.Fatalf("no command in %q", s.Undo)
		}
		cmd := exec.Command("bash", "-c", strings.ReplaceAll(command[1], "plan/host.sh", shellWord(w.host())))
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("%s: %v\n%s", command[1], err, out)
		}
	}
}

// leftOver starts a session as a killed step leaves it, which holds a table. What it says comes when it has ended.
func (w *wayBack) leftOver(table string) <-chan string {
	w.t.Helper()
	cmd := w.h.Command(w.t.Context(), "psql", "-X", "-q", "-d", conninfoOf(w.value("pg_new")), "-c", "begin; lock table "+table+"; select pg_sleep(20)")
	cmd.Env = append(cmd.Env, "PGAPPNAME="+w.value("pg_tag"))
	ended := make(chan string, 1)
	go func() {
		out, _ := cmd.CombinedOutput()
		ended <- string(out)
	}()
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(10 * time.Millisecond) {
		out, err := w.h.Query(w.t.Context(), "template1", "select 1 from pg_stat_activity where wait_event = 'PgSleep' and application_name = "+quote.Literal(w.value("pg_tag")))
		w.must(err)
		if out != "" {
			return ended
		}
	}
	w.t.Fatal("no session")
	return nil
}

// A dump that is cut short leaves nothing behind, and one that lacks rows does not pass.
func TestWayBackOfHalf(t *testing.T) {
	t.Parallel()
	s, dump := broken.capture(t)
	s = s.as("half", "hal1")
	s.User = "half"
	for _, size := range []int{len(dump) - 1000, len(s.TOC) + 10, len(s.TOC)} {
		w := newWayBack(t, host(t), s, dump[:size], nil)
		w.must(w.step("postgres-roles"))
		w.fails("postgres-data", "can't be restored")
		for _, step := range []string{"postgres-objects", "postgres-verify", "postgres-swap", "postgres-login"} {
			w.fails(step, "there is no restored database yet")
		}
		if got := w.databases(); got != "" {
			t.Errorf("databases %s", got)
		}
	}
	w := newWayBack(t, host(t), s, dump, nil)
	for _, step := range w.part.Steps[:3] {
		w.must(w.step(step.Name))
	}
	ended := w.leftOver("statuses")
	w.must(w.step("postgres-objects"))
	if out := <-ended; !strings.Contains(out, "terminating connection") {
		t.Errorf("a session of an earlier try says %q", out)
	}
	w.must(w.h.Exec(t.Context(), w.value("pg_new"), "delete from plain where id = 3; insert into statuses values (7777, 1, 'one more'); drop table users"))
	w.fails("postgres-verify", "public.plain|30|29", "public.statuses|2000|2001", "public.users|99|not there")
	if strings.Contains(w.out["postgres-verify"], "public.accounts") {
		t.Errorf("it says %s", w.out["postgres-verify"])
	}
}

// On a host where the server knows Mastodon's user by peer authentication no password plays a part.
func TestWayBackByPeer(t *testing.T) {
	t.Parallel()
	sql(t, "postgres", "create role peer login; create database peered template model owner peer")
	s, dump := captured(t, "peered", "peer")
	s.Facts.Login, s.Facts.Host = "", host(t).SocketDir
	w := newWayBack(t, host(t), s, dump, nil)
	w.must(os.Remove(w.saved.EnvFile))
	w.run()
	out, err := w.h.Query(t.Context(), "template1", "select rolpassword is null from pg_authid where rolname = 'peer'")
	if err != nil || out != "t\n" {
		t.Errorf("the role has a password: %q, %v", out, err)
	}
}

// Without permafrost on the host the password is asked for on the terminal, and goes through psql's \password.
func TestWayBackAsksForPassword(t *testing.T) {
	t.Parallel()
	s, dump := computed.capture(t)
	s = s.as("asks", "ask1")
	s.User = "typist"
	w := newWayBack(t, host(t), s, dump, nil)
	w.writeHost("")
	for _, step := range w.part.Steps {
		if step.Name != "postgres-settings" && step.Name != "postgres-login" {
			w.must(w.step(step.Name))
			continue
		}
		if step.Name == "postgres-settings" {
			w.fails(step.Name, "asked for on a terminal, and there is none")
		}
		if out, err := w.typed(step.Name); err != nil || !strings.Contains(out, "done: ") || strings.Contains(out, rolePassword) {
			t.Errorf("%s: %v, %s", step.Name, err, out)
		}
	}
	w.login("select 1", "1")
	out, err := w.h.Query(t.Context(), "template1", "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'typist'")
	if err != nil || out != "t\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// typed runs a step on a terminal, and types the password once it is asked for.
func (w *wayBack) typed(step string) (string, error) {
	w.t.Helper()
	block, err := io.ReadAll(w.command(step).Stdin)
	w.must(err)
	file := filepath.Join(w.here, "step.sh")
	w.must(os.WriteFile(file, block, 0o600))
	cmd := exec.Command("script", "-qec", "bash "+shellWord(file), "/dev/null")
	in, err := cmd.StdinPipe()
	w.must(err)
	out, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	var said strings.Builder
	for buf, asked := make([]byte, 4096), false; ; {
		n, err := out.Read(buf)
		said.Write(buf[:n])
		if !asked && strings.Contains(said.String(), "(DB_PASS): ") {
			asked = true
			time.Sleep(50 * time.Millisecond) // until the terminal shows nothing of it
			io.WriteString(in, rolePassword+"\n")
		}
		if err != nil {
			break
		}
	}
	return said.String(), cmd.Wait()
}

func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// In a Compose project all programs run in the server's container, which has none of this host's files.
func TestWayBackOfCompose(t *testing.T) {
	t.Parallel()
	s, dump := computed.capture(t)
	s = s.as("composed", "com1")
	s.User = "composer"
	s.Facts.Host = "localhost"
	s.Deployment = source.Deployment{Kind: source.Compose, Services: []source.Service{{Name: "web"}, {Name: "localhost"}}}
	h := host(t)
	w := newWayBack(t, h, s, dump, nil)
	w.set(map[string]string{"pg_admin_user": "", "pg_admin_host": ""})
	w.part.Code += fmt.Sprintf(`
in_container() {
  [ "$1" = localhost ] || fail "the service is $1"
  shift
  setsid --wait runuser --user=%s -- env -i PATH=%s:/usr/bin:/bin PGHOST=%s "$@"
}
`, h.OSUser, h.BinDir, h.SocketDir)
	w.writeHost(h.permafrost)
	w.run()
	w.login("select 1", "1")
	if left, err := os.ReadFile(filepath.Join(w.here, "plan", "pg-copies")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("copies are left in the container: %s, %v", left, err)
	}
}

// Each command names the server that the database was on, and nothing is looked for on another one.
func TestWayBackNamesServer(t *testing.T) {
	s, _ := computed.capture(t)
	for _, c := range []struct{ host, adminHost, adminUser string }{
		{"localhost", localSocket, "postgres"}, {"127.0.0.1", localSocket, "postgres"}, {"/run/other", "/run/other", "postgres"}, {"db.example", "db.example", ""},
	} {
		s.Facts.Host, s.Facts.Port = c.host, 5433
		part, err := Of(s)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"pg_host": c.host, "pg_port": "5433", "pg_admin_host": c.adminHost, "pg_admin_user": c.adminUser, "pg_service": ""}
		for _, v := range part.Vars {
			if value, ok := want[v.Name]; ok && !slices.Equal(v.Values, []string{value}) {
				t.Errorf("%s: %s is %q", c.host, v.Name, v.Values)
			}
			delete(want, v.Name)
		}
		if len(want) > 0 {
			t.Errorf("%s: no variables %v", c.host, want)
		}
	}
}

// The name of a database is never longer than PostgreSQL takes it, and never cut within a character.
func TestCut(t *testing.T) {
	for name, want := range map[string]string{"short": "short_x", strings.Repeat("ä", 40): strings.Repeat("ä", 30) + "_x", strings.Repeat("a", 62): strings.Repeat("a", 61) + "_x"} {
		if got := cut(name, "_x"); got != want || len(got) > maxName {
			t.Errorf("%q: %q", name, got)
		}
	}
}
