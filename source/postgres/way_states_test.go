package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// build makes a database of the package's cluster from a file of testdata/way, which the role owns.
func build(t testing.TB, db, role, file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "way", file))
	if err != nil {
		t.Fatal(err)
	}
	sql(t, "postgres", "create role "+identifier(role)+" login; create database "+identifier(db)+" owner "+identifier(role))
	if err := cluster.Exec(t.Context(), conninfoOf(db), string(text)); err != nil {
		t.Fatal(err)
	}
}

// tablespace makes a tablespace of the package's cluster.
func tablespace(t testing.TB, name string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(cluster.SocketDir), name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	u := lookup(t, cluster.OSUser)
	if err := os.Chown(dir, int(u.UID), int(u.GID)); err != nil {
		t.Fatal(err)
	}
	sql(t, "postgres", "create tablespace "+name+" location "+literal(dir))
}

// One of each kind of object comes back as it was, with owners and privileges, to a host that has no role of the dump's, no
// tablespace of it, and in whose cluster it gets its settings too.
func TestWayBackOfEverything(t *testing.T) {
	db, role := `it's "all" of\ us, dbname=x `+strings.Repeat("ä", 15), "an Owner"
	sql(t, "postgres", `create role "a Reader" nologin; create role "another Owner" nologin noinherit; create role "Group x" nologin;
		grant "Group x" to "a Reader"; alter role "a Reader" set search_path = "own Schema", public, "$user"; alter role "a Reader" set statement_timeout = '5min'`)
	build(t, db, role, "everything.sql")
	tablespace(t, "elsewhere")
	name := identifier(db)
	sql(t, conninfoOf(db), `alter table statuses set tablespace elsewhere;
		alter database `+name+` set search_path = public, "own Schema", ext; alter role "an Owner" in database `+name+` set work_mem = '9MB';
		alter database `+name+` set "my.own" = 'a;b''c\d'; comment on database `+name+` is 'it''s \! id';
		revoke temporary on database `+name+` from public; grant connect on database `+name+` to "a Reader"; alter database `+name+` connection limit 77`)
	s, dump := captured(t, db, role)
	s.Facts.Login = "scram-sha-256"
	w := newWayBack(t, s, dump, nil)
	w.run()
	w.compare()
	w.login("select count(*) from statuses", "3000")
	for name, out := range w.out {
		if strings.Contains(out, "could not be made") {
			t.Errorf("%s says %s", name, out)
		}
	}
	const roles = `select rolname, rolcanlogin, rolinherit, rolsuper, rolconfig, array(select r.rolname from pg_auth_members join pg_roles r on r.oid = roleid where member = p.oid)
		from pg_roles p where rolname in ('a Reader', 'another Owner', 'Group x') order by 1`
	want, err := cluster.Query(t.Context(), "postgres", roles)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.h.Query(t.Context(), "postgres", roles); err != nil || got != want {
		t.Errorf("roles\n%swant\n%s%v", got, want, err)
	}
}

// What no server makes again is named with the reason, and all else comes back.
func TestWayBackOfBroken(t *testing.T) {
	build(t, "broken", "broken", "broken.sql")
	s, dump := captured(t, "broken", "broken")
	s.Facts.Login = "scram-sha-256"
	w := newWayBack(t, s, dump, nil)
	w.run()
	w.compare(without("Name: index_accounts_on_username;", "Name: two Things two Key;"),
		replaced("REFERENCES public.accounts(id) ON DELETE CASCADE;", "REFERENCES public.accounts(id) ON DELETE CASCADE NOT VALID;"))
	w.says("postgres-objects", `could not create unique index "two Key"`, `CREATE UNIQUE INDEX index_accounts_on_username`, "Key (username)=(user7) is duplicated",
		"made NOT VALID", "Do not start Mastodon yet", "tootctl maintenance fix-duplicates")
	if left := w.plan("pg-unsound"); !strings.Contains(left, "index_accounts_on_username") || !strings.Contains(left, "two Key") || strings.Count(left, "\n") != 2 {
		t.Errorf("unsound is %q", left)
	}
	if left := w.plan("pg-absent"); left != w.plan("pg-unsound") {
		t.Errorf("absent is %q", left)
	}
}

// Rows that are computed by a function whose body has names without a schema are restored with all schemas in sight.
func TestWayBackOfComputed(t *testing.T) {
	build(t, "computed", "computed", "computed.sql")
	s, dump := captured(t, "computed", "computed")
	s.Facts.Login = "scram-sha-256"
	w := newWayBack(t, s, dump, nil)
	w.run()
	w.compare()
}
