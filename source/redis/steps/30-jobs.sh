# Keep Sidekiq's jobs, or remove them
#
# Changes nothing, unless redis_mode in host.sh is without-jobs: then jobs are removed. Takes seconds.
#
# The snapshot has the jobs that waited when it was made: posts to send, notifications, mail. They run when Mastodon is started, some of them
# for the second time. If you don't want that, set `redis_mode` to `without-jobs` in `host.sh` before you run this step. The locks of
# unique jobs are removed with them, as they would block new jobs.

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
# run the step before this one again: it gives the server all its data.
