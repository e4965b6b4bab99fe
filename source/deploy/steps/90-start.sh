# Start Mastodon
#
# Changes what runs: Mastodon is up again, and sends what waits in its queues. Takes a minute.
#
# The old server must be off. If an earlier step has named unique indexes as missing, this one refuses to begin: Mastodon would make
# duplicates that nobody can tell apart later.

# --- check
if [ -s "$plan/pg-unsound" ]; then
	cat "$plan/pg-unsound" >&2
	fail "These unique indexes are missing. Repair that first, as the step that made the indexes said. Then remove $plan/pg-unsound."
fi
# --- run
mastodon_start
# --- verify
if [ "$services" = systemd ] || [ "$services" = compose ]; then
	sleep 2
	down=$(mastodon_down)
	[ -z "$down" ] || fail "These do not run: $down. Their log says why: journalctl --unit='mastodon-*', or docker compose logs"
fi
# --- undo
# stop it again: `systemctl stop 'mastodon-*'`, or `docker compose stop`.
