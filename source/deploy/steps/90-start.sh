# Start Mastodon
#
# Services that find a unique index missing would make duplicates that nobody can tell apart later. So this step does not begin then.

# --- check
if [ -s "$plan/pg-unsound" ]; then
	cat "$plan/pg-unsound" >&2
	fail "These unique indexes are missing. Mend them first, as the steps of PostgreSQL say. Then remove $plan/pg-unsound."
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
# Stop it again: `systemctl stop 'mastodon-*'`, or `docker compose stop`.
