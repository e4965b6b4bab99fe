# Build the home feeds
#
# Feeds live in Redis alone. This builds them anew, and goes on for minutes. Mastodon runs meanwhile.

# --- run
tootctl feeds build
