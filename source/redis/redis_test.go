package redis

import (
	"bytes"
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

	"permafrost/internal/hint"
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
	s, err := Connect(t.Context(), r)
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
	if d.Method() != method {
		t.Fatalf("dumped by %s (%s), want %s", d.Method(), d.Facts().Why, method)
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

func TestDumpByBGSAVE(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	r, _ := start(t, `pa"ss wörd`, with("--unixsocket", socket)...)
	fill(t, r)
	for _, c := range []source.Redis{
		conf(r),
		{Network: "unix", Addr: socket, Password: r.Password},
	} {
		s := connect(t, c)
		path, facts := dump(t, s, "bgsave")
		if facts.Why != "" {
			t.Error(facts.Why)
		}
		if got := s.Facts().Keys; !maps.Equal(got, keys) {
			t.Errorf("keys %v, want %v", got, keys)
		}
		loads(t, path, r)
	}
}

func TestDumpByReplication(t *testing.T) {
	for _, diskless := range []string{"yes", "no"} {
		t.Run("diskless="+diskless, func(t *testing.T) {
			r, admin := start(t, "s3cret", with("--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0")...)
			fill(t, r)
			// What Redis's manual grants a replica, and no more.
			acl(t, admin, "backup", "on", ">other", "+psync", "+replconf", "+ping")
			s := connect(t, source.Redis{Network: "tcp", Addr: r.Addr, User: "backup", Password: "other"})
			if f := s.Facts(); f.AppendOnly != nil || f.Version != "" || f.Queues != nil {
				t.Errorf("facts that Redis denied: %+v", f)
			}
			path, facts := dump(t, s, "replication")
			if !strings.Contains(facts.Why, "CONFIG") {
				t.Errorf("why not by BGSAVE: %q", facts.Why)
			}
			loads(t, path, r)
			// The way of replication that was not asked for goes through Redis's own file.
			if _, err := os.Stat(filepath.Join(r.Dir, "dump.rdb")); (err == nil) != (diskless == "no") {
				t.Errorf("Redis's own file: %v", err)
			}

			acl(t, admin, "backup", "-psync", "+sync")
			path, _ = dump(t, s, "replication")
			loads(t, path, r)

			acl(t, admin, "backup", "-sync")
			_, err := s.Dump(t.Context())
			if !replied(err, "NOPERM") || !strings.Contains(hint.Of(err), "+psync") {
				t.Errorf("denied everything: %v; hint: %s", err, hint.Of(err))
			}
		})
	}
}

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

// Each reason not to use the file leads to replication, and to a dump that is as good.
func TestFallback(t *testing.T) {
	r, admin := start(t, "", with("--repl-diskless-sync-delay", "0")...)
	fill(t, r)
	check := func(why string, hooks ...goredis.Hook) {
		t.Helper()
		s := connect(t, conf(r))
		for _, h := range hooks {
			s.client.AddHook(h)
		}
		path, facts := dump(t, s, "replication")
		if !strings.Contains(facts.Why, why) {
			t.Errorf("why not by BGSAVE: %q, want %q", facts.Why, why)
		}
		loads(t, path, r)
	}

	// A Redis in a container names a directory that is another one on this host: a second Redis's, here.
	other, _ := start(t, "")
	dump(t, connect(t, conf(other)), "bgsave")
	check("did not change", tellDir(other.Dir))
	check("/no/such/directory", elsewhere)
	check("no such file", tellDir(t.TempDir()))

	acl(t, admin, "default", "-config")
	check("CONFIG GET")
	acl(t, admin, "default", "+config", "-bgsave")
	check("NOPERM")
	acl(t, admin, "default", "+bgsave", "-info")
	check("NOPERM")
	acl(t, admin, "default", "+info")

	if err := os.Remove(filepath.Join(r.Dir, "dump.rdb")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.Dir, "dump.rdb", "not empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	check("not a regular file")
	check("BGSAVE failed", tellDir(t.TempDir()))
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

// A save that is under way is older than the one asked for.
func TestDumpDuringSave(t *testing.T) {
	r, admin := start(t, "", "--rdb-key-save-delay", "300")
	fill(t, r)
	if err := admin.BgSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Set(t.Context(), "late", "yes", 0).Err(); err != nil {
		t.Fatal(err)
	}
	path, _ := dump(t, connect(t, conf(r)), "bgsave")
	_, restored := startIn(t, filepath.Dir(filepath.Dir(path)), "")
	if got := restored.Get(t.Context(), "late").Val(); got != "yes" {
		t.Errorf("a key that was set before the dump is not in it: %q", got)
	}
}

func TestDumpDuringRewrite(t *testing.T) {
	r, admin := start(t, "", "--rdb-key-save-delay", "300", "--appendonly", "yes")
	fill(t, r)
	if err := admin.BgRewriteAOF(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	dump(t, connect(t, conf(r)), "bgsave")
}

func TestNewer(t *testing.T) {
	start := time.Date(2026, 6, 27, 2, 0, 0, 5e6, time.UTC)
	for _, c := range []struct {
		rdb time.Time
		ok  bool
	}{
		{start.Truncate(time.Second), true},
		{start.Truncate(time.Second).Add(-time.Second), true}, // the coarse clock
		{start.Truncate(time.Second).Add(-2 * time.Second), false},
		{start.Add(time.Hour), true},
		{time.Time{}, true}, // Redis before 3.2 does not tell
	} {
		if err := newer(c.rdb, start); (err == nil) != c.ok {
			t.Errorf("RDB of %v, BGSAVE at %v: %v", c.rdb, start, err)
		}
	}
}

// Later saves of Redis do not disturb a file that is being read.
func TestDumpDespiteLaterSave(t *testing.T) {
	r, admin := start(t, "", debug...)
	fill(t, r)
	d, err := connect(t, conf(r)).Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, d); err != nil || n < 10000 {
		t.Errorf("%d bytes, %v", n, err)
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
		user, password, hint string // no hint: it is right
	}{
		{"", "right", ""},
		{"app", "app-pass", ""},
		{"default", "right", ""},
		{"", "wr0ng-secret", "compare REDIS_PASSWORD"},
		{"app", "wr0ng-secret", "compare REDIS_PASSWORD"},
		{"", "", "asks for a password"},
	} {
		s, err := Connect(t.Context(), source.Redis{Network: "tcp", Addr: r.Addr, User: c.user, Password: c.password})
		if c.hint == "" {
			if err != nil {
				t.Errorf("%q: %v", c.user, err)
				continue
			}
			s.Close()
			continue
		}
		if err == nil || !strings.Contains(hint.Of(err), c.hint) {
			t.Errorf("user %q: %v; hint %q, want %q", c.user, err, hint.Of(err), c.hint)
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
	} else if err = s.explain(err); strings.Contains(err.Error(), "wr0ng-secret") {
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
		if _, err := Connect(t.Context(), c); err == nil || !strings.Contains(hint.Of(err), "is Redis running") {
			t.Errorf("%v: %v; hint %q", c, err, hint.Of(err))
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

func TestBigDump(t *testing.T) {
	const size = 110 << 20
	r, admin := start(t, "", with("--repl-diskless-sync-delay", "0")...)
	populate(t, admin, size)
	for _, method := range []string{"bgsave", "replication"} {
		s := connect(t, conf(r))
		if method == "replication" {
			s.client.AddHook(elsewhere)
		}
		d, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if n, err := io.Copy(io.Discard, d); err != nil || n < size*9/10 || d.Method() != method {
			t.Errorf("%s: %d bytes by %s, %v", method, n, d.Method(), err)
		}
	}
}

// A Redis that dies, or is told to drop its replicas, in the middle of a dump ends it with an error.
func TestRedisGone(t *testing.T) {
	for _, diskless := range []string{"yes", "no"} {
		r, admin := start(t, "", with("--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0")...)
		populate(t, admin, 50<<20)
		s := connect(t, conf(r))
		s.client.AddHook(elsewhere)
		d, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := io.CopyN(io.Discard, d, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := admin.ClientKillByFilter(t.Context(), "TYPE", "replica").Err(); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, d)
		if err == nil || n > 50<<20 {
			t.Errorf("diskless=%s: replica killed, dump whole after %d bytes", diskless, n)
		}
		if _, again := d.Read(make([]byte, 1)); again == nil || again == io.EOF {
			t.Errorf("after %v a read gives %v", err, again)
		}

		if d, err = s.Dump(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := io.CopyN(io.Discard, d, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(-r.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, d); err == nil || n > 50<<20 || !strings.Contains(err.Error(), "lost") {
			t.Errorf("diskless=%s: Redis killed, after %d bytes: %v", diskless, n, err)
		}
		if _, err := s.Dump(t.Context()); err == nil {
			t.Error("dumped a dead Redis")
		}
	}
}

// Canceling the context ends a dump at any time: while Redis saves, before the dump is there, or in it.
func TestCancel(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		hook tellDir
		args []string
	}{
		{"bgsave", "", nil},
		{"replication of a file", elsewhere, []string{"--repl-diskless-sync", "no"}},
		{"diskless replication", elsewhere, []string{"--repl-diskless-sync-delay", "0"}},
	} {
		// Saving takes 100 s.
		r, admin := start(t, "", append(c.args, "--rdb-key-save-delay", "100000")...)
		fill(t, r)
		s := connect(t, conf(r))
		if c.hook != "" {
			s.client.AddHook(c.hook)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			poll(t.Context(), func() (bool, error) {
				text, err := admin.Info(t.Context(), "persistence").Result()
				return strings.Contains(text, "rdb_bgsave_in_progress:1"), err
			})
			cancel(boom)
		}()
		d, err := s.Dump(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, d)
			d.Close()
		}
		if !errors.Is(err, boom) {
			t.Errorf("%s: %v", c.name, err)
		}
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

func TestRDBChecksumOff(t *testing.T) {
	r, _ := start(t, "", "--rdbchecksum", "no")
	fill(t, r)
	d, err := connect(t, conf(r)).Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, d); err != nil {
		t.Fatal(err)
	}
	if d.Facts().Checksum {
		t.Error("the facts claim a checksum")
	}
	if CheckRDB(bytes.NewReader(b.Bytes()[:b.Len()-1])) == nil {
		t.Error("cut by a byte, and not noticed")
	}
}
