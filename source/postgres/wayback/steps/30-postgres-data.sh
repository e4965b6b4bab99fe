# Bring the data back, into a new database
#
# Changes nothing in the database that is there. Takes long: some minutes for each 10 GB.
#
# The new database has a name of its own until it is whole: `pg_new` in `host.sh`. If this step fails or is interrupted, run it again: it
# begins anew.
#
# It says nothing while it works. To see the database grow, type in a second terminal `runuser -u postgres -- psql -c '\l+'`. With Compose
# type, in the project's directory, `docker compose exec db psql -U postgres -c '\l+'`, where `db` is the service of PostgreSQL.

# --- check
pg_begin
[ -f "$here/$pg_dump_file" ] || fail "the dump $here/$pg_dump_file is missing: run permafrost restore again"
# --- run
if ! pg_fill "$plan/pg-toc.dump"; then
  # A constraint or a column may be computed by a function whose body has names without a schema.
  if [ "$pg_database" != "$pg_new" ] && grep -q 'ERROR: .* does not exist' "$plan/pg-data.log" && pg_fill "$plan/pg-toc-path.dump"; then
    say "A function in the dump uses names without their schema, so these were looked for in all schemas."
  else
    pg_errors "$plan/pg-pre.log"
    pg_errors "$plan/pg-data.log"
    pg_drop "$pg_new"
    fail "the data can't be restored. Nothing that was there has changed."
  fi
fi
pg_ask "select oid from pg_database where datname = :'db'" -v "db=$pg_new" > "$plan/pg-oid.new"
mv -- "$plan/pg-oid.new" "$plan/pg-oid"
# --- verify
pg_find
# --- undo
# type `runuser -u postgres -- dropdb NAME`, or with Compose `docker compose exec db dropdb -U postgres NAME`, with the name that `pg_new`
# in `host.sh` has.
