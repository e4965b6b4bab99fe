package wayback

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/source/postgres/quote"
)

// An object is one of the dump, by its kind, its schema ("-" without one) and its name.
type object struct{ kind, schema, tag string }

func (o object) String() string { return strings.Join([]string{o.kind, o.schema, o.tag}, " ") }

// poor lays out the way back to a host where there is no superuser to be had: the instance's role may make databases.
func poor(t testing.TB, s Saved, dump []byte) *wayBack {
	t.Helper()
	w := newWayBack(t, started(t, poorHost), s, dump, map[string]string{"pg_admin": ""})
	w.mayLogIn(" createdb")
	w.dumpOptions = []string{"--create", "--no-owner", "--no-privileges"}
	return w
}

// mayLogIn makes the instance's role with its password.
func (w *wayBack) mayLogIn(attributes string) {
	w.t.Helper()
	verifier, err := Verifier(rolePassword)
	w.must(err)
	w.must(w.h.Exec(w.t.Context(), "template1", "create role "+quote.Identifier(w.saved.User)+" login password "+quote.Literal(verifier)+attributes))
}

// names fails the test unless a step named just some things below a heading.
func (w *wayBack) names(step, heading string, want ...string) {
	w.t.Helper()
	_, below, found := strings.Cut(w.out[step], heading+"\n")
	var got []string
	for line := range strings.Lines(below) {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		if !strings.HasPrefix(line, "      ") { // what the server said
			got = append(got, strings.TrimSpace(line))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || found != (len(want) > 0) {
		w.t.Errorf("%s: %s\n%s\nwant\n%s", step, heading, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// lacks fails the test unless some objects are all that is missing, and all of it is named: by the rehearsal what this server can't make, and
// by the step that makes them also what the rows don't let it.
func (w *wayBack) lacks(unmakable, broken []object, edits ...func(string) string) {
	w.t.Helper()
	var names []string
	for i, o := range slices.Concat(unmakable, broken) {
		names = append(names, o.String())
		if i+1 == len(unmakable) {
			w.names("postgres-rehearse", "This server can't make these objects of the dump:", names...)
		}
	}
	w.names("postgres-objects", "These objects of the dump could not be made:", names...)
	w.compare(append(edits, withoutObjects(slices.Concat(unmakable, broken))...)...)
}

// strangers lists what is not an extension's, and does not belong to a role.
const strangers = `select pg_describe_object(class, o.oid, 0) from (
	select 'pg_class'::regclass as class, oid, relowner as owner from pg_class where relkind not in ('i', 't')
	union all select 'pg_proc'::regclass, oid, proowner from pg_proc union all select 'pg_namespace'::regclass, oid, nspowner from pg_namespace
	union all select 'pg_type'::regclass, oid, typowner from pg_type where typcategory <> 'A'
	union all select 'pg_largeobject'::regclass, oid, lomowner from pg_largeobject_metadata) o
where o.oid >= 16384 and owner <> (select oid from pg_roles where rolname = ROLE)
	and not exists (select from pg_depend e where e.classid = class and e.objid = o.oid and e.deptype = 'e') order by 1`

// rights lists what a role may do with schemas, and tables that are no extension's.
const rights = `select nspname, relname, may from pg_class c join pg_namespace n on n.oid = relnamespace,
	unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) may
	where relkind in ('r', 'p', 'v', 'm') and nspname !~ '^pg_' and nspname <> 'information_schema' and has_table_privilege(ROLE, c.oid, may)
		and not exists (select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype = 'e')
	union all select nspname, '', may from pg_namespace, unnest(array['usage', 'create']) may where nspname !~ '^pg_' and has_schema_privilege(ROLE, oid, may)`

// withoutObjects returns edits that take these out of a dump.
func withoutObjects(objects []object) (edits []func(string) string) {
	for _, o := range objects {
		edits = append(edits, without("Name: "+o.tag+"; Type: "+o.kind+";"))
	}
	return edits
}

// owned fails the test unless all in the restored database belongs to the instance's role, which may do all that it might before, but
// for a relation that is missing.
func (w *wayBack) owned(missing ...string) {
	w.t.Helper()
	ask := func(c *sandbox.Postgres, db, query string) string {
		out, err := c.Query(w.t.Context(), conninfoOf(db), strings.ReplaceAll(query, "ROLE", quote.Literal(w.saved.User)))
		w.must(err)
		return out
	}
	if out := ask(w.h.Postgres, w.saved.Database, strangers); out != "" {
		w.t.Errorf("not of %s:\n%s", w.saved.User, out)
	}
	has := "\n" + ask(w.h.Postgres, w.saved.Database, rights)
	for line := range strings.Lines(ask(cluster, w.source, rights)) {
		if !strings.Contains(has, "\n"+line) && !slices.Contains(missing, strings.Split(line, "|")[1]) {
			w.t.Errorf("%s may not: %s", w.saved.User, line)
		}
	}
}

// of returns objects as they are listed with their owner.
func of(owner string, objects ...string) []string {
	for i, o := range objects {
		objects[i] = o + ", of " + owner
	}
	return objects
}

// unmakable is what of the database with everything no role may make but a superuser.
var unmakable = []object{
	{"EVENT TRIGGER", "-", "guard"}, {"PUBLICATION", "-", "every"}, {"PUBLICATION TABLES IN SCHEMA", "own Schema", "of Schemas own Schema"},
	{"POLICY", "public", "secrets some role's"}, {"EXTENSION", "-", "pg_stat_statements"}, {"COMMENT", "-", "EXTENSION pg_stat_statements"},
	{"VIEW", "public", "slow"}, {"FUNCTION", "public", "raw(integer)"}, {"FUNCTION", "public", "sharp(integer)"}, {"INDEX", "public", "by raw"},
	{"OPERATOR FAMILY", "public", "by Words"}, {"OPERATOR CLASS", "public", "by Words"}, {"INDEX", "public", "by Words"},
	{"FOREIGN DATA WRAPPER", "-", "nowhere"}, {"SERVER", "-", "away"}, {"USER MAPPING", "-", "USER MAPPING public SERVER away"}, {"FOREIGN TABLE", "public", "far"},
}

// One of each kind of object: all that a role may make comes back, and what it may not is named.
func TestPoorWayBackOfEverything(t *testing.T) {
	t.Parallel()
	s, dump := everything.capture(t)
	w := poor(t, s, dump)
	w.run()
	w.lacks(unmakable, nil, noSubscription, without("Name: public; Type: SCHEMA"), withoutLine(`SET "my.own"`), withoutLine("SET log_min_duration_statement"))
	const them = `r"' ; \! touch /tmp/obeyed ?[31m$$:x`
	w.names("postgres-rehearse", "These objects had another owner, and will belong to Mastodon's role:", slices.Concat(
		of("another Owner", "TABLE public secrets", "SEQUENCE public secrets_id_seq"), of(them, `TABLE public t \! touch /tmp/obeyed`),
		of(cluster.User, "SCHEMA - ext", "COLLATION public sorted x", "TYPE public mood", "DOMAIN public positive", "FUNCTION ext unused(text)",
			"FUNCTION public normal(text)", "PROCEDURE public nothing()", "FUNCTION public noticed()", "FUNCTION public touched()",
			"AGGREGATE public total(integer)", "OPERATOR public ===", "TEXT SEARCH CONFIGURATION public english_too", "BLOB - 77001",
			"STATISTICS public stats", "PUBLICATION - of Schemas", "PUBLICATION - some One"))...)
	w.names("postgres-rehearse", "These grants will not be made:", `GRANT USAGE ON SCHEMA ext TO "a Reader";`, `GRANT USAGE ON SCHEMA "own Schema" TO "a Reader";`,
		`GRANT CREATE ON SCHEMA public TO "a Reader";`, `REVOKE ALL ON FUNCTION public.normal(text) FROM PUBLIC;`,
		`GRANT SELECT(username) ON TABLE public.accounts TO "a Reader" WITH GRANT OPTION;`, `GRANT SELECT ON TABLE public.statuses TO "a Reader";`,
		`GRANT SELECT ON TABLE public.statuses TO "r""' ; \! touch /tmp/obeyed ?[31m$$:x";`, `GRANT SELECT ON LARGE OBJECT 77001 TO "a Reader";`,
		`ALTER DEFAULT PRIVILEGES FOR ROLE "an Owner" IN SCHEMA public GRANT SELECT ON TABLES  TO "a Reader";`)
	w.says("postgres-roles", "These roles are missing:\nGroup x\na Reader\nanother Owner\n", `the role "an Owner" does not have the setting that it had: statement_timeout=7min`)
	if got, want := w.out["postgres-settings"], `This is not set for the database: role "a Reader" does not exist
  GRANT CONNECT ON DATABASE NEW TO "a Reader";
This is not set for the database: role "r"' ;
\! touch /tmp/obeyed
?[31m$$:x" does not exist
  GRANT CONNECT ON DATABASE NEW TO "r""' ;
\! touch /tmp/obeyed
?[31m$$:x";
This is not set for the database: permission denied to set parameter "my.own"
  ALTER DATABASE NEW SET "my.own"
This is not set for the database: permission denied to set parameter "log_min_duration_statement"
  ALTER DATABASE NEW SET log_min_duration_statement
`; !strings.HasPrefix(strings.ReplaceAll(got, quote.Identifier(w.value("pg_new")), "NEW"), want) {
		t.Errorf("it says %s", got)
	}
	w.owned("slow")
	w.login("select count(*) from statuses", "3000")
	for name, out := range w.out {
		if strings.Contains(out, "hush hush") || strings.Contains(out, "\x1b") {
			t.Errorf("%s says %q", name, out)
		}
	}
}

// What no server makes again is named with the reason, and all else comes back.
func TestPoorWayBackOfBroken(t *testing.T) {
	t.Parallel()
	s, dump := broken.capture(t)
	w := poor(t, s, dump)
	w.run()
	w.lacks([]object{{"EVENT TRIGGER", "-", "guard"}}, []object{{"INDEX", "public", "index_accounts_on_username"}, {"CONSTRAINT", "public", "two Things two Key"},
		{"FK CONSTRAINT", "public", "parts parts_account_id_fkey"}},
		replaced("REFERENCES public.accounts(id) ON DELETE CASCADE;", "REFERENCES public.accounts(id) ON DELETE CASCADE NOT VALID;"))
	w.says("postgres-objects", "made NOT VALID", "Do not start Mastodon yet", "tootctl maintenance fix-duplicates")
	w.owned()
}

// What needs an extension that the host lacks is named. Where that is an index, it alone is missing.
func TestPoorWayBackLacksExtension(t *testing.T) {
	t.Parallel()
	s, dump := extended.capture(t)
	s.TOC = bytes.ReplaceAll(s.TOC, []byte("pg_trgm"), []byte("pg_xrgm"))
	w := poor(t, s, bytes.ReplaceAll(dump, []byte("pg_trgm"), []byte("pg_xrgm")))
	w.set(map[string]string{"pg_without": "pg_xrgm"}) // which is of no account, as no table needs it
	w.writeHost(w.h.permafrost)
	w.run()
	w.says("postgres-roles", "does not have the extension pg_xrgm", "package postgresql-15-pg-xrgm")
	missing := []string{"EXTENSION - pg_xrgm", "COMMENT - EXTENSION pg_xrgm", "INDEX public index_statuses_on_text"}
	w.names("postgres-rehearse", "This server can't make these objects of the dump:", missing...)
	w.names("postgres-objects", "These objects of the dump could not be made:", missing...)
	w.compare(without("Name: pg_trgm;", "Name: EXTENSION pg_trgm;", "Name: index_statuses_on_text;"))
	w.owned()
}

// An extension may be there for superusers alone. Nothing is restored without the tables that need it, unless that is wished.
func TestPoorWayBackUntrusted(t *testing.T) {
	t.Parallel()
	s, dump := untrusted.capture(t)
	w := poor(t, s, dump)
	w.must(w.step("postgres-roles"))
	w.fails("postgres-rehearse", "TABLE public slow", `permission denied to create extension "pg_stat_statements"`, "tables would be lost", "pg_without=(pg_stat_statements )")
	w.fails("postgres-data", "can't be restored", `relation "public.slow" does not exist`)
	w.set(map[string]string{"pg_without": "pg_stat_statements"})
	w.writeHost(w.h.permafrost)
	for _, step := range w.part.Steps[1:] {
		w.must(w.step(step.Name))
	}
	w.lacks([]object{{"EXTENSION", "-", "pg_stat_statements"}, {"COMMENT", "-", "EXTENSION pg_stat_statements"}, {"TABLE", "public", "slow"},
		{"SEQUENCE OWNED BY", "public", "slow_id_seq"}, {"DEFAULT", "public", "slow id"}, {"CONSTRAINT", "public", "slow slow_pkey"}}, nil, without("Data for Name: slow;"))
	w.says("postgres-verify", "public.slow|3|not there")
	w.owned("slow")
}

// Rows are counted even where their owner may not see them, and large objects are measured.
func TestPoorWayBackOfHalf(t *testing.T) {
	t.Parallel()
	s, dump := everything.capture(t)
	s = s.as("poor half", "poorhalf")
	s.User = s.Database
	w := poor(t, s, dump)
	for _, step := range w.part.Steps[:4] {
		w.must(w.step(step.Name))
	}
	w.must(w.h.Exec(t.Context(), conninfoOf(w.value("pg_new")), "delete from secrets where id = 3; select lo_put(77001, 5, ' and larger')"))
	w.fails("postgres-verify", "public.secrets|20|19\n", "bytes of large objects|8005|8016\n")
	if strings.Contains(w.out["postgres-verify"], "statuses") {
		t.Errorf("it says %s", w.out["postgres-verify"])
	}
}

// What the role lacks that is to make databases is said before anything is made, with what is to be done. The database may be the one
// that clients use to make others.
func TestPoorWayBackOfPostgres(t *testing.T) {
	t.Parallel()
	s, dump := computed.capture(t)
	s = s.as("postgres", "poorpos")
	s.User = "poor postgres"
	w := poor(t, s, dump)
	role := quote.Identifier(s.User)
	w.must(w.h.Exec(t.Context(), "template1", "alter role "+role+" nocreatedb"))
	const rename = `alter database postgres owner to "poor postgres"; -- it belongs to mastodon`
	w.fails("postgres-roles", "may not make databases", `alter role "poor postgres" createdb;`, rename)
	w.must(w.h.Exec(t.Context(), "template1", "alter role "+role+" createdb"))
	w.fails("postgres-roles", rename)
	if strings.Contains(w.out["postgres-roles"], "createdb;") {
		t.Errorf("it says %s", w.out["postgres-roles"])
	}
	if got := w.databases(); got != "postgres" {
		t.Errorf("databases %s", got)
	}
	w.must(w.h.Exec(t.Context(), "template1", "alter database postgres owner to "+role))
	w.run()
	w.login("select count(*) from accounts", "300")
	if got := w.databases(); got != "postgres postgres_before_20260627_030400" {
		t.Errorf("databases %s", got)
	}
}

// An administrator who is no superuser makes databases for the instance's role, which needs no more than its password. Rows that are
// computed by a function whose body has names without a schema are restored with all schemas in sight.
func TestPoorWayBackByAdministrator(t *testing.T) {
	t.Parallel()
	s, dump := computed.capture(t)
	w := poor(t, s, dump)
	verifier, err := Verifier(rolePassword)
	w.must(err)
	w.must(w.h.Exec(t.Context(), "template1", "alter role computed nocreatedb; create role administrator login createdb password "+quote.Literal(verifier)))
	passwords := filepath.Join(w.here, "pgpass")
	w.must(os.WriteFile(passwords, []byte("*:*:*:administrator:"+strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(rolePassword)), 0o600))
	w.set(map[string]string{"pg_admin": "administrator", "pg_admin_user": "", "pg_admin_host": "127.0.0.1"})
	w.writeHost(w.h.permafrost)
	w.env = []string{"PGPASSFILE=" + passwords}
	w.fails("postgres-roles", "grant computed to administrator;")
	w.must(w.h.Exec(t.Context(), "template1", "grant computed to administrator"))
	w.run()
	w.lacks(nil, nil)
	w.owned()
	w.login("select count(*) from accounts", "300")
}
