# Build the search index
#
# Changes Elasticsearch's index, where Elasticsearch is used. Takes minutes, or hours where there are many posts.
#
# The index is no part of a backup. It is made from the database. Without Elasticsearch (`ES_ENABLED=true`) this step does nothing.

# --- run
if { cat -- "$here/env.production" 2>/dev/null || as "$mastodon_user" cat -- "$live/.env.production"; } |
	grep -E '^(export )?ES_ENABLED=["'\'']?true' >/dev/null; then
	tootctl search deploy
else
	say "Elasticsearch is not used."
fi
