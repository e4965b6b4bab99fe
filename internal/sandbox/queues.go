package sandbox

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// feedLength is how many statuses Mastodon keeps in a home timeline.
const feedLength = 400

// client connects to one of the server's databases.
func (r *Redis) client(db int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: r.Addr, Password: r.Password, DB: db})
}

// fillTimelines writes what the web process keeps: home timelines, counters,
// subscriptions; and a few keys of something else in database 1.
func fillTimelines(ctx context.Context, r *Redis, w *world) error {
	db, other := r.client(0), r.client(1)
	defer db.Close()
	defer other.Close()
	for k := range w.locals {
		random := w.rand(kindFeed, k)
		pipe := db.Pipeline()
		feed := "feed:home:" + strconv.FormatInt(w.accountID(k), 10)
		var entries, reblogs []redis.Z
		for range min(feedLength, w.statuses/2) {
			s := w.statuses - 1 - random.below(min(w.statuses, 20*feedLength))
			entries = append(entries, feedEntry(w.statusID(s), w.statusID(s)))
			if of, ok := w.reblogs(s); ok {
				reblogs = append(reblogs, feedEntry(w.statusID(of), w.statusID(s)))
			}
		}
		pipe.ZAdd(ctx, feed, entries...)
		if len(reblogs) > 0 {
			pipe.ZAdd(ctx, feed+":reblogs", reblogs...)
		}
		pipe.Set(ctx, "subscribed:timeline:"+strconv.FormatInt(w.accountID(k), 10), "1", 0)
		pipe.PExpireAt(ctx, "subscribed:timeline:"+strconv.FormatInt(w.accountID(k), 10), dawn.AddDate(20, 0, 0))
		pipe.HSet(ctx, "trending_tags", w.tag(k%w.tags), random.below(1000))
		if _, err := pipe.Exec(ctx); err != nil {
			return fmt.Errorf("filling timelines: %w", err)
		}
	}
	pipe := db.Pipeline()
	for week := range 12 {
		suffix := strconv.FormatInt(dawn.AddDate(0, 0, -7*week).Unix(), 10)
		pipe.Set(ctx, "activity:statuses:local:"+suffix, 1000+week, 0)
		pipe.PFAdd(ctx, "activity:logins:"+suffix, week, week+1, week+2)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("filling timelines: %w", err)
	}
	for i := range 20 {
		if err := other.Set(ctx, "rails:setting:"+strconv.Itoa(i), w.rand(kindFeed, -i-1).hex(32), 0).Err(); err != nil {
			return fmt.Errorf("filling timelines: %w", err)
		}
	}
	return nil
}

// feedEntry is a status in a timeline. Redis's scores are floating point, as in
// a live instance: the low bits of an ID are lost in them.
func feedEntry(member, score int64) redis.Z {
	return redis.Z{Member: strconv.FormatInt(member, 10), Score: float64(score)}
}

// fillQueues writes Sidekiq's part.
func fillQueues(ctx context.Context, r *Redis, w *world) error {
	db := r.client(0)
	defer db.Close()
	pipe := db.Pipeline()
	n := 0
	for _, queue := range []string{"default", "push", "ingress", "mailers", "pull"} {
		pipe.SAdd(ctx, "queues", queue)
		for range max(10, w.statuses/500) {
			pipe.LPush(ctx, "queue:"+queue, w.job(n, queue, ""))
			n++
		}
	}
	pipe.LPush(ctx, "queue:default", w.job(n, "default", Markers.Job))
	for i, set := range []string{"schedule", "retry", "dead"} {
		for range 20 * (i + 1) {
			n++
			pipe.ZAdd(ctx, set, redis.Z{Score: float64(dawn.Unix()) + float64(n)/8, Member: w.job(n, "default", "")})
		}
	}
	pipe.Set(ctx, "stat:processed", 10_000_000+w.statuses, 0)
	pipe.Set(ctx, "stat:failed", w.statuses/10, 0)
	pipe.Set(ctx, "stat:processed:"+dawn.Format(time.DateOnly), w.statuses, 0)
	pipe.PExpireAt(ctx, "stat:processed:"+dawn.Format(time.DateOnly), dawn.AddDate(20, 0, 0))
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("filling queues: %w", err)
	}
	return nil
}

// job is the n-th job of Sidekiq, with an argument of the caller's if any.
func (w *world) job(n int, queue, argument string) string {
	r := w.rand(kindJob, n)
	if argument == "" {
		argument = string(r.prose(nil, r.between(100, 600)))
	}
	at := float64(dawn.UnixMilli())/1000 - float64(n)/16
	return fmt.Sprintf(`{"retry":16,"queue":%q,"class":"ActivityPub::DeliveryWorker","args":[%q,%d,"https://social-%d.example/inbox"],`+
		`"jid":%q,"created_at":%.3f,"enqueued_at":%.3f}`,
		queue, argument, w.accountID(r.below(w.locals)), r.below(200), r.hex(12), at, at)
}

// churnRedis is a day of timelines and queues, after the statuses from
// (included) to (excluded) came.
func churnRedis(ctx context.Context, base, sidekiq *Redis, w *world, day *rng, from, to int) error {
	db, queues := base.client(0), sidekiq.client(0)
	defer db.Close()
	defer queues.Close()
	pipe := db.Pipeline()
	for k := range w.locals {
		feed := "feed:home:" + strconv.FormatInt(w.accountID(k), 10)
		for range min(40, to-from) {
			id := w.statusID(from + day.below(to-from))
			pipe.ZAdd(ctx, feed, feedEntry(id, id))
		}
		pipe.ZRemRangeByRank(ctx, feed, 0, -feedLength-1)
	}
	pipe.IncrBy(ctx, "activity:statuses:local:"+strconv.FormatInt(dawn.Unix(), 10), int64(to-from))
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("a day of timelines: %w", err)
	}
	pipe = queues.Pipeline()
	for n := range max(10, (to-from)/10) {
		pipe.RPop(ctx, "queue:push")
		pipe.LPush(ctx, "queue:push", w.job(to+n, "push", ""))
	}
	pipe.IncrBy(ctx, "stat:processed", int64(to-from))
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("a day of queues: %w", err)
	}
	return nil
}
