# Give Redis its data
#
# Where the server's files are on this host, or in a container's volume, it is stopped, its own files are put aside, the dump is put
# where the server reads at its start, and it is started. With `appendonly yes` that is the append-only file: a server that is given
# an RDB alone starts empty. No configuration changes.
#
# A server on another host is made a replica of this dump for a moment, and then saves.

# --- check
redis_of redis
[ "$r_mode" = skip ] || [ -e "$r_counts" ] || fail "The step before this one has not looked at the dump yet."
# --- run
if [ "$r_mode" != skip ]; then
	redis_recall
	if [ "$r_way" = replication ]; then
		redis_replicate
	else
		[ -z "$r_up" ] || redis_save
		redis_stage
		redis_stop
		redis_swap
		redis_start
		redis_save
		redis_tell_aside
	fi
fi
# --- verify
if [ "$r_mode" != skip ]; then
	redis_compare
fi
# --- undo
# The step tells where the server's earlier data are. Where that is a directory `before-restore.XXXXXX` beside the server's files, this
# puts them back. Type it in the directory of the restored files, with that name:
#
#     ( set -euo pipefail; . plan/host.sh; redis_of redis; redis_recall; redis_put_back before-restore.XXXXXX )
#
# Where it is a file `redis-before.XXXXXX`, that is an RDB, which the server gets as it got the dump: write its name to `redis_file`
# and `yes` to `redis_replace` in host.sh, and run this step and the one before it once more.
