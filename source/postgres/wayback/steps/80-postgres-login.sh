# Log in as Mastodon does
#
# Changes nothing. Takes seconds.
#
# Mastodon's role logs in to the restored database as Mastodon would, and reads from it.

# --- check
pg_begin
pg_find
[ -n "$pg_passfile" ] || pg_login
# --- run
pg_let_in || fail "Mastodon's role can't log in. Run the step \"Set the database's options\" again: it says what is missing."
# --- verify
[ "$pg_db" = "$pg_database" ] || fail "the restored database is called $pg_db: run the step before this one again"
