package compare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox"
)

// plant makes a small tree with fixed times.
func plant(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	at := time.Date(2026, 6, 26, 3, 0, 0, 123456789, time.UTC)
	for _, step := range []func() error{
		func() error { return os.MkdirAll(filepath.Join(root, "a/b"), 0o755) },
		func() error { return os.WriteFile(filepath.Join(root, "a/b/file"), []byte("content"), 0o644) },
		func() error { return os.Link(filepath.Join(root, "a/b/file"), filepath.Join(root, "a/name")) },
		func() error { return os.Symlink("b/file", filepath.Join(root, "a/link")) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"a/b/file", "a/link", "a/b", "a", "."} {
		times := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, path), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestTree(t *testing.T) {
	want, err := Tree(plant(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 6 {
		t.Errorf("%d entries, want 6: %v", len(want), want)
	}
	for _, test := range []struct {
		name   string
		change func(root string) error
		path   string // what the error must name; empty where there is none
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"content, same size", func(root string) error {
			fi, err := os.Stat(root + "/a/b/file")
			if err != nil {
				return err
			}
			if err := os.WriteFile(root+"/a/b/file", []byte("Content"), 0); err != nil {
				return err
			}
			return os.Chtimes(root+"/a/b/file", fi.ModTime(), fi.ModTime())
		}, "a/b/file"},
		{"mode", func(root string) error { return os.Chmod(root+"/a/b/file", 0o600) }, "a/b/file"},
		{"mode of the root", func(root string) error { return os.Chmod(root, 0o700) }, ".:"},
		{"nanosecond", func(root string) error {
			at := time.Date(2026, 6, 26, 3, 0, 0, 123456788, time.UTC)
			return os.Chtimes(root+"/a/b", at, at)
		}, "a/b:"},
		{"owner", func(root string) error { return os.Lchown(root+"/a/link", os.Getuid(), 12345) }, "a/link"},
		{"attribute", func(root string) error { return unix.Setxattr(root+"/a/b/file", "user.x", []byte("1"), 0) }, "user.x"},
		{"link to elsewhere", func(root string) error {
			if err := os.Remove(root + "/a/link"); err != nil {
				return err
			}
			return os.Symlink("b", root+"/a/link")
		}, "a/link"},
		{"two files for one", func(root string) error {
			if err := os.Remove(root + "/a/name"); err != nil {
				return err
			}
			return os.WriteFile(root+"/a/name", []byte("content"), 0o644)
		}, "a/name"},
		{"missing", func(root string) error { return os.Remove(root + "/a/link") }, "a/link: missing"},
		{"one more", func(root string) error { return os.Mkdir(root+"/new", 0o755) }, "new: unexpected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "owner" && os.Geteuid() != 0 {
				return // an ordinary user has no other owner to give
			}
			root := plant(t)
			if err := test.change(root); err != nil {
				t.Fatal(err)
			}
			got, err := Tree(root)
			if err != nil {
				t.Fatal(err)
			}
			err = want.Diff(got)
			if test.path == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.path) {
				t.Errorf("got %v, want it to name %s", err, test.path)
			}
		})
	}
}

func TestDatabase(t *testing.T) {
	ctx := t.Context()
	p, err := sandbox.StartPostgres(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	const schema = `CREATE TABLE "Odd name" (id bigserial PRIMARY KEY, text text, at timestamp);
		CREATE INDEX by_text ON "Odd name" (text); CREATE VIEW v AS SELECT text FROM "Odd name";`
	make := func(name, rows string) State {
		t.Helper()
		if err := p.Exec(ctx, "postgres", "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
		if err := p.Exec(ctx, name, schema+rows); err != nil {
			t.Fatal(err)
		}
		s, err := Database(ctx, p, name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const one, two = `INSERT INTO "Odd name" VALUES (1, 'a|b', '2026-06-26');`, `INSERT INTO "Odd name" VALUES (2, NULL, NULL);`
	want := make("a", one+two)
	for name, test := range map[string]struct{ sql, names string }{
		"order":    {two + one, ""},
		"value":    {one + `INSERT INTO "Odd name" VALUES (2, '', NULL);`, "table"},
		"lost":     {one, "table"},
		"index":    {one + two + "DROP INDEX by_text", "index by_text: missing"},
		"key":      {one + two + `ALTER TABLE "Odd name" DROP CONSTRAINT "Odd name_pkey"`, "constraint"},
		"sequence": {one + two + `SELECT setval('"Odd name_id_seq"', 5)`, "sequence"},
		"view":     {one + two + "DROP VIEW v", "view v: missing"},
		"column":   {one + two + `ALTER TABLE "Odd name" ADD extra text`, "extra: unexpected"},
	} {
		err := want.Diff(make("test_"+name, test.sql))
		if test.names == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), test.names) {
			t.Errorf("%s: got %v, want it to name %s", name, err, test.names)
		}
	}
}

func TestRedis(t *testing.T) {
	ctx := t.Context()
	start := func(password string) (*sandbox.Redis, *redis.Client) {
		t.Helper()
		r, err := sandbox.StartRedis(ctx, t.TempDir(), sandbox.RedisConfig{Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Stop() })
		c := redis.NewClient(&redis.Options{Addr: r.Addr, Password: password})
		t.Cleanup(func() { c.Close() })
		pipe := c.Pipeline()
		pipe.Set(ctx, "string", "1", 0)
		pipe.RPush(ctx, "list", "a", "b")
		pipe.SAdd(ctx, "set", "x", "y", "z")
		pipe.HSet(ctx, "hash", "f", "1", "g", "2")
		pipe.ZAdd(ctx, "zset", redis.Z{Score: 1.5, Member: "m"})
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: "stream", ID: "1-1", Values: []string{"k", "v"}})
		pipe.Do(ctx, "SELECT", 3)
		pipe.Set(ctx, "elsewhere", "1", 0)
		pipe.Do(ctx, "SELECT", 0)
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		return r, c
	}
	a, _ := start("")
	b, c := start("secret")
	want, err := Redis(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 7 {
		t.Errorf("%d keys, want 7: %v", len(want), want)
	}
	diff := func() error {
		got, err := Redis(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		return want.Diff(got)
	}
	if err := diff(); err != nil {
		t.Error(err)
	}
	for key, change := range map[string]func() error{
		"string": func() error { return c.ExpireAt(ctx, "string", time.Now().Add(time.Hour)).Err() },
		"list":   func() error { return c.LSet(ctx, "list", 0, "c").Err() },
		"set":    func() error { return c.SRem(ctx, "set", "x").Err() },
		"hash":   func() error { return c.HSet(ctx, "hash", "f", "2").Err() },
		"zset":   func() error { return c.ZIncrBy(ctx, "zset", 0.5, "m").Err() },
		"stream": func() error { return c.XDel(ctx, "stream", "1-1").Err() },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := diff(); err == nil || !strings.Contains(err.Error(), "db0 "+key) {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
