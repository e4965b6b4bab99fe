# Start Mastodon
#
# Changes what runs: Mastodon is up again, and sends what waits in its queues. Takes a minute.
#
# The old server must be off.
#
# Without Compose a new Mastodon needs its styles and scripts first. Make them as its user, in its directory:
# `RAILS_ENV=production bin/rails assets:precompile`.
#
# If an earlier step has named unique indexes as missing, this one refuses to begin, and says what repairs them. Mastodon would make
# duplicates that nobody can tell apart later.
#
# A service that finds a mistake may stop only after a minute. So look once more then: `systemctl status 'mastodon-*'`, or
# `docker compose ps`.

# --- check
if [ -s "$plan/pg-unsound" ]; then
	cat "$plan/pg-unsound" >&2
	fail "These unique indexes are missing. This removes duplicates and makes the indexes. Type it in $live, as Mastodon's user:
  RAILS_ENV=production bin/tootctl maintenance fix-duplicates
With Compose: docker compose run --rm web bin/tootctl maintenance fix-duplicates
Once that has ended well, type: rm $plan/pg-unsound. Then run this step again."
fi
if [ "$services" = systemd ] && ! as "$mastodon_user" test -d "$live/public/packs"; then
	say "Mastodon has no styles and scripts yet: it will show errors. Type in $live, as $mastodon_user, then restart Mastodon:"
	say "  RAILS_ENV=production bin/rails assets:precompile"
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
# stop it again: `systemctl stop 'mastodon-*'`, or in the project's directory `docker compose stop`, which stops the database too.
