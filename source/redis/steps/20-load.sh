# Give Redis its data
#
# Changes all that Redis has; its present data are kept beside. Takes a minute, with Redis down.
#
# Redis is stopped. Its own files are moved into a directory `before-restore.XXXXXX` beside them, and the dump is put in their place. Then
# Redis is started. Its configuration stays as it is.
#
# A Redis on another host gets the dump over the network instead, from permafrost on this server.

# --- check
redis_of redis
[ "$r_mode" = skip ] || [ -e "$r_counts" ] || fail "The step before this one has not looked at the dump yet. Run that first."
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
# the step has told where the earlier data are. Stop Mastodon first. If they are in a directory `before-restore.XXXXXX`, type this with
# its name, as root, in the directory of the restored files:
#
#     ( set -euo pipefail; . plan/host.sh; cd /; redis_of redis; redis_recall; redis_put_back before-restore.XXXXXX )
#
# If they are in a file `redis-before.XXXXXX`, set `redis_file` to its name and `redis_replace` to `yes` in `host.sh`. Then paste the step before
# this one and this one again.
