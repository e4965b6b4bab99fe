package postgres

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"permafrost/internal/hint"
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
			t.Fatalf("%v (hint: %s)", err, hint.Of(err))
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
					t.Fatalf("%v (hint: %s)", err, hint.Of(err))
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
