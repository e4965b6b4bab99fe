package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"permafrost/internal/hint"
	"permafrost/internal/sandbox"
	"permafrost/source"
)

// cluster is the PostgreSQL of all tests here.
var cluster *sandbox.Postgres

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "postgres")
	if err == nil {
		cluster, err = sandbox.StartPostgres(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	cluster.Stop()
	os.RemoveAll(dir)
	os.Exit(code)
}

// rows of the table that mastodon makes.
const rows = 20000

// newDatabase makes a database that looks a little like Mastodon's, named after the test.
func newDatabase(t testing.TB) source.Database {
	t.Helper()
	name := strings.ToLower(regexp.MustCompile(`\W`).ReplaceAllString(t.Name(), "_"))
	sql(t, "postgres", "create database "+name)
	t.Cleanup(func() { sql(t, "postgres", "drop database "+name+" with (force)") })
	sql(t, name, `
		create extension pg_trgm;
		create table statuses (id bigserial primary key, account_id bigint, text text not null);
		create table accounts (id bigserial primary key, username text unique);
		alter table statuses add foreign key (account_id) references accounts;
		create index on statuses using gin (text gin_trgm_ops);
		create function f() returns trigger language plpgsql as $$ begin return new; end $$;
		create trigger g before insert on accounts for each row execute function f();
		create materialized view counts as select count(*) from statuses;
		create table schema_migrations (version varchar primary key);
		insert into schema_migrations values ('20230101000000'), ('20240611000000');
		insert into accounts (username) select 'user' || i from generate_series(1, 100) i;
		insert into statuses (account_id, text) select 1 + i % 100, 'status ' || md5(i::text) from generate_series(1, `+strconv.Itoa(rows)+`) i;
		analyze statuses;`)
	return source.Database{Host: cluster.Host, Port: cluster.Port, Name: name, User: cluster.User, Password: cluster.Password, SSLMode: "prefer"}
}

func sql(t testing.TB, db, text string) {
	t.Helper()
	if err := cluster.Exec(context.Background(), db, text); err != nil {
		t.Fatal(err)
	}
}

func connect(t testing.TB, db source.Database, o Options) *Server {
	t.Helper()
	s, err := Connect(context.Background(), db, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func export(t testing.TB, s *Server) *Snapshot {
	t.Helper()
	snap, err := s.Export(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snap.Close() })
	return snap
}

func startDump(t testing.TB, snap *Snapshot) *Dump {
	t.Helper()
	d, err := snap.Dump(context.Background())
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, hint.Of(err))
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// tool runs a program of the cluster's version on input.
func tool(t testing.TB, input io.Reader, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(cluster.BinDir, name), args...)
	cmd.Stdin = input
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, &stderr)
	}
	return string(out)
}

// query returns the one value that a query yields.
func query(t testing.TB, db, text string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(cluster.BinDir, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, cluster.URL(db))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestFacts(t *testing.T) {
	db := newDatabase(t)
	before := query(t, db.Name, "select pg_current_wal_lsn()")
	f := connect(t, db, Options{}).Facts()
	if f.Version != query(t, db.Name, "show server_version") || fmt.Sprint(f.VersionNum) != query(t, db.Name, "show server_version_num") {
		t.Errorf("version %q, %d", f.Version, f.VersionNum)
	}
	if f.Database != db.Name || f.Encoding != "UTF8" || f.Collate != "C.UTF-8" || f.CType != "C.UTF-8" || f.Provider != "libc" {
		t.Errorf("got %+v", f)
	}
	if f.Size < 1<<20 || f.LSN < before || f.InRecovery || f.SchemaMigration != "20240611000000" {
		t.Errorf("got %+v", f)
	}
	if f.Extensions["pg_trgm"] == "" || f.Extensions["plpgsql"] == "" || len(f.Extensions) != 2 {
		t.Errorf("extensions %v", f.Extensions)
	}
	// accounts was never analyzed: its rows come from the running statistics.
	if f.Rows["public.statuses"] != rows || f.Rows["public.accounts"] != 100 || len(f.Rows) != 4 {
		t.Errorf("rows %v", f.Rows)
	}
}

// The dump shows the state of Export, whatever happens until Dump, and it restores.
func TestDumpIsConsistent(t *testing.T) {
	for _, mode := range []VerifyMode{VerifyFull, VerifyTOC, VerifyNone} {
		t.Run(mode.String(), func(t *testing.T) {
			db := newDatabase(t)
			const sum = "select md5(string_agg(s::text, '' order by id)) || (select count(*) from accounts) from statuses s"
			want := query(t, db.Name, sum)
			var said bytes.Buffer
			snap := export(t, connect(t, db, Options{Verify: mode, Stderr: &said}))
			sql(t, db.Name, "update statuses set text = 'changed' where id % 3 = 0; delete from statuses where id % 7 = 0; insert into accounts (username) values ('late')")
			if age := time.Since(snap.Time); age < 0 || age > time.Minute || snap.LSN == "" {
				t.Errorf("snapshot of %v, LSN %q", snap.Time, snap.LSN)
			}
			d := startDump(t, snap)
			data, err := io.ReadAll(d)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("another Read: %d, %v", n, err)
			}
			if said.Len() != 0 {
				t.Errorf("said: %s", &said)
			}
			checkFacts(t, d.Facts(), data, mode)

			copied := db.Name + "_copy"
			sql(t, "postgres", "create database "+copied+" template template0")
			defer sql(t, "postgres", "drop database "+copied)
			tool(t, bytes.NewReader(data), "pg_restore", "--exit-on-error", "--no-owner", "-d", cluster.URL(copied))
			if got := query(t, copied, sum); got != want {
				t.Errorf("restored %s, want %s", got, want)
			}
		})
	}
}

// checkFacts compares what was read of the table of contents with what pg_restore reads.
func checkFacts(t *testing.T, f DumpFacts, data []byte, mode VerifyMode) {
	t.Helper()
	list := tool(t, bytes.NewReader(data), "pg_restore", "--list")
	field := func(name string) string {
		m := regexp.MustCompile(`(?m)^; *` + name + `: (.*)$`).FindStringSubmatch(list)
		if m == nil {
			t.Fatalf("no %s in %s", name, list)
		}
		return m[1]
	}
	if got := strconv.Itoa(f.Entries); got != field("TOC Entries") {
		t.Errorf("%s entries, want %s", got, field("TOC Entries"))
	}
	if !strings.HasPrefix(f.ArchiveVersion, field("Dump Version")[:4]) || f.ServerVersion != field("Dumped from database version") || f.DumpVersion != field("Dumped by pg_dump version") {
		t.Errorf("versions %+v in %s", f, list)
	}
	for kind, n := range f.Kinds {
		// Three entries are not listed: they are settings.
		listed := len(regexp.MustCompile(`(?m)^\d+; \d+ \d+ `+kind+` (\S+ )?\S+( \S+)? mastodon$`).FindAllString(list, -1))
		if kind == "TABLE" || kind == "TABLE DATA" || kind == "INDEX" || kind == "FK CONSTRAINT" {
			if listed < n {
				t.Errorf("%d of %s, listed %d", n, kind, listed)
			}
		}
	}
	if f.Kinds["TABLE"] != 3 || f.Kinds["TABLE DATA"] != 3 || f.Kinds["FK CONSTRAINT"] != 1 || f.Kinds["MATERIALIZED VIEW"] != 1 {
		t.Errorf("kinds %v", f.Kinds)
	}
	if f.Bytes != int64(len(data)) || f.Verified != mode.String() || f.Note != "" {
		t.Errorf("facts %+v of %d bytes", f, len(data))
	}
}
