package compare

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"permafrost/internal/sandbox"
)

// Redis describes every key of every database of a server: type, time of
// expiry, and a digest of its value, whichever way the server encodes it.
func Redis(ctx context.Context, r *sandbox.Redis) (State, error) {
	state := make(State)
	for db := range 16 {
		c := redis.NewClient(&redis.Options{Addr: r.Addr, Password: r.Password, DB: db})
		err := database(ctx, c, "db"+strconv.Itoa(db)+" ", state)
		c.Close()
		if err != nil {
			return nil, fmt.Errorf("describing database %d of Redis: %w", db, err)
		}
	}
	return state, nil
}

func database(ctx context.Context, c *redis.Client, prefix string, state State) error {
	var cursor uint64
	for {
		keys, next, err := c.Scan(ctx, cursor, "", 500).Result()
		if err != nil {
			return err
		}
		if err := describeKeys(ctx, c, keys, prefix, state); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func describeKeys(ctx context.Context, c *redis.Client, keys []string, prefix string, state State) error {
	if len(keys) == 0 {
		return nil
	}
	pipe := c.Pipeline()
	types := make([]*redis.StatusCmd, len(keys))
	expiries := make([]*redis.DurationCmd, len(keys))
	for i, key := range keys {
		types[i], expiries[i] = pipe.Type(ctx, key), pipe.PExpireTime(ctx, key)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	values := make([]func() ([]string, error), len(keys))
	pipe = c.Pipeline()
	for i, key := range keys {
		var err error
		if values[i], err = value(ctx, pipe, key, types[i].Val()); err != nil {
			return err
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, key := range keys {
		parts, err := values[i]()
		if err != nil {
			return err
		}
		digest := sha256.New()
		for _, part := range parts {
			fmt.Fprintf(digest, "%d:%s", len(part), part)
		}
		state[prefix+key] = fmt.Sprintf("%s of %d, expires %d, %x", types[i].Val(), len(parts), expiries[i].Val(), digest.Sum(nil))
	}
	return nil
}

// value asks for a key's value; the function that it returns gives the parts
// in an order of their own, where the type has none.
func value(ctx context.Context, pipe redis.Pipeliner, key, kind string) (func() ([]string, error), error) {
	switch kind {
	case "string":
		v := pipe.Get(ctx, key)
		return func() ([]string, error) { return []string{v.Val()}, v.Err() }, nil
	case "list":
		v := pipe.LRange(ctx, key, 0, -1)
		return v.Result, nil
	case "set":
		v := pipe.SMembers(ctx, key)
		return sorted(v.Result), nil
	case "hash":
		v := pipe.HGetAll(ctx, key)
		return sorted(func() ([]string, error) {
			var parts []string
			for field, value := range v.Val() {
				parts = append(parts, strconv.Quote(field)+"="+value)
			}
			return parts, v.Err()
		}), nil
	case "zset":
		v := pipe.ZRangeWithScores(ctx, key, 0, -1)
		return func() ([]string, error) {
			var parts []string
			for _, z := range v.Val() {
				parts = append(parts, fmt.Sprintf("%v=%s", z.Member, strconv.FormatFloat(z.Score, 'g', -1, 64)))
			}
			return parts, v.Err()
		}, nil
	case "stream":
		v := pipe.XRange(ctx, key, "-", "+")
		return func() ([]string, error) {
			var parts []string
			for _, m := range v.Val() {
				parts = append(parts, m.ID+" "+strings.TrimPrefix(fmt.Sprint(m.Values), "map"))
			}
			return parts, v.Err()
		}, nil
	}
	return nil, fmt.Errorf("key %q is of the unknown type %q", key, kind)
}

func sorted(parts func() ([]string, error)) func() ([]string, error) {
	return func() ([]string, error) {
		all, err := parts()
		slices.Sort(all)
		return all, err
	}
}
