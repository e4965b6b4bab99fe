package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/escape"
	"permafrost/internal/sandbox"
	"permafrost/source/redis"
	"permafrost/source/way"
)

// A redisWay is a directory with a restored dump, and a server that is to get it.
type redisWay struct {
	t     *testing.T
	redis *sandbox.Redis
	saved redis.Saved
	here  string
	bin   string            // comes first in PATH
	vars  map[string]string // that an administrator has changed
	plain bool              // there is no permafrost on the host
	admin string            // the user who asks for the test; "" is the default one

	container string // the server's, where it runs in one
}

const redisDebug = "--enable-debug-command yes --repl-diskless-sync-delay 0"

// newRedisWay starts a server whose unit is redis-test, with what the stand-in for systemctl takes to start and stop it.
func newRedisWay(t *testing.T, dump []byte, password, args string) *redisWay {
	t.Helper()
	return redisWayOf(t, dump, sandbox.RedisConfig{Password: password, Own: true, Args: strings.Fields(redisDebug + " " + args)})
}

func redisWayOf(t *testing.T, dump []byte, c sandbox.RedisConfig) *redisWay {
	t.Helper()
	dir := t.TempDir()
	r, err := sandbox.StartRedis(t.Context(), dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop() })
	w := &redisWay{t: t, redis: r, vars: map[string]string{"redis_service": "redis-test"}}
	w.restored(dir, dump, c.Password)
	w.write(filepath.Join(w.bin, "systemctl"), "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/"+w.serviceManager()+"\nprintf '%s\\n' \"$*\" >&3\nread -r answer <&3\n[ \"$answer\" = done ]\n", 0o755)
	return w
}

// restored makes the directory of the restored files, and permafrost in PATH.
func (w *redisWay) restored(dir string, dump []byte, password string) {
	w.t.Helper()
	w.here, w.bin = filepath.Join(dir, "it's here"), filepath.Join(dir, "bin")
	w.saved = redis.Saved{Name: "redis", Facts: redis.Facts{Network: "tcp", Addr: w.redis.Addr}, File: "redis-dump.rdb", EnvFile: "env.production"}
	for _, d := range []string{w.bin, filepath.Join(w.here, "plan")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	w.write(filepath.Join(w.here, "redis-dump.rdb"), string(dump), 0o600)
	w.write(filepath.Join(w.here, "env.production"), "LOCAL_DOMAIN=example.social\nREDIS_PASSWORD='"+password+"'\n", 0o600)
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Join(w.bin, "permafrost"), "#!/bin/sh\n"+runMain+"=1 PERMAFROST_CONFIG=/dev/null exec "+escape.Shell(self)+" \"$@\"\n", 0o755)
}

// serviceManager listens for the stand-in for systemctl, and returns its port.
func (w *redisWay) serviceManager() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			switch strings.TrimSpace(line) {
			case "stop -- redis-test":
				err = w.redis.Stop()
			case "start -- redis-test":
				if w.cliMayFail("ping") == "" {
					err = w.redis.Restart(w.t.Context())
				}
			default:
				err = fmt.Errorf("unexpected: systemctl %s", line)
			}
			if err != nil {
				w.t.Error(err)
			}
			fmt.Fprintln(conn, map[bool]string{true: "done", false: "failed"}[err == nil])
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (w *redisWay) write(path, text string, mode os.FileMode) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		w.t.Fatal(err)
	}
}

// cli asks the server, as an administrator.
func (w *redisWay) cli(args ...string) string {
	w.t.Helper()
	out, err := w.ask(args...)
	if err != nil {
		w.t.Fatalf("redis-cli %s: %v: %s", args, err, out)
	}
	return out
}

func (w *redisWay) cliMayFail(args ...string) string {
	out, err := w.ask(args...)
	if err != nil {
		return ""
	}
	return out
}

