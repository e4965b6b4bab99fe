# Set what is set for the database, and the role's password where it has another one
#
# The password in the settings file is tried first. Only where the server refuses it does the role get it, in the form that
# the server stores (SCRAM-SHA-256): the password itself is in no command and in no log.

# --- check
pg_begin
pg_find
[ -n "$pg_passfile" ] || pg_login
# --- run
pg_sql "$pg_main" -b -v ON_ERROR_STOP=0 -v "new=$pg_db" < "$plan/pg-settings.sql" 2>&1 | pg_unset
if ! pg_let_in 2> /dev/null; then
  [ -n "$pg_asks" ] || fail "the server does not let the role in as the user $pg_role_user: look at pg_hba.conf. Where it asks for a password, set pg_asks in $plan/host.sh"
  [ "$pg_super" = t ] || fail "the server refuses the role's password, and only a superuser can set it"
  pg_password
fi
# --- verify
pg_let_in || fail "the server does not let Mastodon's role in with the password in $pg_settings: look at pg_hba.conf"
# --- undo
# The earlier password can't be had back.
