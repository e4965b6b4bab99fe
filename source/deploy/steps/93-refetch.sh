# Fetch again what was left out
#
# Changes the media: pictures of other servers are fetched again. Takes hours.
#
# Copies of other servers' files were left out of the snapshot, and the database believes that they are there. This fetches those
# of the last 30 days. Mastodon runs meanwhile, and the step can be left out: those pictures are missing then.

# --- run
tootctl accounts refresh --all
tootctl media refresh --force --days=30
