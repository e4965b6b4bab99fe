# Look at the server, and make the roles that it lacks
#
# Tables belong to roles, and may be read by others. Roles are the server's, and a dump of a database has none. Those that are
# missing are made: they can't log in, but for Mastodon's own, have no password, and none is a superuser. Roles that are there
# are left as they are. Before that the step looks whether this server can take the database.

# --- check
pg_begin
[ $((pg_version / 10000)) -ge "$pg_dump_version" ] ||
  fail "the dump is of PostgreSQL $pg_dump_version, and this server is of version $((pg_version / 10000)): it takes that version or a newer one"
[ "$pg_super" = t ] || pg_may
pg_options='-c search_path=pg_catalog' pg_sql "$pg_main" < "$plan/pg-extensions-missing.sql" > "$plan/pg-extensions-missing"
pg_packages
pg_create "$pg_rehearsal" "${pg_admin:-$pg_role}" || pg_fail_locale
pg_drop "$pg_rehearsal"
# --- run
if [ "$pg_super" = t ]; then
  pg_sql "$pg_main" < "$plan/pg-roles.sql" | pg_plain
else
  say "There is no superuser. All that is restored belongs to Mastodon's role, nothing is granted to others, and the next step names"
  say "what stays out."
fi
# --- verify
missing=$(pg_sql "$pg_main" < "$plan/pg-roles-missing.sql" | pg_plain)
if [ -n "$missing" ]; then
  [ "$pg_super" != t ] || fail "these roles are still missing: $missing"
  printf 'These roles are missing:\n%s\n' "$missing"
fi
pg_sql "$pg_main" < "$plan/pg-role-settings.sql" | pg_plain
# --- undo
# A role that was made is removed by `drop role`, as long as it owns nothing.
