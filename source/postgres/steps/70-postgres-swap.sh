# Give the restored database its name
#
# Both databases are renamed in one transaction. Connections to them end, and new ones wait for a moment; without a superuser
# one may be refused in that moment. The database that was there stays, by another name, until you remove it.

# --- check
pg_begin
pg_find
# --- run
for try in 1 2 3 4 5 6 7 8 9 10; do
  [ "$pg_db" != "$pg_database" ] || break
  ! pg_swap || break
  [ "$try" -lt 10 ] || fail "the databases can't be renamed: who is connected, and does not let go?"
  [ -z "$pg_taken" ] || [ "$try" -lt 3 ] || fail "there are databases called $pg_database and $pg_old: set pg_old to another name in $plan/host.sh"
  sleep 1
  pg_find # a try that was interrupted may have come to its end since
done
# --- verify
pg_find
[ "$pg_db" = "$pg_database" ] || fail "the restored database is still called $pg_db"
# --- undo
# Stop Mastodon, and rename both databases by `alter database ... rename to ...`, from the database template1.
