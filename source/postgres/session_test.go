package postgres

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/source"
)

// oddRole makes a role of the test's own, with a password, that has parameters set.
func oddRole(t *testing.T, name string, set ...string) {
	t.Helper()
	text := "create role " + name + " superuser login password 'odd'"
	for _, s := range set {
		text += "; alter role " + name + " set " + s
	}
	sql(t, "postgres", text)
	t.Cleanup(func() { sql(t, "postgres", "drop role "+name) })
}

// Whatever is set for a role, the connections work and see what they would see, and so does pg_dump.
func TestSessionParameters(t *testing.T) {
	plain := newDatabase(t)
	sql(t, plain.Name, `create table odd (t timestamptz, i interval, b bytea, f text);
		insert into odd values ('2026-11-28 03:00 UTC', '1 day 2 hours', '\x00ff', 'é \ ''')`)
	// Functions and tables that hide those of the system from whoever looks into public first.
	sql(t, plain.Name, `create function pg_backend_pid() returns int language sql as 'select 1';
		create function pg_export_snapshot() returns text language sql as $$ select 'x'::text $$;
		create table pg_database (datname name); create table pg_extension (extname name)`)
	whole := func(t *testing.T, user, password string) (Facts, []byte) {
		db := plain
		db.User, db.Password = user, password
		s := connect(t, db, Options{})
		data, err := io.ReadAll(startDump(t, export(t, s)))
		if err != nil {
			t.Fatalf("%v (%v)", err, source.CauseOf(err))
		}
		return s.Facts(), data
	}
	_, reference := whole(t, plain.User, plain.Password)
	want := tool(t, bytes.NewReader(reference), "pg_restore", "--data-only", "--table=odd", "--table=statuses", "--file=-")
	for i, set := range []string{
		"client_encoding = 'LATIN1'", "client_encoding = 'SQL_ASCII'", "standard_conforming_strings = off", "DateStyle = 'German'",
		"IntervalStyle = 'iso_8601'", "bytea_output = 'escape'", "TimeZone = 'Asia/Kathmandu'",
		"statement_timeout = 1", "lock_timeout = 1", "idle_in_transaction_session_timeout = 1", "idle_session_timeout = 300",
		"search_path = public, pg_catalog", "search_path = ''", "default_transaction_read_only = on",
		"default_transaction_isolation = 'serializable'", "default_transaction_deferrable = on",
		"backslash_quote = off", "quote_all_identifiers = on", "client_min_messages = 'debug5'", "row_security = off",
		"extra_float_digits = -15", "application_name = 'psql'",
	} {
		t.Run(set, func(t *testing.T) {
			role := "odd_" + string(rune('a'+i))
			oddRole(t, role, set)
			f, data := whole(t, role, "odd")
			if f.Encoding != "UTF8" || f.Rows["public.statuses"] != rows || f.Extensions["pg_trgm"] == "" {
				t.Errorf("facts %+v", f)
			}
			if set != "search_path = ''" && f.SchemaMigration != "20240611000000" {
				t.Errorf("migration %q", f.SchemaMigration)
			}
			got := tool(t, bytes.NewReader(data), "pg_restore", "--data-only", "--table=odd", "--table=statuses", "--file=-")
			// Of a role's time zone nothing but the notation depends.
			if set == "TimeZone = 'Asia/Kathmandu'" {
				got = strings.Replace(got, "2026-11-28 08:45:00+05:45", "2026-11-28 03:00:00+00", 1)
			}
			if stamp(got) != stamp(want) {
				t.Errorf("the dump differs: %.2000s, want %.2000s", got, want)
			}
		})
	}
}

