# Gather statistics of every table
#
# Changes nothing in the tables. Takes minutes.
#
# PostgreSQL plans its queries by statistics. Without them Mastodon's first minutes would be slow.

# --- check
pg_begin
pg_find
# --- run
pg_analyze || say "Statistics of some tables are missing: run ANALYZE later."
