# Look whether Mastodon is there
#
# Changes nothing. Takes seconds.
#
# Mastodon must not be older than the database: it would not run on it. With Compose this step can't see the version: look at the image's
# in the Compose file.
#
# A newer Mastodon has to change the database first. Do that just before the step that starts Mastodon, in its directory: as its user
# `RAILS_ENV=production bin/rails db:migrate`, or with Compose `docker compose run --rm web bin/rails db:migrate`.

# --- run
if [ ! -d "$live" ]; then
	[ "$services" != compose ] || fail "There is no $live. Make it, and put the Compose file of Mastodon there. If it is elsewhere, correct live in host.sh."
	fail "There is no $live. Install Mastodon $mastodon_version there first. If it is elsewhere, correct live in host.sh."
fi
if [ "$services" = compose ]; then
	"$engine" version >/dev/null || fail "$engine does not answer. Install it, or start it: systemctl start $engine"
elif [ -n "$migration" ]; then
	as "$mastodon_user" test -d "$live/db/migrate" ||
		fail "$live is not Mastodon: it has no db/migrate. Install Mastodon $mastodon_version there first. If it is elsewhere, correct live in host.sh."
	[ -n "$(as "$mastodon_user" find "$live/db" -maxdepth 2 -name "${migration}_*" -print -quit)" ] ||
		fail "The Mastodon in $live is older than the snapshot: it has no migration $migration. Install a newer one, or Mastodon $mastodon_version itself."
fi
if [ "$services" = systemd ]; then
	for s in "${mastodon_services[@]}"; do
		systemctl cat -- "$s" >/dev/null 2>&1 ||
			fail "systemd has no unit $s. Install Mastodon's units (from its directory dist), or correct mastodon_services in host.sh."
	done
fi
