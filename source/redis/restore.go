package redis

import (
	"fmt"
	"path/filepath"
	"strings"
)

// RestoreSteps returns, in Markdown, how to put an RDB back where these facts are of the Redis that it came
// from. rdb is the path of the restored file. The steps hold for a Redis with an append-only file too, which
// must not simply be started on the RDB: it would start empty.
func (f Facts) RestoreSteps(rdb string) string {
	target := filepath.Join("/var/lib/redis", "dump.rdb")
	if f.Dir != "" && f.File != "" {
		target = filepath.Join(f.Dir, filepath.Base(f.File))
	}
	was := "It is not known whether the Redis that was backed up kept an append-only file; whether the new one does"
	if f.AppendOnly != nil {
		was = "The Redis that was backed up kept no append-only file (`appendonly no`); whether the new one does"
		if *f.AppendOnly {
			was = "The Redis that was backed up kept an append-only file (`appendonly yes`); whether the new one does"
		}
	}
	version := ""
	if f.Version != "" {
		version = fmt.Sprintf("The RDB was made by Redis %s: an older one may refuse it.\n\n", f.Version)
	}
	steps := strings.NewReplacer("VERSION\n", version, "TARGET", quote(target), "DIR", quote(filepath.Dir(target)), "RDB", quote(rdb), "WAS", was)
	return steps.Replace(restoreSteps)
}

// quote quotes a path for a shell where it needs that.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@", r)
	}
	if path != "" && strings.TrimFunc(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

const restoreSteps = `VERSION
Stop Redis, and put the file into the directory that ` + "`dir`" + ` in redis.conf names:

    systemctl stop redis-server
    install -o redis -g redis -m 660 RDB TARGET
    grep -E '^(dir|dbfilename|appendonly)' /etc/redis/redis.conf

WAS,
the last line shows. **With ` + "`appendonly no`" + `**, or no such line, start it:

    systemctl start redis-server

**With ` + "`appendonly yes`" + `** Redis would not look at the file and start empty. Move its append-only file away,
start it once without, and let it write a new one:

    mkdir DIR/old-aof; mv DIR/appendonly* DIR/old-aof/
    sed -i 's/^appendonly yes/appendonly no/' /etc/redis/redis.conf
    systemctl start redis-server
    redis-cli CONFIG SET appendonly yes
    until test $(redis-cli INFO persistence | grep -cE 'aof_rewrite_(scheduled|in_progress):0') = 2; do sleep 1; done
    redis-cli INFO persistence | grep aof_last_bgrewrite_status    # must say ok
    sed -i 's/^appendonly no/appendonly yes/' /etc/redis/redis.conf

Either way compare the number of keys: ` + "`redis-cli INFO keyspace`" + `. A Redis with a password wants it in
the environment of redis-cli: ` + "`REDISCLI_AUTH`" + `.
`
