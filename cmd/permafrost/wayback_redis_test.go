package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/escape"
	"permafrost/internal/sandbox"
	"permafrost/source/redis"
	"permafrost/source/way"
)

var redisSteps = []string{"redis-check", "redis-load", "redis-jobs"}

// A server gets its data back whatever it keeps its files like, and what it had is put aside.
func TestRedisWayBack(t *testing.T) {
	t.Parallel()
	rdb, sum := redisDump(t, "")
	for _, c := range []struct {
		name, password, args string
		plain                bool
		vars                 map[string]string
	}{
		{name: "files"},
		{name: "password", password: `p"a$s\ wörd`},
		{name: "append-only", args: "--appendonly yes"},
		{name: "append-only with names", args: "--appendonly yes --appenddirname aof --appendfilename log --dbfilename data.rdb", password: "x"},
		{name: "without permafrost", plain: true, vars: map[string]string{"redis_replace": "yes"}},
		{name: "append-only without permafrost", plain: true, args: "--appendonly yes", password: "x", vars: map[string]string{"redis_replace": "yes"}},
		{name: "replication", vars: map[string]string{"redis_way": "replication"}},
		{name: "replication, append-only", password: "x", args: "--appendonly yes --masterauth other", vars: map[string]string{"redis_way": "replication"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newRedisWay(t, rdb, c.password, c.args)
			w.plain = c.plain
			for name, value := range c.vars {
				w.vars[name] = value
			}
			w.feed("set feed:old 1\nrpush queue:default old\n")
			old := w.cli("debug", "digest")
			said := w.must(redisSteps...)
			if got := w.cli("config", "get", "masterauth"); strings.Contains(c.args, "masterauth") && !strings.HasSuffix(got, "other") {
				t.Errorf("masterauth is %q", got)
			}
			w.holds(sum)
			if got := w.aside(); len(got) != 1 && !strings.Contains(c.args, "dbfilename") || len(got) > 0 && got[0].Databases[0].Keys != 2 {
				t.Errorf("what was put aside: %+v", got)
			}
			if !strings.Contains(said, "before") {
				t.Errorf("it does not say where the earlier data are:\n%s", said)
			}
			if got := w.cli("info", "replication"); !strings.Contains(got, "role:master") {
				t.Error(got)
			}
			// Begun again it is the same. It can be taken back.
			w.must(redisSteps...)
			w.holds(sum)
			w.undo(old)
		})
	}
}

// resum returns an RDB with the right checksum.
func resum(rdb []byte) []byte {
	body := rdb[:len(rdb)-8]
	sum := ^crc64.Update(^uint64(0), crc64.MakeTable(0x95AC9329AC4BC9B5), body)
	return binary.LittleEndian.AppendUint64(bytes.Clone(body), sum)
}

// cutRDB returns the beginning of an RDB that was cut where no byte looks like the end mark: eight bytes follow that.
func cutRDB(rdb []byte) []byte {
	n := len(rdb) - 100
	for rdb[n-9] == 0xFF {
		n--
	}
	return rdb[:n]
}

// What would lose data is refused while everything still is as it was.
func TestRedisWayRefuses(t *testing.T) {
	t.Parallel()
	rdb, sum := redisDump(t, "")
	w := newRedisWay(t, rdb, "secret", "")
	w.feed("set feed:old 1\n")
	dump := filepath.Join(w.here, "redis-dump.rdb")
	newer := bytes.Clone(rdb)
	copy(newer, "REDIS0099")
	flipped := bytes.Clone(rdb)
	flipped[len(rdb)/2] ^= 1
	for _, plain := range []bool{false, true} {
		w.plain = plain
		w.vars["redis_replace"] = map[bool]string{true: "yes"}[plain]
		for _, c := range []struct {
			name  string
			rdb   []byte
			words []string // by permafrost
			plain string
		}{
			{"cut", cutRDB(rdb), []string{"no end mark", "restore this file once more"}, "can't read the dump"},
			{"empty", nil, []string{"redis-dump.rdb is not there"}, "redis-dump.rdb is not there"},
			{"damaged", flipped, []string{"checksum is wrong", "restore this file once more"}, "can't read the dump"},
			{"newer", resum(newer), []string{"RDB of version REDIS 99", "install the server"}, "Can't handle RDB format version"},
			{"Valkey's", resum(append([]byte("VALKEY080"), rdb[9:]...)), []string{"VALKEY 80"}, "can't read the dump"},
		} {
			w.write(dump, string(c.rdb), 0o600)
			if plain {
				w.refused("redis-check", c.plain)
			} else {
				w.refused("redis-check", c.words...)
			}
			w.refused("redis-load", "has not looked at the dump")
		}
	}
	w.write(dump, string(rdb), 0o600)
	w.plain, w.vars["redis_replace"] = false, ""

	w.feed("select 7\nset x 1\n")
	w.refused("redis-check", "1 keys in database 7", "redis_replace")
	w.plain = true
	w.refused("redis-check", "the server has keys", "db7:keys=1")
	w.plain = false
	w.feed("select 7\ndel x\nselect 0\nset passing:1 x ex 1000\nhset session:s3cret x 1\n")
	w.refused("redis-check", "begin with session", "redis_replace")
	if out, _ := w.step("redis-check", ""); strings.Contains(out, "s3cret") || strings.Contains(out, "passing") {
		t.Errorf("it says\n%s", out)
	}
	w.vars["redis_replace"] = "yes"
	w.must(redisSteps...)
	w.holds(sum)
	w.vars["redis_replace"] = ""

	w.cli("replicaof", "127.0.0.1", "1")
	w.refused("redis-check", "is a replica")
	w.cli("replicaof", "no", "one")
	w.write(filepath.Join(w.here, "env.production"), "REDIS_PASSWORD=wrong\n", 0o600)
	w.refused("redis-check", "lets nobody in", "redis_password_file")
	w.vars["redis_port"] = "1"
	w.refused("redis-check", "no Redis answers at 127.0.0.1:1")
}