// stamp is a script of pg_restore without what each has of its own, a key against injections.
func stamp(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Databases of any encoding are dumped in that encoding, byte for byte, whatever a role's client_encoding is.
func TestEncodings(t *testing.T) {
	db := newDatabase(t)
	for _, c := range []struct{ encoding, insert string }{
		{"SQL_ASCII", `E'\xe9 \xc3\xa9 \xff'`}, {"LATIN1", `E'\xe9 \xff'`}, {"EUC_JP", `E'\xa4\xa2'`}, {"UTF8", `'é あ'`},
	} {
		for _, client := range []string{"UTF8", "LATIN1", "SQL_ASCII"} {
			t.Run(c.encoding+" "+client, func(t *testing.T) {
				name := strings.ToLower("enc_" + c.encoding + "_" + client)
				role := "role_" + name
				sql(t, "postgres", "create database "+name+" template template0 encoding '"+c.encoding+"' locale 'C'")
				// psql's own encoding is the database's here.
				sql(t, name, `\encoding `+c.encoding+"\n"+`create table "café" (t text); create table odd (t text); insert into odd values (`+c.insert+`);
					create table schema_migrations (version varchar primary key); insert into schema_migrations values ('20240611000000')`)
				oddRole(t, role, "client_encoding = '"+client+"'")
				with := db
				with.Name, with.User, with.Password = name, role, "odd"
				s := connect(t, with, Options{})
				if f := s.Facts(); f.Encoding != c.encoding || f.SchemaMigration != "20240611000000" {
					t.Errorf("facts %+v", f)
				}
				data, err := io.ReadAll(startDump(t, export(t, s)))
				if err != nil {
					t.Fatalf("%v (%v)", err, source.CauseOf(err))
				}
				script := tool(t, bytes.NewReader(data), "pg_restore", "--file=-")
				if !strings.Contains(script, "SET client_encoding = '"+c.encoding+"'") {
					t.Errorf("the dump is not in the database's encoding: %.300s", script)
				}
				sql(t, "postgres", "create database "+name+"_copy template template0 encoding '"+c.encoding+"' locale 'C'")
				tool(t, bytes.NewReader(data), "pg_restore", "--exit-on-error", "--no-owner", "-d", cluster.URL(name+"_copy"))
				const content = "select encode(convert_to(t, getdatabaseencoding()), 'hex') from odd"
				if got, want := query(t, name+"_copy", content), query(t, name, content); got != want || got == "" {
					t.Errorf("restored %q, want %q", got, want)
				}
			})
		}
	}
}

// A server that is told to pass over damage is named.
func TestDamageIsTold(t *testing.T) {
	db := newDatabase(t)
	oddRole(t, "careless", "zero_damaged_pages = on")
	db.User, db.Password = "careless", "odd"
	var w warned
	connect(t, db, Options{Warn: w.warn})
	if !strings.Contains(w.String(), "zero_damaged_pages = on") {
		t.Errorf("told %q", w.String())
	}
}

// What a URL's parameters choose, both the connection and pg_dump are led by.
func TestParametersAreHonoured(t *testing.T) {
	db := newDatabase(t)
	passfile := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(passfile, []byte("*:*:*:"+db.User+":"+db.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(params map[string]string, change func(*source.Database)) source.Database {
		d := db
		d.Params = params
		if change != nil {
			change(&d)
		}
		return d
	}
	for name, d := range map[string]source.Database{
		"passfile":             with(map[string]string{"passfile": passfile}, func(d *source.Database) { d.Password = "" }),
		"hostaddr":             with(map[string]string{"hostaddr": db.Host}, func(d *source.Database) { d.Host = "db.invalid" }),
		"target_session_attrs": with(map[string]string{"target_session_attrs": "read-write"}, nil),
		"options":              with(map[string]string{"options": "-c search_path=nowhere -c statement_timeout=1"}, nil),
	} {
		if err := dumpOnce(d, Options{}); err != nil {
			t.Errorf("%s: %v (%v)", name, err, source.CauseOf(err))
		}
	}
	for name, d := range map[string]source.Database{
		"passfile":             with(map[string]string{"passfile": passfile + "none"}, nil),
		"hostaddr":             with(map[string]string{"hostaddr": "127.0.0.1"}, func(d *source.Database) { d.Host, d.Port = "db.invalid", freePort(t) }),
		"target_session_attrs": with(map[string]string{"target_session_attrs": "read-only"}, nil),
		"options":              with(map[string]string{"options": "-c role=nobody_at_all"}, nil),
	} {
		if err := dumpOnce(d, Options{}); err == nil {
			t.Errorf("%s: it is not heeded", name)
		} else if strings.Contains(err.Error(), db.Password) {
			t.Errorf("%s: a password in %v", name, err)
		}
	}
}
