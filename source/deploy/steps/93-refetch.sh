# Fetch again what was left out
#
# Copies of other servers' files were left out of the snapshot, and the database believes that they are there. This fetches those
# of the last 30 days, which takes hours.

# --- run
tootctl accounts refresh --all
tootctl media refresh --force --days=30
