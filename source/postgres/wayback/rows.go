package wayback

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"permafrost/source/postgres"
	"permafrost/source/postgres/archive"
	"permafrost/source/postgres/quote"
)

// rowsSQL returns a script for psql that tells each table whose rows are not as many as those of the dump: its name, the dump's
// rows, and those that are there. A table of an extension may have more: the extension brings some of its own. Row security that
// hides a table's rows from its owner is off while these are counted, in a transaction that is rolled back.
//
// Large objects are told alike.
func rowsSQL(d *postgres.DumpFacts) string {
	var rows []string
	for _, name := range slices.Sorted(maps.Keys(d.Tables)) {
		schema, table, err := quote.ParseTableName(name)
		if err == nil && !strings.ContainsRune(name, utf8.RuneError) { // which stands for what was no text
			rows = append(rows, fmt.Sprintf("(%s, %s, %d::bigint)", quote.Literal(schema), quote.Literal(table), d.Tables[name].Rows))
		}
	}
	sql := sqlHead
	if len(rows) > 0 {
		sql += strings.Replace(rowsQueries, "TABLES", strings.Join(rows, ",\n"), 1)
	}
	if n := d.LargeObjects; n > 0 {
		sql += strings.ReplaceAll(largeObjectsQuery, "BYTES", strconv.FormatInt(n, 10))
	}
	return sql
}

const rowsQueries = `with dumped(nsp, tab, n) as (values
TABLES)
select case when pg_catalog.row_security_active(c.oid) then pg_catalog.format('begin; alter table only %I.%I no force row level security', nsp, tab) end,
	case when c.oid is null then pg_catalog.format('select %L, %s, %L', pg_catalog.format('%I.%I', nsp, tab), n, 'not there')
	else pg_catalog.format('select %L, %s, count(*) from only %I.%I having count(*) %s %s', pg_catalog.format('%I.%I', nsp, tab), n, nsp, tab,
		case when exists (select from pg_catalog.pg_depend where classid = 'pg_catalog.pg_class'::pg_catalog.regclass and objid = c.oid and deptype = 'e')
			then '<' else '<>' end, n) end,
	case when pg_catalog.row_security_active(c.oid) then 'rollback' end
from dumped left join (pg_catalog.pg_class c join pg_catalog.pg_namespace s on s.oid = c.relnamespace) on s.nspname = nsp and c.relname = tab
order by nsp, tab \gexec
`

// Who is no superuser may not read the table that large objects are in. Each is measured by going to its end.
const largeObjectsQuery = `select 'bytes of large objects', BYTES, coalesce(sum(size), 0) from (
	select pg_catalog.lo_lseek64(fd, 0, 2) as size, pg_catalog.lo_close(fd) from (
		select pg_catalog.lo_open(oid, 262144) as fd from pg_catalog.pg_largeobject_metadata offset 0) opened) measured
having coalesce(sum(size), 0) <> BYTES;
`

// pathSQL returns a statement that has names looked for in all schemas of the dump.
func pathSQL(c *archive.Contents) string {
	if len(c.Schemas) == 0 {
		return sqlHead
	}
	return sqlHead + "set search_path = " + searchPath(c.Schemas) + ";\n"
}

// pathTOC returns the table of contents so that pg_restore looks for names in all schemas of the dump. It looks for none
// otherwise, and what is defined by an unqualified name can't be made, as a function's body may hold.
func pathTOC(toc []byte, c *archive.Contents) []byte {
	if len(c.Schemas) == 0 {
		return toc
	}
	return c.WithPath(toc, "SELECT pg_catalog.set_config('search_path', "+quote.Literal(searchPath(c.Schemas))+", false);\n")
}

// searchPath returns a value for search_path that has all of some schemas.
func searchPath(schemas []string) string {
	names := make([]string, len(schemas))
	for i, s := range schemas {
		names[i] = quote.Identifier(s)
	}
	return strings.Join(names, ", ")
}