// A server that root runs says where it keeps its files. Root writes nothing there.
func TestRedisWayRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // no server here is another user's
	}
	rdb, sum := redisDump(t, "")
	w := redisWayOf(t, rdb, sandbox.RedisConfig{Args: strings.Fields(redisDebug)})
	w.vars["redis_way"] = "files"
	w.refused("redis-check", "it is root's")
	w.vars["redis_way"] = ""
	w.must(redisSteps...)
	w.holds(sum)
	if names, _ := filepath.Glob(filepath.Join(w.redis.Dir, "*rest*")); len(names) > 0 {
		t.Errorf("root has left %s", names)
	}
}

// A server whose directory is another one than this host's of that name, as in a container, gets its data by replication.
func TestRedisWayNamespace(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // which may make no namespace
	}
	rdb, sum := redisDump(t, "")
	w := newRedisWay(t, rdb, "", "")
	w.redis.Stop()
	_, port, _ := net.SplitHostPort(w.redis.Addr)
	server := exec.Command("unshare", "--mount", "sh", "-c", `mount -t tmpfs -o mode=1777 none "$1" && cd "$1" && exec runuser --user=nobody -- redis-server --enable-debug-command yes --port "$2" --dir "$1"`,
		"sh", w.redis.Dir, port)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
		server.Wait()
	})
	for end := time.Now().Add(20 * time.Second); w.cliMayFail("ping") != "PONG" && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	w.vars["redis_way"] = "files"
	w.refused("redis-check", "is no process of this host")
	w.vars["redis_way"] = ""
	w.must(redisSteps...)
	if got := w.cli("debug", "digest"); got != sum {
		t.Errorf("the server has %s, want %s", got, sum)
	}
	if names, _ := filepath.Glob(filepath.Join(w.redis.Dir, "*")); len(names) > 0 {
		t.Errorf("in this host's directory is %s", names)
	}
}

// The unit is found in the control group, where it has the server as its own.
func TestRedisWayUnit(t *testing.T) {
	t.Parallel()
	w := newRedisWay(t, nil, "", "")
	w.vars["redis_service"] = ""
	w.write(filepath.Join(w.here, "redis-dump.rdb"), "x", 0o600)
	w.refused("redis-check", "no unit of systemd has it", "redis_service")
	for group, want := range map[string]string{
		"0::/system.slice/redis-server.service":                                 "redis-server.service",
		"0::/system.slice/system-redis\\x2dserver.slice/redis-server@a.service": "redis-server@a.service",
		"12:cpu:/x\n1:name=systemd:/system.slice/valkey-server.service":         "valkey-server.service",
		"0::/user.slice/user-1000.slice/session-1.scope":                        "",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service":  "",
		"0::/system.slice/docker-0123.scope":                                    "",
		"0::/system.slice/$(id).service":                                        "",
	} {
		cmd := exec.Command("bash", "-c", ". \"$1\"; redis_unit", "bash", filepath.Join(w.here, "plan", "host.sh"))
		cmd.Stdin = strings.NewReader(group + "\n")
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s: %v, %q, want %q", group, err, out, want)
		}
	}
	// A process of a unit that is not the unit's own one is none to stop.
	for pid, held := range map[string]bool{fmt.Sprint(w.redis.PID): true, "1": false} {
		w.write(filepath.Join(w.bin, "systemctl"), "#!/bin/sh\necho MainPID="+pid+"\n", 0o755)
		const find = `redis_unit() { echo x.service; }; redis_of redis; redis_look; r_way= r_dir=/; redis_find_way; echo "$r_way $r_service"`
		cmd := exec.Command("bash", "-c", ". \"$1\"; "+find, "bash", filepath.Join(w.here, "plan", "host.sh"))
		cmd.Env = append(os.Environ(), "PATH="+w.bin+":"+os.Getenv("PATH"))
		if out, _ := cmd.CombinedOutput(); strings.Contains(string(out), "files x.service\n") != held {
			t.Errorf("the unit has the process %s, the server is %d: %s", pid, w.redis.PID, out)
		}
	}
}

