# Make indexes and foreign keys
#
# Changes the new database alone. Takes about as long as the step before.
#
# What can't be made is tried once more alone. What still can't be made is named at the end, with the reason, and all else is made. Read that:
# the step is done then too.
#
# If a unique index is among it, go on with the steps. The one that starts Mastodon refuses, and says how to repair that.

# --- check
pg_begin
pg_find
# --- run
toc=$(pg_put "$pg_hand" "$plan/pg-toc-offsets.dump")
rm -f -- "$plan"/pg-objects*.log
pg_load "$pg_db" "$plan/pg-objects-1.log" --section=post-data -j "$pg_jobs" "$toc" < /dev/null || true
pg_compare "$pg_db" > "$plan/pg-absent.new"
if [ -s "$plan/pg-absent.new" ]; then
  pg_mend
fi
pg_unsound "$plan/pg-absent.new" > "$plan/pg-unsound"
mv -- "$plan/pg-absent.new" "$plan/pg-absent"
if [ -s "$plan/pg-absent" ]; then
  say "These objects of the dump could not be made:"
  pg_tell "$plan/pg-absent" "$plan"/pg-objects*.log
fi
if [ -s "$plan/pg-unsound" ]; then
  say "Do not start Mastodon yet: unique indexes are missing. Go on with the next steps, and repair that just before Mastodon is started:"
  say "  RAILS_ENV=production bin/tootctl maintenance fix-duplicates"
  say "removes duplicates and makes the indexes. Now it would change the old database, and not this one."
fi
# --- verify
[ -e "$plan/pg-absent" ] && [ -e "$plan/pg-unsound" ]
