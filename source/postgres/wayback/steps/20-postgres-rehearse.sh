# Try the database's structure in an empty database
#
# Changes nothing: the empty database is removed again. Takes a minute.
#
# All tables, indexes and functions of the dump are made once, without data. So what this server lacks shows now, and not after hours.

# --- check
pg_begin
# --- run
pg_create "$pg_rehearsal" "$pg_role" || pg_fail_locale
pg_load "$pg_rehearsal" "$plan/pg-rehearsal.log" --schema-only < "$plan/pg-toc.dump" || pg_ended "$plan/pg-rehearsal.log"
pg_compare "$pg_rehearsal" | { grep -v '; MATERIALIZED VIEW DATA ' || true; } > "$plan/pg-rehearsal"
if [ -s "$plan/pg-rehearsal" ]; then
  pg_again "$pg_rehearsal" "$plan/pg-rehearsal" "$plan/pg-toc-path.dump" "$plan/pg-rehearsal-again.log"
  pg_compare "$pg_rehearsal" | { grep -v '; MATERIALIZED VIEW DATA ' || true; } | pg_failed "$plan/pg-rehearsal-again.log" > "$plan/pg-rehearsal"
fi
pg_drop "$pg_rehearsal"
if [ -s "$plan/pg-rehearsal" ]; then
  say "This server can't make these objects of the dump:"
  pg_tell "$plan/pg-rehearsal" "$plan/pg-rehearsal-again.log"
fi
pg_subscriptions
[ "$pg_super" = t ] || pg_left_out
# --- verify
pg_lost "$plan/pg-rehearsal-again.log" < "$plan/pg-rehearsal" > "$plan/pg-rehearsal-lost"
if [ -s "$plan/pg-rehearsal-lost" ]; then
  # One that is there may still be for a superuser alone.
  sed -n 's/^[0-9]*; EXTENSION - \([^ ]*\) *$/\1/p' "$plan/pg-rehearsal" | sort -u -o "$plan/pg-extensions-missing" - "$plan/pg-extensions-missing"
  pg_may_lose || fail "tables would be lost: install what is missing. To do without extensions, and without all tables that need them, write in $plan/host.sh:
  pg_without=($(printf '%q ' $(cat -- "$plan/pg-extensions-missing")))"
fi
