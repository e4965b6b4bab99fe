package redis

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"permafrost/internal/sandbox"
	"permafrost/source"
)

// saved returns what a server has, as it saves it.
func saved(t *testing.T, r *sandbox.Redis) []byte {
	t.Helper()
	if err := client(t, r, 0).Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(r.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// variety gives database 2 values of each type and each way to store them.
func variety(t *testing.T, r *sandbox.Redis) {
	t.Helper()
	ctx := t.Context()
	p := client(t, r, 2).Pipeline()
	for i, n := range []int{1, 20, 300, 5000} {
		for j := range n {
			text := fmt.Sprint("member ", j, strings.Repeat("a", j%100))
			p.RPush(ctx, fmt.Sprint("list:", i), text)
			p.SAdd(ctx, fmt.Sprint("set:", i), text)
			p.SAdd(ctx, fmt.Sprint("numbers:", i), j*j*j)
			p.ZAdd(ctx, fmt.Sprint("zset:", i), goredis.Z{Score: float64(j) / 3, Member: text})
			p.HSet(ctx, fmt.Sprint("hash:", i), text, j)
		}
		p.Set(ctx, strings.Repeat(fmt.Sprint("long", i), 1+50*i)+":x", strings.Repeat("text ", n), 0)
		p.Set(ctx, fmt.Sprint(1<<(10*i)), 1<<(10*i), time.Hour)
	}
	p.Set(ctx, strings.Repeat("p", 20_000), "x", 0)
	p.ZAdd(ctx, "zset:inf", goredis.Z{Score: math.Inf(1), Member: "x"})
	p.FunctionLoad(ctx, "#!lua name=mine\nredis.register_function('f', function() return 1 end)")
	if _, err := p.Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

// The keys of an RDB are counted as the server counts them, whatever their values are.
func TestReadRDB(t *testing.T) {
	r, admin := start(t, "", "--databases", "20")
	fill(t, r)
	variety(t, r)
	b := saved(t, r)
	c, err := ReadRDB(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	info := admin.Info(t.Context(), "keyspace").Val()
	if len(c.Databases) != 4 || c.Magic != "REDIS" || c.Version != 10 || !c.Checksum {
		t.Errorf("read %+v", c)
	}
	for _, line := range c.Lines()[2:] {
		if !strings.Contains(info, line+",") {
			t.Errorf("%s, and the server says\n%s", line, info)
		}
	}
	kinds := c.Databases[2].kinds
	for _, name := range []string{"list", "zset", strings.Repeat("long3", 40), strings.Repeat("long2", 40), "long0", strings.Repeat("p", maxKind)} {
		if kinds[name] == nil {
			t.Errorf("no kind %.40s… of %d bytes", name, len(name))
		}
	}
	for n := 0; n < len(b); n += 1 + len(b)/50 {
		if _, err := ReadRDB(bytes.NewReader(b[:n])); err == nil {
			t.Errorf("cut to %d bytes, and not noticed", n)
		}
	}

	// Mastodon has no streams. They are whole, and not counted.
	admin.XAdd(t.Context(), &goredis.XAddArgs{Stream: "s", Values: []string{"a", "b"}})
	if c, err = ReadRDB(bytes.NewReader(saved(t, r))); err != nil || c.Databases != nil || !strings.Contains(c.Uncounted, "type 19") {
		t.Errorf("with a stream: %+v, %v", c, err)
	}
	if lines := c.Lines(); !strings.HasPrefix(lines[2], "uncounted it has values") {
		t.Errorf("with a stream: %q", lines)
	}
}

func TestExpandLZF(t *testing.T) {
	for packed, want := range map[string]string{"": "", "\x02abc": "abc", "\x1fabc": "abc", "\x02abc\x20\x02": "abcabc", "\x00a\xe0\x05\x00": "aaaaaaaaaaaaaaa",
		"\x20\x00": "", "\x00a\x20": "a", "\x00a\xe0": "a", "\x00a\x3f\xff": "a"} {
		if got := expand(packed, 100); got != want {
			t.Errorf("%q: %q, want %q", packed, got, want)
		}
	}
	if got := expand("\x02abc\xe0\xff\x00", 10); got != "abcccccccc" {
		t.Errorf("limited to ten: %q", got)
	}
}

func database(expires int64, kinds ...string) *Database {
	d := &Database{Keys: int64(len(kinds)), Expires: expires, kinds: make(map[string]*kind)}
	for i, name := range kinds {
		d.kinds[name] = &kind{stays: 1}
		if int64(i) < expires {
			d.kinds[name].stays = 0
		}
	}
	return d
}

func TestReplaces(t *testing.T) {
	dump := &Contents{Databases: map[int]*Database{0: database(0, "feed", "queue")}}
	for name, c := range map[string]struct {
		own  *Contents
		want string
	}{
		"empty":             {&Contents{Databases: map[int]*Database{}}, ""},
		"the same":          {dump, ""},
		"jobs":              {&Contents{Databases: map[int]*Database{0: database(0, "feed", "dead", "processes")}}, ""},
		"passing":           {&Contents{Databases: map[int]*Database{0: database(1, "session", "feed")}}, ""},
		"foreign":           {&Contents{Databases: map[int]*Database{0: database(0, "feed", "session\x1b[2J")}}, `begin with "session\x1b[2J"`},
		"many":              {&Contents{Databases: map[int]*Database{0: database(0, "a", "b", "c", "d", "e", "f")}}, "a, b, c, d, e, …"},
		"another database":  {&Contents{Databases: map[int]*Database{1: database(1, "feed")}}, "1 keys in database 1, and the dump has none"},
		"not to be counted": {&Contents{Uncounted: "it has values of the type 19"}, "it has values of the type 19"},
	} {
		err := dump.Replaces(c.own)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || source.CauseOf(err).Cause != CauseReplaced) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	unknown := &Contents{Uncounted: "it has values of the type 19"}
	if err := unknown.Replaces(dump); err == nil || !strings.Contains(err.Error(), "can't be told") {
		t.Errorf("a dump that can't be counted: %v", err)
	}
	if err := unknown.Replaces(&Contents{Databases: map[int]*Database{}}); err != nil {
		t.Errorf("a dump that can't be counted, and an empty server: %v", err)
	}
}

func TestReadableBy(t *testing.T) {
	for _, c := range []struct {
		dump, own string
		want      bool
	}{{"REDIS0010", "REDIS0010", true}, {"REDIS0009", "REDIS0012", true}, {"REDIS0011", "REDIS0010", false}, {"VALKEY080", "REDIS0099", false},
		{"REDIS0011", "VALKEY080", true}, {"REDIS0012", "VALKEY080", false}, {"VALKEY080", "VALKEY081", true}, {"VALKEY081", "VALKEY080", false}} {
		read := func(magic string) *Contents {
			c, err := ReadRDB(bytes.NewReader(append([]byte(magic), "\xff\x00\x00\x00\x00\x00\x00\x00\x00"...)))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if err := read(c.dump).ReadableBy(read(c.own)); (err == nil) != c.want {
			t.Errorf("%s on %s: %v", c.dump, c.own, err)
		}
	}
}
