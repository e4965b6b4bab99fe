package sandbox

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestRedis(t *testing.T) {
	for _, c := range []RedisConfig{
		{},
		{Password: `a "quoted" pass/word`},
		{Args: []string{"--appendonly", "yes"}},
	} {
		ctx := t.Context()
		r, err := StartRedis(ctx, t.TempDir(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Stop()
		o, err := redis.ParseURL(r.URL())
		if err != nil {
			t.Fatal(err)
		}
		db := redis.NewClient(o)
		defer db.Close()
		if got, err := db.Ping(ctx).Result(); err != nil || got != "PONG" {
			t.Errorf("%+v: PING: %q, %v", c, got, err)
		}
		if got := db.ConfigGet(ctx, "dir").Val()["dir"]; got != r.Dir {
			t.Errorf("%+v: dir is %q, want %q", c, got, r.Dir)
		}
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		if alive(r.PID) {
			t.Errorf("%+v: the server runs on after Stop", c)
		}
	}
}

func TestRedisFailure(t *testing.T) {
	_, err := StartRedis(t.Context(), t.TempDir(), RedisConfig{Args: []string{"--no-such-setting", "1"}})
	if err == nil {
		t.Fatal("started with a setting that does not exist")
	}
	t.Log(err)
}
