# Set the database's options, and the password of Mastodon's role
#
# Changes options of the new database, and the password of Mastodon's role where the server refuses the present one. Takes seconds.
#
# The password is the one in the settings file. It is stored in the form that the server itself uses (SCRAM-SHA-256). It stands in no
# command and in no log.

# --- check
pg_begin
pg_find
[ -n "$pg_passfile" ] || pg_login
# --- run
pg_sql "$pg_main" -b -v ON_ERROR_STOP=0 -v "new=$pg_db" < "$plan/pg-settings.sql" 2>&1 | pg_unset
if ! pg_let_in 2> /dev/null; then
  [ -n "$pg_asks" ] || fail "PostgreSQL does not let Mastodon's role in, as the user $pg_role_user and without a password. If it asks for one, set pg_asks=scram-sha-256 in $plan/host.sh. If not, it needs a line in pg_hba.conf: psql -c 'show hba_file' tells where that is"
  [ "$pg_super" = t ] || fail "the server refuses the role's password, and only a superuser can set it"
  pg_password
fi
# --- verify
pg_let_in || fail "PostgreSQL does not let Mastodon's role in with the password in $pg_settings. It needs a line in pg_hba.conf: psql -c 'show hba_file' tells where that is"
# --- undo
# not possible: the earlier password is not known.
