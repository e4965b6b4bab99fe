# Stop Mastodon
#
# Changes what runs: Mastodon is down from here on. Takes a minute.
#
# Nothing may write to the database, to Redis or to the media while they are replaced. PostgreSQL and Redis themselves must run.
#
# With Compose this step starts them, and fails where there are no containers yet. It says then what makes them.

# --- run
mastodon_stop
if [ "$services" = compose ]; then
	for s in "${data_services[@]}"; do
		id=$(container "$s")
		"$engine" start "$id" >/dev/null
	done
fi
# --- verify
running=$(mastodon_runs)
[ -z "$running" ] || fail "These still run: $running"
# --- undo
# start it again: `systemctl start mastodon-web mastodon-sidekiq mastodon-streaming`, or in the project's directory `docker compose start`.
