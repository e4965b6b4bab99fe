package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"permafrost/internal/sandbox"
	"permafrost/source"
)

// start runs a Redis and returns it with an administrator's client of it.
func start(t *testing.T, password string, args ...string) (*sandbox.Redis, *goredis.Client) {
	t.Helper()
	return startIn(t, t.TempDir(), password, args...)
}

func startIn(t *testing.T, dir, password string, args ...string) (*sandbox.Redis, *goredis.Client) {
	t.Helper()
	r, err := sandbox.StartRedis(t.Context(), dir, sandbox.RedisConfig{Password: password, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop() })
	return r, client(t, r, 0)
}

func client(t *testing.T, r *sandbox.Redis, db int) *goredis.Client {
	c := goredis.NewClient(&goredis.Options{Addr: r.Addr, Password: r.Password, DB: db, MaxRetries: -1, ReadTimeout: time.Minute})
	t.Cleanup(func() { c.Close() })
	return c
}

// fill puts some of what Mastodon keeps into databases 0, 3 and 15, Sidekiq's queues into database 0.
func fill(t *testing.T, r *sandbox.Redis) {
	t.Helper()
	ctx := t.Context()
	for db, n := range map[int]int{0: 500, 3: 20, 15: 1} {
		p := client(t, r, db).Pipeline()
		for i := range n {
			p.ZAdd(ctx, fmt.Sprintf("feed:home:%d", i), goredis.Z{Score: float64(i), Member: i}, goredis.Z{Score: 1e17, Member: "x"})
			p.Set(ctx, fmt.Sprintf("unread:%d", i), strings.Repeat("not compressed? ", i%7), time.Hour)
		}
		if _, err := p.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
	p := client(t, r, 0).Pipeline()
	p.SAdd(ctx, "queues", "default", "push", "mailers")
	p.RPush(ctx, "queue:default", "a", "b", "c")
	p.RPush(ctx, "queue:push", "d")
	for name, n := range map[string]int{"schedule": 4, "retry": 5, "dead": 6} {
		for i := range n {
			p.ZAdd(ctx, name, goredis.Z{Score: float64(i), Member: i})
		}
	}
	if _, err := p.Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

// keys is what fill leaves in each database.
var keys = map[int]int64{0: 1006, 3: 40, 15: 2}

func conf(r *sandbox.Redis) source.Redis {
	return source.Redis{Network: "tcp", Addr: r.Addr, Password: r.Password}
}

func connect(t *testing.T, r source.Redis) *Server {
	t.Helper()
	s, err := Connect(t.Context(), r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// dump reads a whole dump into a file, and checks how it was had.
func dump(t *testing.T, s *Server, method string) (path string, facts DumpFacts) {
	t.Helper()
	before := time.Now()
	d, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Facts().Method != method {
		t.Fatalf("dumped by %s (%s), want %s", d.Facts().Method, d.Facts().Why, method)
	}
	path = filepath.Join(t.TempDir(), "redis", "dump.rdb")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := io.Copy(f, d)
	if err != nil {
		t.Fatalf("after %d bytes: %v", n, err)
	}
	facts = d.Facts()
	if facts.Size != n || facts.RDBVersion < 9 || !facts.Checksum {
		t.Errorf("facts of the dump of %d bytes: %+v", n, facts)
	}
	if facts.Time.Before(before.Add(-2*time.Second)) || facts.Time.After(time.Now()) {
		t.Errorf("the dump is of %v, it was asked for at %v", facts.Time, before)
	}
	return path, facts
}

// loads starts a Redis on an RDB and compares the data sets.
func loads(t *testing.T, rdb string, want *sandbox.Redis) {
	t.Helper()
	got, _ := startIn(t, filepath.Dir(filepath.Dir(rdb)), "", debug...)
	for db := range 16 {
		a, b := digest(t, client(t, want, db)), digest(t, client(t, got, db))
		if a != b {
			t.Errorf("database %d differs in the Redis that loaded the dump: %s, want %s", db, b, a)
		}
	}
}

// digest returns a hash that Redis makes of all keys and values of one database.
func digest(t *testing.T, c *goredis.Client) string {
	t.Helper()
	ctx := t.Context()
	names, err := c.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		return "empty"
	}
	args := []any{"DEBUG", "DIGEST-VALUE"}
	sum := make([]byte, 20)
	for _, n := range names {
		args = append(args, n)
	}
	values, err := c.Do(ctx, args...).StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	// The order of KEYS is any: add up what must not depend on it.
	for i, v := range values {
		h := fmt.Appendf(nil, "%s %s", names[i], v)
		for j, b := range h {
			sum[j%len(sum)] += b * byte(j+1)
		}
	}
	return fmt.Sprintf("%d keys, %x", len(names), sum)
}

var debug = []string{"--enable-debug-command", "yes"}

func with(args ...string) []string { return append(args, debug...) }

func acl(t *testing.T, admin *goredis.Client, user string, rules ...string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", user}
	for _, r := range rules {
		args = append(args, r)
	}
	if err := admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

// tellDir makes CONFIG GET dir answer with another directory.
type tellDir string

// elsewhere makes Redis look like one in a container.
const elsewhere = tellDir("/no/such/directory")

func (tellDir) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (tellDir) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

func (dir tellDir) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		if c, ok := cmd.(*goredis.MapStringStringCmd); ok && len(c.Val()) == 1 && c.Val()["dir"] != "" {
			c.SetVal(map[string]string{"dir": string(dir)})
		}
		return err
	}
}

func TestFacts(t *testing.T) {
	for _, aof := range []string{"no", "yes"} {
		r, admin := start(t, "", "--appendonly", aof)
		fill(t, r)
		c := conf(r)
		f := connect(t, c).Facts()
		if f.AppendOnly == nil || *f.AppendOnly != (aof == "yes") {
			t.Errorf("appendonly %s: facts say %v", aof, f.AppendOnly)
		}
		if f.Version == "" || f.Role != "master" || len(f.RunID) != 40 || f.UsedMemory < 100000 || f.LastSave.IsZero() {
			t.Errorf("facts %+v", f)
		}
		if f.Dir != r.Dir || f.File != "dump.rdb" {
			t.Errorf("file %s in %s, want dump.rdb in %s", f.File, f.Dir, r.Dir)
		}
		if !maps.Equal(f.Keys, keys) {
			t.Errorf("keys %v, want %v", f.Keys, keys)
		}
		q := f.Queues
		if q == nil || q.Schedule != 4 || q.Retry != 5 || q.Dead != 6 || !maps.Equal(q.Queues, map[string]int64{"default": 3, "push": 1, "mailers": 0}) {
			t.Errorf("queues %+v", q)
		}
		c.DB = 3
		if q := connect(t, c).Facts().Queues; q == nil || len(q.Queues) != 0 || q.Retry != 0 {
			t.Errorf("queues of a database without any: %+v", q)
		}
		// What Sidekiq would not have left there is no reason not to back up.
		admin.Del(t.Context(), "queue:push")
		admin.Set(t.Context(), "queue:push", "not a list", 0)
		if f := connect(t, conf(r)).Facts(); f.Queues != nil || !maps.Equal(f.Keys, keys) {
			t.Errorf("facts with a broken queue: %+v", f)
		}
	}
}

func TestPasswords(t *testing.T) {
	r, admin := start(t, "right")
	acl(t, admin, "app", "on", ">app-pass", "~*", "+@all")
	for _, c := range []struct {
		user, password string
		cause          source.Cause // none: the password is right
	}{
		{"", "right", ""},
		{"app", "app-pass", ""},
		{"default", "right", ""},
		{"", "wr0ng-secret", CauseWrongUser},
		{"app", "wr0ng-secret", CauseWrongUser},
		{"", "", CauseNoPassword},
	} {
		s, err := Connect(t.Context(), source.Redis{Network: "tcp", Addr: r.Addr, User: c.user, Password: c.password}, Options{})
		if c.cause == "" {
			if err != nil {
				t.Errorf("%q: %v", c.user, err)
				continue
			}
			s.Close()
			continue
		}
		if source.CauseOf(err).Cause != c.cause {
			t.Errorf("user %q: %v; %v, want %s", c.user, err, source.CauseOf(err), c.cause)
			continue
		}
		if strings.Contains(err.Error(), "wr0ng-secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("user %q: %v", c.user, err)
		}
	}

	// A Redis without AUTH quotes the command that it does not know.
	r, _ = start(t, "", "--rename-command", "AUTH", "")
	s := connect(t, conf(r))
	s.conf.Password = "wr0ng-secret"
	if _, err := s.replicate(t.Context()); err == nil || !strings.Contains(err.Error(), "wr0ng-secret") {
		t.Errorf("Redis quotes no more what it does not know: %v", err)
	} else if err = explain(s.conf, err); strings.Contains(err.Error(), "wr0ng-secret") {
		t.Errorf("without AUTH: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, c := range []source.Redis{
		{Network: "tcp", Addr: l.Addr().String()},
		{Network: "unix", Addr: filepath.Join(t.TempDir(), "none")},
		{Sentinels: []string{l.Addr().String()}, SentinelMaster: "mymaster"},
	} {
		if _, err := Connect(t.Context(), c, Options{}); source.CauseOf(err).Cause != CauseNoServer {
			t.Errorf("%v: %v; %v", c, err, source.CauseOf(err))
		}
	}
}

// populate makes a data set of size bytes, in the RDB too.
func populate(t *testing.T, admin *goredis.Client, size int) {
	t.Helper()
	const each = 100 << 10
	if err := admin.ConfigSet(t.Context(), "rdbcompression", "no").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(t.Context(), "DEBUG", "POPULATE", size/each, "big", each).Err(); err != nil {
		t.Fatal(err)
	}
}

// A Redis that is still loading its data set is waited for.
func TestLoading(t *testing.T) {
	r, admin := start(t, "", debug...)
	fill(t, r)
	s := connect(t, conf(r))
	loading := make(chan error, 1)
	if err := admin.ConfigSet(t.Context(), "key-load-delay", "1000").Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.ConfigSet(t.Context(), "loading-process-events-interval-bytes", "1024").Err(); err != nil {
		t.Fatal(err)
	}
	go func() { loading <- admin.Do(context.WithoutCancel(t.Context()), "DEBUG", "RELOAD").Err() }()
	probe := client(t, r, 0)
	err := poll(t.Context(), func() (bool, error) {
		return replied(probe.Ping(t.Context()).Err(), "LOADING"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	late := connect(t, conf(r))
	if err := <-loading; err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(late.Facts().Keys, keys) {
		t.Errorf("connected before Redis had loaded: %v", late.Facts().Keys)
	}
	dump(t, s, "bgsave")
}

// A Redis that does not answer does not keep a canceled caller waiting.
func TestCancelSilent(t *testing.T) {
	r, _ := start(t, "")
	s := connect(t, conf(r))
	if err := syscall.Kill(r.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(r.PID, syscall.SIGCONT)
	boom := errors.New("boom")
	for name, f := range map[string]func(context.Context) error{
		"Connect": func(ctx context.Context) error { _, err := Connect(ctx, conf(r), Options{}); return err },
		"Connect by sentinel": func(ctx context.Context) error {
			_, err := Connect(ctx, source.Redis{Sentinels: []string{r.Addr, r.Addr}, SentinelMaster: "mymaster"}, Options{})
			return err
		},
		"Dump": func(ctx context.Context) error { _, err := s.Dump(ctx); return err },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(boom) })
		began := time.Now()
		if err := f(ctx); !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(began); took > replyTimeout/2 {
			t.Errorf("%s took %v", name, took)
		}
	}
}
