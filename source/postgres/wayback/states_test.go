package wayback

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"permafrost/internal/hostfs"
	"permafrost/source/postgres/quote"
)

// A state is a database of the package's cluster that is dumped.
type state struct {
	db, role string
	file     string                        // of testdata
	before   string                        // SQL in the database postgres
	options  string                        // of create database
	after    func(t testing.TB, db string) // what else is done
	captured func() (Saved, []byte)
}

// capture makes the database when it is first asked for, and dumps it. Saved says that the server asks for a password.
func (s *state) capture(t testing.TB) (Saved, []byte) {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	if s.captured == nil {
		text, err := os.ReadFile(filepath.Join("testdata", s.file))
		if err != nil {
			t.Fatal(err)
		}
		sql(t, "postgres", s.before+"create role "+quote.Identifier(s.role)+" login; create database "+quote.Identifier(s.db)+" owner "+quote.Identifier(s.role)+" template template0"+s.options)
		sql(t, conninfoOf(s.db), string(text))
		if s.after != nil {
			s.after(t, s.db)
		}
		saved, dump := captured(t, s.db, s.role)
		saved.Facts.Login = "scram-sha-256"
		s.captured = func() (Saved, []byte) { return saved, dump }
	}
	return s.captured()
}

var making sync.Mutex

var (
	everything = &state{db: `it's "all" of\ us, dbname=x ` + strings.Repeat("ä", 15), role: "an Owner", file: "everything.sql",
		before: `create role "a Reader" nologin; create role ` + quote.Identifier(hostile) + `; create role "another Owner" nologin noinherit; create role "Group x" nologin;
			grant "Group x" to "a Reader"; alter role "a Reader" set search_path = "own Schema", public, "$user"; alter role "a Reader" set statement_timeout = '5min';`,
		after: afterEverything}
	broken    = &state{db: "broken", role: "broken", file: "broken.sql", options: " locale_provider icu icu_locale 'de-u-co-phonebk'"}
	latin     = &state{db: "latin", role: "latin", file: "latin.sql", options: " encoding 'LATIN1' locale 'C'"}
	extended  = &state{db: "extended", role: "extended", file: "extension.sql"}
	untrusted = &state{db: "untrusted", role: "untrusted", file: "untrusted.sql"}
	computed  = &state{db: "computed", role: "computed", file: "computed.sql"}
)

// hostile is a role's name that would write to a terminal, and have psql run a command.
const hostile = "r\"' ;\n\\! touch /tmp/obeyed\n\x1b[31m$$:x"

// afterEverything sets what stands beside a database: a tablespace, settings, and who may connect.
func afterEverything(t testing.TB, db string) {
	dir := filepath.Join(filepath.Dir(cluster.SocketDir), "elsewhere")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	u, err := hostfs.LookupUser(cluster.OSUser)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, int(u.UID), int(u.GID)); err != nil {
		t.Fatal(err)
	}
	sql(t, "postgres", "create tablespace elsewhere location "+quote.Literal(dir))
	name := quote.Identifier(db)
	sql(t, conninfoOf(db), `alter table statuses set tablespace elsewhere;
		alter database `+name+` set search_path = public, "own Schema", ext; alter role "an Owner" in database `+name+` set work_mem = '9MB';
		alter database `+name+` set "my.own" = 'a;b''c\d'; alter database `+name+` set log_min_duration_statement = '7s'; alter role "an Owner" set statement_timeout = '7min'; comment on database `+name+` is 'it''s \! id';
		revoke temporary on database `+name+` from public; grant connect on database `+name+` to "a Reader"; alter database `+name+` connection limit 77;
		grant select on statuses to `+quote.Identifier(hostile)+`; comment on role `+quote.Identifier(hostile)+` is 'x'; create table "t
\! touch /tmp/obeyed" (id int primary key references statuses);
		alter table "t
\! touch /tmp/obeyed" owner to `+quote.Identifier(hostile)+`; grant connect on database `+name+` to `+quote.Identifier(hostile))
}

