# Count the rows of every table
#
# Changes nothing. Takes minutes.
#
# The dump's rows were counted when it was made, unless this page says above that they were not. Each table must have as many now.

# --- check
pg_begin
pg_find
# --- run
pg_look() { cat -- "$plan/pg-path.sql" - | pg_options='-c statement_timeout=0 -c row_security=off' pg_who=pg_by pg_sql "$pg_db" "$@"; }
pg_look < "$plan/pg-rows.sql" > "$plan/pg-rows"
if [ -s "$plan/pg-rows" ]; then
  say "These tables have other rows than the dump (table|dump|here):"
  pg_plain < "$plan/pg-rows"
  { ! grep -qv '|not there$' "$plan/pg-rows" && pg_may_lose; } ||
    fail "the restored database does not have what the dump has: run the step \"Bring the data back\" again, and all that follow it"
fi
pg_doubts | pg_look -v ON_ERROR_STOP=0 | pg_plain
