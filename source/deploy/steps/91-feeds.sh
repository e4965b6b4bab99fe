# Build the home feeds
#
# Changes the home feeds in Redis. Takes minutes, and an hour where there are many users.
#
# The home timelines of users are kept in Redis alone, and are made from the database again. People can use Mastodon meanwhile.

# --- run
tootctl feeds build