// One of each kind of object comes back as it was, with owners and privileges, to a host that has no role of the dump's, no
// tablespace of it, and in whose cluster it gets its settings too.
func TestWayBackOfEverything(t *testing.T) {
	t.Parallel()
	s, dump := everything.capture(t)
	w := newWayBack(t, host(t), s, dump, nil)
	w.run()
	w.compare(noSubscription)
	w.names("postgres-rehearse", "Subscriptions will not be made, as they would take rows from another server:", "SUBSCRIPTION - from There "+cluster.User)
	w.login("select count(*) from statuses", "3000")
	for name, out := range w.out {
		if strings.Contains(out, "could not be made") || strings.Contains(out, "that it had") || strings.Contains(out, "\x1b") {
			t.Errorf("%s says %q", name, out)
		}
	}
	if _, err := os.Stat("/tmp/obeyed"); err == nil {
		t.Error("a name was obeyed")
	}
	const roles = `select rolname, rolcanlogin, rolinherit, rolsuper, rolconfig, array(select r.rolname from pg_auth_members join pg_roles r on r.oid = roleid where member = p.oid)
		from pg_roles p where rolname in ('a Reader', 'another Owner', 'Group x') order by 1`
	want, err := cluster.Query(t.Context(), "postgres", roles)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.h.Query(t.Context(), "template1", roles); err != nil || got != want {
		t.Errorf("roles\n%swant\n%s%v", got, want, err)
	}
}

// noSubscription takes subscriptions out of a dump.
var noSubscription = without("Type: SUBSCRIPTION;")

// What no server makes again is named with the reason, and all else comes back.
func TestWayBackOfBroken(t *testing.T) {
	t.Parallel()
	s, dump := broken.capture(t)
	w := newWayBack(t, host(t), s, dump, nil)
	w.run()
	w.compare(without("Name: index_accounts_on_username;", "Name: two Things two Key;", "Name: parts parts_account_id_fkey;"),
		replaced("REFERENCES public.accounts(id) ON DELETE CASCADE;", "REFERENCES public.accounts(id) ON DELETE CASCADE NOT VALID;"))
	w.says("postgres-objects", `could not create unique index "two Key"`, `CREATE UNIQUE INDEX index_accounts_on_username`, "Key (username)=(user7) is duplicated",
		"made NOT VALID", "Do not start Mastodon yet", "tootctl maintenance fix-duplicates")
	if left := w.plan("pg-unsound"); !strings.Contains(left, "index_accounts_on_username") || !strings.Contains(left, "two Key") || strings.Count(left, "\n") != 2 {
		t.Errorf("unsound is %q", left)
	}
	w.names("postgres-objects", "These objects of the dump could not be made:", "INDEX public index_accounts_on_username broken", "CONSTRAINT public two Things two Key broken",
		"FK CONSTRAINT public parts parts_account_id_fkey broken")
	if left := w.plan("pg-absent"); strings.Count(left, "\n") != 3 {
		t.Errorf("absent is %q", left)
	}
}

// Rows that are computed by a function whose body has names without a schema are restored with all schemas in sight.
func TestWayBackOfComputed(t *testing.T) {
	t.Parallel()
	s, dump := computed.capture(t)
	w := newWayBack(t, host(t), s, dump, nil)
	w.run()
	w.compare()
}

// A database may have another encoding than UTF-8. What is named in it comes back; a role's name, which is the cluster's, may be other bytes
// there, and then what it owned and was granted is told.
func TestWayBackOfLatin(t *testing.T) {
	t.Parallel()
	s, dump := latin.capture(t)
	w := newWayBack(t, host(t), s, dump, nil)
	w.run()
	w.compare(without("Name: DATABASE latin;", "Name: TABLE statuses; Type: ACL"), replaced("Owner: Pr\xfcfer", "Owner: postgres"), replaced("OWNER TO \"Pr\xfcfer\"", "OWNER TO postgres"))
	w.says("postgres-objects", "TABLE public users", "ACL public TABLE statuses", "role \"Pr\xfcfer\" does not exist")
	w.says("postgres-settings", "1 statements about the database itself")
}
