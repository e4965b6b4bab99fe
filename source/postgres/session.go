package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// sessionParams are the parameters that our queries, and pgx, rely on. A role, a database or a server may have others set: what
// a client asks for as it connects goes before all of that. Each version of PostgreSQL knows these.
func sessionParams() map[string]string {
	p := dumpParams()
	p["client_encoding"] = "UTF8"
	p["TimeZone"] = "UTC"
	return p
}

// dumpParams are those of the session of pg_dump, which sets most of them itself, behind its first queries. A dump is in
// the encoding of its database, which a variable of its own asks for.
func dumpParams() map[string]string {
	return map[string]string{
		"standard_conforming_strings": "on", "bytea_output": "hex", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres",
		"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
		// A serializable and deferrable transaction waits for others before its first answer.
		"default_transaction_isolation": "read committed", "default_transaction_deferrable": "off",
	}
}

// pgOptions is dumpParams for libpq's parameter options, behind those of the settings.
func (s *Server) pgOptions() string {
	words := []string{s.db.Params["options"]}
	escape := strings.NewReplacer(`\`, `\\`, ` `, `\ `)
	params := dumpParams()
	for _, name := range slices.Sorted(maps.Keys(params)) {
		words = append(words, "-c "+name+"="+escape.Replace(params[name]))
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// The system's own names go before those of the schemas that the role looks into, whatever order those have.
const searchQuery = `
select pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', 'pg_catalog', nullif(pg_catalog.current_setting('search_path'), '')), false)`

// Newer versions have timeouts that older ones refuse by name.
const timeoutsQuery = `
select set_config(name, '0', false) from pg_settings where name in ('transaction_timeout', 'idle_session_timeout')`

const damageQuery = `
select name from pg_settings where name in ('zero_damaged_pages', 'ignore_checksum_failure') and setting = 'on' limit 10`

// settle sets the parameters that can't be asked for as a client connects.
func settle(ctx context.Context, conn *pgx.Conn) error {
	for _, query := range []string{searchQuery, timeoutsQuery} {
		if _, err := conn.Exec(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// warnOfDamage tells of parameters that let a dump pass over damage. Only an administrator of the server may change them.
func (s *Server) warnOfDamage(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, damageQuery)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		s.warn(fmt.Sprintf("PostgreSQL runs with %s = on: rows in damaged pages are missing from the dump without an error", name))
	}
	return err
}
