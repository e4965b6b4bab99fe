# Look whether Mastodon is there
#
# The database must not be newer than the code: Mastodon would not run on it.

# --- run
[ -d "$live" ] || fail "There is no $live. Install Mastodon $mastodon_version there first, or name its directory in host.sh (live)."
if [ "$services" = compose ]; then
	"$engine" version >/dev/null || fail "$engine does not answer."
elif [ -n "$migration" ]; then
	as "$mastodon_user" test -d "$live/db/migrate" ||
		fail "$live is not Mastodon: it has no db/migrate. Install Mastodon $mastodon_version there first, or name its directory in host.sh (live)."
	[ -n "$(as "$mastodon_user" find "$live/db" -maxdepth 2 -name "${migration}_*" -print -quit)" ] ||
		fail "The Mastodon in $live is older than the snapshot: it has no migration $migration. Install a newer one, or Mastodon $mastodon_version itself."
fi
