# Build the search index
#
# The index is no part of a backup. Without Elasticsearch (`ES_ENABLED=true`) this step does nothing.

# --- run
if grep -Eq '^(export )?ES_ENABLED=["'\'']?true' -- "$here/env.production"; then
	tootctl search deploy
else
	say "Elasticsearch is not used."
fi
