# Fetch again what was left out
#
# Changes the media: pictures of other servers are fetched again. Takes hours, or days where many accounts are known.
#
# Copies of other servers' files were left out of the snapshot, and the database believes that they are there. This fetches the pictures
# of all accounts, and what was attached to posts of the last 30 days. People can use Mastodon meanwhile.
#
# The step can be left out: type `q` at its question, or do not paste it. Those pictures are missing then.

# --- run
tootctl accounts refresh --all
tootctl media refresh --force --days=30
