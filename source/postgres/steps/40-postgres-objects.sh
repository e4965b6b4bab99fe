# Make indexes, foreign keys and all else that needs the data
#
# What can't be made does not keep the rest from being made. It is tried once more alone, and named at the end with the reason and
# with what to do. Where a unique index is among it, Mastodon must not be started before that is mended.

# --- check
pg_begin
pg_find
# --- run
toc=$(pg_put "$pg_hand" "$plan/pg-toc.dump")
rm -f -- "$plan"/pg-objects*.log
pg_load "$pg_db" "$plan/pg-objects-1.log" --section=post-data -j "$(pg_processors)" "$toc" < /dev/null || true
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
  say "Do not start Mastodon yet: unique indexes are missing. Where there are duplicates, with Mastodon stopped,"
  say "  RAILS_ENV=production bin/tootctl maintenance fix-duplicates"
  say "removes them and makes the index."
fi
# --- verify
[ -e "$plan/pg-absent" ] && [ -e "$plan/pg-unsound" ]
