# Look at PostgreSQL, and make the users that it lacks
#
# Changes PostgreSQL: users (roles) that are missing are made. Takes seconds.
#
# PostgreSQL calls its users roles. Each table belongs to one, and a dump has none of them. This step looks whether the server can take the
# database: its version and its extensions. Then it makes the roles that are missing, without a password. Only
# Mastodon's own may log in, and none is an administrator (superuser). Roles that are there stay as they are.

# --- check
pg_wait
pg_begin
[ $((pg_version / 10000)) -ge "$pg_dump_version" ] ||
  fail "the dump is of PostgreSQL $pg_dump_version, and this server is of version $((pg_version / 10000)): it takes that version or a newer one"
[ "$pg_super" = t ] || pg_may
pg_options='-c search_path=pg_catalog' pg_sql "$pg_main" < "$plan/pg-extensions-missing.sql" > "$plan/pg-extensions-missing"
pg_packages
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
# type `runuser -u postgres -- dropuser NAME` for a role that this step has made. With Compose: `docker compose exec db dropuser -U postgres NAME`,
# where `db` is the service of PostgreSQL. The role must own nothing.
