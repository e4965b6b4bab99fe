package redis

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Facts are what a restored Redis can be compared with. What Redis does not let its user know is left out.
type Facts struct {
	Name       string    `json:"name,omitempty"`    // redis, valkey or another that answers as Redis does
	Network    string    `json:"network,omitempty"` // tcp or unix
	Addr       string    `json:"addr,omitempty"`    // where it was reached: host and port, or a socket
	TLS        bool      `json:"tls,omitempty"`
	Password   bool      `json:"password,omitempty"`    // it takes one
	Version    string    `json:"version,omitempty"`     // of Redis; of another server, that of the Redis that it stands in for
	Own        string    `json:"own_version,omitempty"` // of a server that is another one
	Role       string    `json:"role,omitempty"`        // master or slave
	RunID      string    `json:"run_id,omitempty"`
	UsedMemory int64     `json:"used_memory,omitempty"` // bytes
	LastSave   time.Time `json:"last_save,omitzero"`

	// AppendOnly says whether Redis keeps an append-only file, nil if it is not known. A Redis that does
	// loads no RDB: it would start empty.
	AppendOnly *bool `json:"append_only,omitempty"`

	Dir  string `json:"dir,omitempty"`        // where Redis keeps its RDB
	File string `json:"dbfilename,omitempty"` // and under which name

	Keys   map[int]int64 `json:"keys"` // by database, of those that have any
	DB     int           `json:"db"`   // Mastodon's database
	Queues *Queues       `json:"queues,omitempty"`
}

// Queues are the numbers of Sidekiq's jobs in Mastodon's database.
type Queues struct {
	Queues   map[string]int64 `json:"queues"` // waiting, by the queue's name
	Schedule int64            `json:"schedule"`
	Retry    int64            `json:"retry"`
	Dead     int64            `json:"dead"`
}

const (
	maxQueues    = 1000    // that are counted; Mastodon has six
	maxPages     = 1000    // of their names
	maxDatabases = 1000    // that have keys; Redis has 16 unless it is told otherwise
	maxText      = 4 << 10 // bytes of a text: a path
)

// gather asks Redis for the facts. That Redis denies some of them is no error.
func (s *Server) gather(ctx context.Context) (Facts, error) {
	f := Facts{DB: s.conf.DB, Network: cmp.Or(s.conf.Network, "tcp"), Addr: s.conf.Addr, TLS: s.conf.TLS, Password: s.conf.Password != ""}
	for _, ask := range []func(context.Context, *Facts) error{s.askInfo, s.askConfig, s.askQueues} {
		if err := ask(ctx, &f); err != nil && !replied(err) {
			return Facts{}, err
		}
	}
	return f, nil
}

func (s *Server) askInfo(ctx context.Context, f *Facts) error {
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	f.Name, f.Own = serverName(info)
	f.Version, f.Role, f.RunID = fact(info["redis_version"]), fact(info["role"]), fact(info["run_id"])
	s.process = number(info["process_id"])
	f.UsedMemory = number(info["used_memory"])
	if t := number(info["rdb_last_save_time"]); t > 0 {
		f.LastSave = time.Unix(t, 0).UTC()
	}
	if aof, ok := info["aof_enabled"]; ok {
		on := aof == "1"
		f.AppendOnly = &on
	}
	f.Keys = make(map[int]int64)
	for name, value := range info {
		// db0:keys=12,expires=3,avg_ttl=0
		digits, ok := strings.CutPrefix(name, "db")
		db, err := strconv.Atoi(digits)
		if !ok || err != nil {
			continue
		}
		for field := range strings.SplitSeq(value, ",") {
			if keys, ok := strings.CutPrefix(field, "keys="); ok && len(f.Keys) < maxDatabases {
				f.Keys[db] = number(keys)
			}
		}
	}
	return nil
}

// others are servers that took Redis over, as they name themselves in INFO, and as people write them. They give themselves a
// version of Redis' too.
var others = map[string]string{"valkey": "Valkey", "keydb": "KeyDB", "dragonfly": "Dragonfly"}

// serverName returns the name of the server that answers, and its own version where it is not Redis.
func serverName(info map[string]string) (name, own string) {
	name = fact(info["server_name"])
	for other := range others {
		if name == "" && info[other+"_version"] != "" {
			name = other
		}
	}
	if name == "" || name == "redis" {
		return "redis", ""
	}
	return name, fact(info[name+"_version"])
}

// Server names the server with its version, as far as they are known: "Redis 7.0.15", "Valkey 8.1.1".
func (f *Facts) Server() string {
	name, version := f.Name, f.Own
	switch {
	case others[name] != "":
		name = others[name]
	case name == "", name == "redis":
		name, version = "Redis", f.Version
	}
	if version == "" {
		return name
	}
	return name + " " + version
}

func (s *Server) askConfig(ctx context.Context, f *Facts) error {
	for name, to := range map[string]*string{"dir": &f.Dir, "dbfilename": &f.File} {
		values, err := s.client.ConfigGet(ctx, name).Result()
		if err != nil {
			return err
		}
		*to = fact(values[name])
	}
	return nil
}

func (s *Server) askQueues(ctx context.Context, f *Facts) error {
	names, err := s.queueNames(ctx)
	if err != nil {
		return err
	}
	q := Queues{Queues: make(map[string]int64, len(names))}
	for _, name := range names {
		n, err := s.client.LLen(ctx, "queue:"+name).Result()
		if err != nil {
			return err
		}
		q.Queues[name] = n
	}
	for name, to := range map[string]*int64{"schedule": &q.Schedule, "retry": &q.Retry, "dead": &q.Dead} {
		if *to, err = s.client.ZCard(ctx, name).Result(); err != nil {
			return err
		}
	}
	f.Queues = &q
	return nil
}

// queueNames returns the members of Sidekiq's set of queues.
func (s *Server) queueNames(ctx context.Context) ([]string, error) {
	names := make(map[string]bool) // SSCAN may give one twice
	cursor := uint64(0)
	for range maxPages {
		page, next, err := s.client.SScan(ctx, "queues", cursor, "", maxQueues).Result()
		if err != nil {
			return nil, err
		}
		for _, name := range page {
			if len(names) < maxQueues && fact(name) != "" {
				names[name] = true
			}
		}
		if cursor = next; cursor == 0 || len(names) == maxQueues {
			break
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// fact returns a text of the server's that may be kept, or "" for one that is none: too long, or with a NUL.
func fact(text string) string {
	if len(text) > maxText || strings.Contains(text, "\x00") {
		return ""
	}
	return text
}

// info returns the fields of INFO, of the sections that are given, or of the default ones.
func (s *Server) info(ctx context.Context, section ...string) (map[string]string, error) {
	text, err := s.client.Info(ctx, section...).Result()
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok && !strings.HasPrefix(name, "#") {
			fields[name] = value
		}
	}
	return fields, nil
}

// number is 0 for what is not a number.
func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

var _ goredis.Error = replyError("")