// The unit in host.sh counts, also where an earlier try has noted another one and the server is down since.
func TestRedisWayCorrectedUnit(t *testing.T) {
	t.Parallel()
	rdb, sum := redisDump(t, "")
	w := newRedisWay(t, rdb, "", "")
	w.must("redis-check")
	notes := filepath.Join(w.here, "plan", "redis.notes")
	text, err := os.ReadFile(notes)
	if err != nil || !bytes.Contains(text, []byte("redis-test")) {
		t.Fatalf("%q, %v", text, err)
	}
	w.write(notes, strings.ReplaceAll(string(text), "redis-test", "mistaken"), 0o600)
	if err := w.redis.Stop(); err != nil {
		t.Fatal(err)
	}
	w.must("redis-load")
	w.holds(sum)
}

// A user who may not save and configure is told so, and another one may be named.
func TestRedisWayUser(t *testing.T) {
	t.Parallel()
	rdb, sum := redisDump(t, "")
	for _, way := range []string{"", "replication"} {
		w := newRedisWay(t, rdb, "", "")
		w.vars["redis_way"] = way
		w.write(filepath.Join(w.redis.Dir, "users.acl"), "user default off\nuser mastodon on ~* &* +@all -@dangerous >secret\nuser admin on ~* &* +@all >hush\n", 0o644)
		w.redis.Stop()
		sandboxed, err := sandbox.StartRedis(t.Context(), filepath.Dir(w.redis.Dir), sandbox.RedisConfig{Own: true,
			Args: append(strings.Fields(redisDebug), "--aclfile", filepath.Join(w.redis.Dir, "users.acl"))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sandboxed.Stop() })
		w.redis, w.saved.Facts.Addr, w.admin = sandboxed, sandboxed.Addr, "admin"
		w.redis.Password = "hush"
		w.write(filepath.Join(w.here, "env.production"), "REDIS_URL=redis://mastodon:secret@localhost:6379\n", 0o600)
		w.refused("redis-check", "does not tell its settings", "redis_user")
		w.write(filepath.Join(w.here, "password"), "hush\n", 0o600)
		w.vars["redis_user"], w.vars["redis_password_file"] = "admin", filepath.Join(w.here, "password")
		w.must(redisSteps...)
		w.holds(sum)
	}
}

// Jobs and their locks are removed on wish, by the name that Mastodon gives them; nothing comes back on wish.
func TestRedisWayJobs(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"", "n[1]:"} {
		rdb, sum := redisDump(t, namespace)
		for _, plain := range []bool{false, true} {
			w := newRedisWay(t, rdb, "", "--appendonly yes")
			w.plain = plain
			w.write(filepath.Join(w.here, "env.production"), "LOCAL_DOMAIN=x\nREDIS_NAMESPACE="+strings.TrimSuffix(namespace, ":")+"\n", 0o600)
			w.vars["redis_mode"] = "skip"
			if said := w.must(redisSteps...); !strings.Contains(said, "jobs of the snapshot are lost") || w.cli("dbsize") != "0" {
				t.Errorf("nothing was to come back: %s\n%s", w.cli("dbsize"), said)
			}
			w.vars["redis_mode"] = "without-jobs"
			w.must(redisSteps...)
			w.restart()
			for pattern, want := range map[string]int{"feed:*": 300, "cache:*": 300, "activity:*": 2, "queue*": 0, "uniquejobs:*": 0, "schedule": 0, "retry": 0, "dead": 0} {
				if got := len(strings.Fields(w.cli("--scan", "--pattern", strings.NewReplacer("[", `\[`, "]", `\]`).Replace(namespace)+pattern))); got != want {
					t.Errorf("%d keys %s%s, want %d", got, namespace, pattern, want)
				}
			}
			w.vars["redis_mode"] = "all"
			w.vars["redis_replace"] = "yes"
			w.must(redisSteps...)
			w.holds(sum)
			w.vars["redis_mode"] = "some"
			w.refused("redis-check", `redis_mode is "some"`)
		}
	}
}

