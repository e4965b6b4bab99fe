# Keep Sidekiq's jobs, or remove them
#
# Sidekiq's jobs of the snapshot run again: deliveries, notifications, mail. With `without-jobs` they are removed, and with them the
# locks of unique jobs, which would block new ones.

# --- run
redis_of redis
case $r_mode in
without-jobs) redis_drop_jobs ;;
all) say "Sidekiq's jobs are kept." ;;
esac
# --- verify
if [ "$r_mode" = without-jobs ]; then
	[ -z "$(redis_jobs)" ] || fail "there still are jobs: $(redis_jobs | head -n 3). Does Sidekiq run already?"
fi
# --- undo
# The step before this one gives the server all its data again.
