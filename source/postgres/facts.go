package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"permafrost/source"
)

// Facts describe a database: what its restored copy needs, and what it is judged by.
type Facts struct {
	Version    string `json:"version"`     // as the server writes it: 15.14 (Debian 15.14-0+deb12u1)
	VersionNum int    `json:"version_num"` // 150014

	Database string `json:"database"`
	Encoding string `json:"encoding"`
	Collate  string `json:"collate"`
	CType    string `json:"ctype"`
	Provider string `json:"locale_provider"`  // libc, icu or builtin
	Locale   string `json:"locale,omitempty"` // of icu and builtin

	Size       int64             `json:"size"` // bytes on the server's disk
	Extensions map[string]string `json:"extensions"`
	Rows       map[string]int64  `json:"rows"` // estimates by schema.table

	LSN             string `json:"lsn"`
	InRecovery      bool   `json:"in_recovery"`                // a replica
	SchemaMigration string `json:"schema_migration,omitempty"` // newest version in schema_migrations

	Host  string `json:"host,omitempty"`  // where it was reached: a host, or the directory of a socket
	Port  int    `json:"port,omitempty"`  // of the socket too
	Login string `json:"login,omitempty"` // what it asked the role for: scram-sha-256, md5, password or gss; "" for nothing, as by peer authentication
	Roles []Role `json:"roles,omitempty"` // that own something here, are granted something, or are groups of these

	Schema  string   `json:"schema,omitempty"` // the one that holds Mastodon's tables; "" where none holds all of them
	missing []string // of the tables that Mastodon can't be without
}

// vital are tables without which a database is no Mastodon's.
var vital = []string{"accounts", "schema_migrations", "statuses", "users"}

// CheckMastodon returns an error where the database is none of Mastodon's.
func (f *Facts) CheckMastodon() error {
	if len(f.missing) == 0 {
		return nil
	}
	return source.Because(CauseNotMastodon, fmt.Errorf("the database %s is not a Mastodon database: it has no table %s", f.Database, strings.Join(f.missing, ", ")))
}

const vitalQuery = `
select nspname, relname from pg_class c join pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'p') and relname = any($1) and nspname <> 'information_schema' and nspname !~ '^pg_'
order by nspname <> 'public', nspname, relname limit 10000`

// findTables finds the schema with Mastodon's tables: public, or else the first that has all of them.
func (f *Facts) findTables(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, vitalQuery, vital)
	if err != nil {
		return err
	}
	found, schema, table := 0, "", ""
	in := make(map[string][]string)
	_, err = pgx.ForEachRow(rows, []any{&schema, &table}, func() error {
		if found++; found > maxRows {
			return fmt.Errorf("the server answers with more than %d rows", maxRows)
		}
		if in[schema] = append(in[schema], table); len(in[schema]) == len(vital) && f.Schema == "" {
			f.Schema = schema
		}
		return checkTexts(schema, table)
	})
	if err == nil && f.Schema == "" {
		f.missing = slices.DeleteFunc(slices.Clone(vital), func(t string) bool { return slices.Contains(in["public"], t) })
	}
	return err
}

// currentLSN is an expression for the server's position in the write-ahead log.
const currentLSN = "case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end"

// The columns about locales have changed their names and are absent before version 15; to_jsonb takes them as
// they are.
const databaseQuery = `
select current_setting('server_version'), current_setting('server_version_num')::int,
	datname, pg_encoding_to_char(encoding), datcollate, datctype,
	case to_jsonb(d) ->> 'datlocprovider' when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end,
	coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', ''),
	pg_database_size(oid), coalesce((` + currentLSN + `)::text, ''), pg_is_in_recovery()
from pg_database d where datname = current_database()`

const extensionsQuery = `select extname, extversion from pg_extension limit 10000`

// Until a table is analyzed its reltuples are -1 (0 before version 14): then the running statistics count.
const rowsQuery = `
select nspname || '.' || relname,
	case when reltuples > 0 then reltuples::bigint else coalesce(pg_stat_get_live_tuples(c.oid), 0) end
from pg_class c join pg_namespace n on n.oid = relnamespace
where relkind in ('r', 'm') and relpersistence <> 't'
	and nspname <> 'information_schema' and nspname !~ '^pg_'
order by 2 desc limit 10000`

const (
	maxRows = 10_000  // of each query; of more tables the largest are asked for
	maxText = 1 << 10 // bytes of a text
)

const hasMigrationsQuery = `
select exists (select from pg_attribute
	where attrelid = to_regclass('schema_migrations') and attname = 'version' and not attisdropped)`

func readFacts(ctx context.Context, conn *pgx.Conn) (f Facts, err error) {
	err = conn.QueryRow(ctx, databaseQuery).Scan(&f.Version, &f.VersionNum, &f.Database, &f.Encoding, &f.Collate, &f.CType,
		&f.Provider, &f.Locale, &f.Size, &f.LSN, &f.InRecovery)
	if err != nil {
		return f, err
	}
	if f.Extensions, err = readMap[string](ctx, conn, extensionsQuery); err != nil {
		return f, fmt.Errorf("extensions: %w", err)
	}
	if f.Rows, err = readMap[int64](ctx, conn, rowsQuery); err != nil {
		return f, fmt.Errorf("row estimates: %w", err)
	}
	if err = f.findTables(ctx, conn); err != nil {
		return f, fmt.Errorf("tables: %w", err)
	}
	if f.Roles, err = readRoles(ctx, conn); err != nil {
		return f, fmt.Errorf("roles: %w", err)
	}
	var migrations bool
	if err = conn.QueryRow(ctx, hasMigrationsQuery).Scan(&migrations); err == nil && migrations {
		err = conn.QueryRow(ctx, "select coalesce(max(version)::text, '') from schema_migrations").Scan(&f.SchemaMigration)
	}
	if err == nil {
		err = checkTexts(f.Version, f.Database, f.Encoding, f.Collate, f.CType, f.Provider, f.Locale, f.LSN, f.SchemaMigration)
	}
	return f, err
}

// readMap reads a query of two columns, a name and a value.
func readMap[V any](ctx context.Context, conn *pgx.Conn, query string) (map[string]V, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	m := make(map[string]V)
	var name string
	var value V
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		if len(m) == maxRows {
			return fmt.Errorf("the server answers with more than %d rows", maxRows)
		}
		m[strings.ToValidUTF8(name, "\uFFFD")] = value // of a database without an encoding, a name may be any bytes
		text, _ := any(value).(string)
		return checkTexts(name, text)
	})
	return m, err
}

// checkTexts returns an error for a text that is none of PostgreSQL's.
func checkTexts(texts ...string) error {
	for _, s := range texts {
		if len(s) > maxText || strings.Contains(s, "\x00") {
			return fmt.Errorf("the server answers with a text of %d bytes, %.40q", len(s), s)
		}
	}
	return nil
}
