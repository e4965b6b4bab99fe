# Build the search index
#
# Changes Elasticsearch's index, where Elasticsearch is used. Takes minutes, or hours where there are many posts.
#
# The index is no part of a backup. It is made from the database. This step does nothing where Mastodon's settings do not have
# `ES_ENABLED=true`. If they have it, Elasticsearch must run. To do without it write `ES_ENABLED=false` there, and restart Mastodon.

# --- run
if { as "$mastodon_user" cat -- "$live/.env.production" 2>/dev/null || cat -- "$here/env.production"; } |
	grep -E '^(export )?ES_ENABLED=["'\'']?true' >/dev/null; then
	tootctl search deploy
else
	say "Elasticsearch is not used."
fi
