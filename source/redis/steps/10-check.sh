# Look at Redis, and at its dump
#
# An RDB replaces all that a server has. So this looks first whether the dump is whole, whether this server can read it, and
# whether the server has something else: another database, or keys that are no Mastodon's. The server saves its own data for that.
# Nothing is changed.
#
# A server that is older than the dump would lose its data and start empty. A dump that is damaged would keep it from starting.

# --- run
redis_of redis
if [ "$r_mode" = skip ]; then
	say "Redis is left as it is. Sidekiq's jobs of the snapshot are lost: deliveries, notifications, mail. Home feeds are built anew."
else
	[ -s "$r_dump" ] || fail "$r_dump is not there"
	redis_ask
	redis_check
fi