// Steps that were killed at any moment lose nothing, and begun again come to the same end.
func TestRedisWayKilled(t *testing.T) {
	t.Parallel()
	rdb, sum := redisDump(t, "")
	for _, way := range []string{"files", "replication"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			w := newRedisWay(t, rdb, "x", "--appendonly yes --masterauth other")
			w.vars["redis_way"] = way
			// again runs a step that stops early, and once more, and tells whether it did stop.
			again := func(when, before string) bool {
				w.feed("flushall\nset feed:old 1\n")
				w.must("redis-check")
				if out, err := w.step("redis-load", before); err == nil {
					return false
				} else if exit := new(exec.ExitError); !errors.As(err, &exit) {
					t.Fatalf("%s: %v\n%s", when, err, out)
				}
				w.must("redis-load")
				if got := w.cli("debug", "digest"); got != sum {
					t.Fatalf("stopped at %s and begun again: the server has %s, want %s", when, got, sum)
				}
				w.onlyOld(when)
				return true
			}
			killed := 0
			for n := 1 + rand.IntN(killStride); again(fmt.Sprintf("command %d", n), fmt.Sprintf(killAt, n)); n += killStride {
				killed++
			}
			if t.Logf("killed %d times", killed); killed < 6 {
				t.Error("that is too few")
			}
			moved := filepath.Join(w.redis.Dir, "moved")
			w.write(moved, "", 0o666)
			if err := os.Chmod(moved, 0o666); err != nil {
				t.Fatal(err)
			}
			w.write(filepath.Join(w.bin, "mv"), "#!/bin/sh\nmoved="+escape.Shell(moved)+"\necho x >>$moved; [ \"$(wc -l <$moved)\" != \"$STOP_AT\" ] && exec /bin/mv \"$@\"\n", 0o755)
			moves := 1
			for again(fmt.Sprintf("move %d", moves), fmt.Sprintf("export STOP_AT=%d; : >%s", moves, escape.Shell(moved))) {
				moves++
			}
			if way == "files" && moves < 4 {
				t.Errorf("the step moves %d files", moves)
			}
			if got := w.cli("config", "get", "masterauth"); !strings.HasSuffix(got, "other") {
				t.Errorf("masterauth is %q", got)
			}
			w.holds(sum)
		})
	}
}

// killStride is how many commands a run of the test passes over from one kill to the next; chance says which.
const killStride = 18

// killAt kills bash with all its programs before the nth command of a step's functions.
const killAt = `n=0; kill_me() { [ ${#FUNCNAME[@]} -gt 3 ] || [ $((n += 1)) -lt %d ] || kill -KILL 0; }; set -T; trap kill_me DEBUG`

// onlyOld checks that what the server had is put aside once at least, and removes what is.
func (w *redisWay) onlyOld(when string) {
	w.t.Helper()
	old := 0
	for _, c := range w.aside() {
		if d := c.Databases[0]; d != nil && d.Keys == 1 {
			old++
		}
	}
	if old == 0 {
		w.t.Fatalf("stopped at %s: what the server had is lost", when)
	}
	for _, name := range w.asideNames() {
		if err := os.RemoveAll(name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// Two servers come back each by its own steps and variables, and one is not given what the other has.
func TestRedisWayTwo(t *testing.T) {
	t.Parallel()
	rdb, sum := redisDump(t, "")
	w := newRedisWay(t, rdb, "x", "")
	w.saved.Name, w.saved.Mode = "sidekiq", "all"
	w.vars = map[string]string{"sidekiq_service": "redis-test"}
	w.write(filepath.Join(w.here, "env.production"), "REDIS_PASSWORD=other\nSIDEKIQ_REDIS_HOST=localhost\nSIDEKIQ_REDIS_PORT=6380\nSIDEKIQ_REDIS_PASSWORD=x\n", 0o600)
	w.must("sidekiq-check", "sidekiq-load", "sidekiq-jobs")
	w.holds(sum)
	w.feed("set timeline:x 1\n")
	w.refused("sidekiq-check", "begin with timeline", "sidekiq_replace")

	both := []way.Part{redis.WayBack(redis.Saved{Name: "redis"}), redis.WayBack(redis.Saved{Name: "sidekiq"})}
	host := way.Host(w.here, "", both)
	if strings.Count(host, "\nredis_of() ") != 1 || strings.Count(host, "\nredis_host=") != 1 || strings.Count(host, "\nsidekiq_host=") != 1 {
		t.Errorf("host.sh has functions twice, or variables not once:\n%s", host)
	}
	for i, step := range both[0].Steps {
		if other := both[1].Steps[i]; other.Name == step.Name || other.Title == step.Title || other.Check+other.Run == step.Check+step.Run {
			t.Errorf("both servers have the step %s", step.Name)
		}
	}
}
