package compare

import (
	"context"
	"fmt"
	"strings"

	"permafrost/internal/sandbox"
)

// catalog describes what is not rows. The catalog's own schemas stay out.
const catalog = `
SELECT 'column ' || table_name || '.' || column_name || '|' || ordinal_position || ' ' || udt_name || ' ' || is_nullable || ' ' || coalesce(column_default, '')
  FROM information_schema.columns WHERE table_schema = 'public';
SELECT 'index ' || indexname || '|' || indexdef FROM pg_indexes WHERE schemaname = 'public';
SELECT 'constraint ' || conrelid::regclass || ' ' || conname || '|' || pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace;
SELECT 'sequence ' || sequencename || '|' || coalesce(last_value::text, 'unused') FROM pg_sequences WHERE schemaname = 'public';
SELECT 'view ' || c.relname || '|' || c.relkind::text || ' ' || md5(pg_get_viewdef(oid))
  FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm');
SELECT 'function ' || proname || '|' || md5(pg_get_functiondef(oid)) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind = 'f';
SELECT 'extension ' || extname || '|' || extversion FROM pg_extension;
SELECT 'encoding|' || pg_encoding_to_char(encoding) || ' ' || datcollate FROM pg_database WHERE datname = current_database();
`

// Database describes the tables of a database, each by its number of rows and
// a sum over the rows in any order, and its columns, indexes, constraints,
// sequences, views and functions. Rows of materialized views are left out:
// a restore computes them anew.
func Database(ctx context.Context, p *sandbox.Postgres, db string) (State, error) {
	tables, err := p.Query(ctx, db,
		"SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname")
	if err != nil {
		return nil, fmt.Errorf("listing tables of %s: %w", db, err)
	}
	sql := strings.Builder{}
	sql.WriteString(catalog)
	for table := range strings.Lines(tables) {
		table = strings.TrimSuffix(table, "\n")
		fmt.Fprintf(&sql, "SELECT 'table %s|' || count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM public.%s t;\n",
			strings.ReplaceAll(table, "'", "''"), table)
	}
	out, err := p.Query(ctx, db, sql.String())
	if err != nil {
		return nil, fmt.Errorf("describing %s: %w", db, err)
	}
	state := make(State)
	for line := range strings.Lines(out) {
		name, description, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		if !ok {
			return nil, fmt.Errorf("describing %s: unexpected line %q", db, line)
		}
		state[name] = description
	}
	return state, nil
}
