# Put the new database in the place of the old one
#
# Changes which database Mastodon uses; the old one is renamed, and kept. Takes seconds.
#
# Both databases are renamed at once. The old one gets the name that `pg_old` in `host.sh` has. Programs that are connected to either lose their
# connection.

# --- check
pg_begin
pg_find
# --- run
for try in 1 2 3 4 5 6 7 8 9 10; do
  [ "$pg_db" != "$pg_database" ] || break
  ! pg_swap || break
  [ "$try" -lt 10 ] || { pg_connected; fail "the databases can't be renamed while they are in use: end what is connected"; }
  [ -z "$pg_taken" ] || [ "$try" -lt 3 ] || fail "there are databases called $pg_database and $pg_old: set pg_old to another name in $plan/host.sh"
  sleep 1
  pg_find # a try that was interrupted may have come to its end since
done
# --- verify
pg_find
[ "$pg_db" = "$pg_database" ] || fail "the restored database is still called $pg_db"
# --- undo
# stop Mastodon, and type this as root in the directory of the restored files. The old database gets its name back, and the restored
# one the name that `pg_new` in `host.sh` has:
#
#     ( set -euo pipefail; . plan/host.sh; cd /; pg_begin; pg_swap_back )