func (w *redisWay) ask(args ...string) (string, error) {
	cmd := w.client(args...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (w *redisWay) client(args ...string) *exec.Cmd {
	host, port, _ := net.SplitHostPort(w.redis.Addr)
	words := []string{"redis-cli", "-h", host, "-p", port}
	if w.container != "" {
		words = []string{"docker", "exec", "-i", "-e", "REDISCLI_AUTH", w.container, "redis-cli"}
	}
	if w.admin != "" {
		words = append(words, "--user", w.admin)
	}
	cmd := exec.Command(words[0], append(words[1:], args...)...)
	if w.redis.Password != "" {
		cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+w.redis.Password)
	}
	return cmd
}

// step runs a step, in bash that has read the text before, and returns what it said.
func (w *redisWay) step(name, before string) (string, error) {
	w.t.Helper()
	part := redis.WayBack(w.saved)
	for i, v := range part.Vars {
		if changed, ok := w.vars[v.Name]; ok {
			part.Vars[i].Values = []string{changed}
		}
	}
	program := filepath.Join(w.bin, "permafrost")
	if w.plain {
		program = ""
	}
	host := filepath.Join(w.here, "plan", "host.sh")
	w.write(host, way.Host(w.here, program, []way.Part{part}), 0o600)
	for i := range part.Steps {
		if part.Steps[i].Name != name {
			continue
		}
		cmd := exec.CommandContext(w.t.Context(), "bash", "-c", before+"\n"+way.Block(host, "1", &part.Steps[i]))
		cmd.Env = append(os.Environ(), "PATH="+w.bin+":"+os.Getenv("PATH"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		err := cmd.Run()
		return said.String(), err
	}
	w.t.Fatalf("there is no step %s", name)
	return "", nil
}

// must runs steps, each of which must succeed.
func (w *redisWay) must(names ...string) (said string) {
	w.t.Helper()
	for _, name := range names {
		out, err := w.step(name, "")
		if err != nil || !strings.Contains(out, "\nStep 1 done: ") && !strings.HasPrefix(out, "Step 1 done: ") {
			w.t.Fatalf("%s: %v\n%s", name, err, out)
		}
		said += out
	}
	return said
}

// refused runs a step that must fail, with these words, and leave the server as it is.
func (w *redisWay) refused(name string, words ...string) {
	w.t.Helper()
	before := w.state()
	out, err := w.step(name, "")
	if err == nil {
		w.t.Errorf("%s holds\n%s", name, out)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			w.t.Errorf("%s says\n%s\nwithout %q", name, out, word)
		}
	}
	if after := w.state(); after != before {
		w.t.Errorf("%s fails, and the server has %s, had %s", name, after, before)
	}
}

// state is a sum of all keys and values, with what of them expires.
func (w *redisWay) state() string {
	w.t.Helper()
	return w.cli("debug", "digest") + "\n" + regexp.MustCompile(`,avg_ttl=\d*`).ReplaceAllString(w.cli("info", "keyspace"), "")
}

// holds checks that the server has these data, at once and after another start.
func (w *redisWay) holds(want string) {
	w.t.Helper()
	if got := w.cli("debug", "digest"); got != want {
		w.t.Errorf("the server has %s, want %s:\n%s", got, want, w.cli("info", "keyspace"))
	}
	w.restart()
	if got := w.cli("debug", "digest"); got != want {
		w.t.Errorf("after another start the server has %s, want %s:\n%s", got, want, w.cli("info", "keyspace"))
	}
}

// restart stops the server and starts it again.
func (w *redisWay) restart() {
	w.t.Helper()
	if w.container != "" {
		if out, err := exec.Command("docker", "restart", w.container).CombinedOutput(); err != nil {
			w.t.Fatalf("docker restart: %v: %s", err, out)
		}
		for w.cliMayFail("ping") != "PONG" && w.t.Context().Err() == nil {
			time.Sleep(50 * time.Millisecond)
		}
		return
	}
	w.redis.Stop()
	if err := w.redis.Restart(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// fill gives the server what Mastodon keeps there, in databases 0 and 3.
func (w *redisWay) fill(namespace string) {
	w.t.Helper()
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "zadd %sfeed:home:%d 1e17 %d 2 x\nset %scache:%d %d ex 7200\n", namespace, i, i, namespace, i, i)
	}
	for _, key := range []string{"sadd NSqueues default push", "rpush NSqueue:default a b", "rpush NSqueue:push c", "zadd NSretry 1 x", "zadd NSschedule 1 x",
		"zadd NSdead 1 x", "set NSuniquejobs:0123456789abcdef 1", "set NSuniquejobs:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1", "hset NSactivity:1 a 1",
		"pfadd NSactivity:logins a b c", "select 3", "set NSfeed:1 x", "set NSgone:1 x ex 7200"} {
		b.WriteString(strings.ReplaceAll(key, "NS", namespace) + "\n")
	}
	w.feed(b.String())
}

// feed sends commands.
func (w *redisWay) feed(commands string) {
	w.t.Helper()
	cmd := w.client()
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil || regexp.MustCompile(`[A-Z]{3,} `).Match(out) {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// redisDump returns an RDB of a filled server, and the sum of what is in it.
func redisDump(t *testing.T, namespace string) (rdb []byte, sum string) {
	t.Helper()
	w := newRedisWay(t, nil, "", "")
	w.fill(namespace)
	w.cli("save")
	rdb, err := os.ReadFile(filepath.Join(w.redis.Dir, "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return rdb, w.cli("debug", "digest")
}

// asideNames returns what the steps have put aside: directories beside the server's files, and RDBs beside the dump.
func (w *redisWay) asideNames() []string {
	names, _ := filepath.Glob(filepath.Join(w.redis.Dir, "before-restore.*"))
	more, _ := filepath.Glob(filepath.Join(w.here, "redis-before.*"))
	return append(names, more...)
}

// aside returns what is in the RDBs among them.
func (w *redisWay) aside() (all []*redis.Contents) {
	w.t.Helper()
	for _, name := range w.asideNames() {
		f, err := os.Open(name)
		if fi, serr := os.Stat(name); serr == nil && fi.IsDir() {
			f.Close()
			if f, err = os.Open(filepath.Join(name, "dump.rdb")); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err != nil {
			w.t.Fatal(err)
		}
		c, err := redis.ReadRDB(f)
		f.Close()
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		all = append(all, c)
	}
	return all
}

// undo takes the steps back by what they say themselves. The server then has what it had.
func (w *redisWay) undo(old string) {
	w.t.Helper()
	if w.vars["redis_way"] == "replication" {
		for _, name := range w.asideNames() {
			w.vars["redis_file"], w.vars["redis_replace"] = filepath.Base(name), "yes"
			w.must("redis-check", "redis-load")
			if w.cli("debug", "digest") == old {
				w.holds(old)
				return
			}
		}
		w.t.Errorf("the earlier data are in none of %s", w.asideNames())
		return
	}
	steps := redis.WayBack(w.saved).Steps
	command := regexp.MustCompile(`(?m)^    \( set -euo pipefail;.*$`).FindString(steps[1].Undo)
	for _, name := range w.asideNames() {
		cmd := exec.Command("bash", "-c", strings.ReplaceAll(command, "before-restore.XXXXXX", filepath.Base(name)))
		cmd.Env, cmd.Dir = append(os.Environ(), "PATH="+w.bin+":"+os.Getenv("PATH")), w.here
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("%s: %v: %s", command, err, out)
		}
		if w.cli("debug", "digest") == old {
			w.holds(old)
			return
		}
	}
	w.t.Errorf("the earlier data are in none of %s", w.asideNames())
}
