# Look at Redis, and at its dump
#
# Changes nothing. Takes seconds.
#
# Redis has the jobs that wait (Sidekiq's queues) and the home feeds. Its dump replaces all that a server has. So this step looks whether
# the dump is whole, and whether this server can read it. It fails too where the server has data of something else than Mastodon.
#
# To go on without Redis' data, set `redis_mode` to `skip` in `host.sh`. Then the jobs that waited are lost: posts to send, notifications,
# mail. The home feeds are built again below.

# --- run
redis_of redis
if [ "$r_mode" = skip ]; then
	say "Redis is left as it is. Sidekiq's jobs of the snapshot are lost: deliveries, notifications, mail. Home feeds are built anew."
else
	[ -s "$r_dump" ] || fail "$r_dump is not there"
	redis_ask
	redis_check
fi
