package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
)

// A wayBack is an instance that had a snapshot and then a disaster, and the directory that its snapshot was restored into.
type wayBack struct {
	*site
	target string
	path   string // of a shell, with stand-ins for what a test's host does not have
	want   instanceState
}

// An instanceState is what an instance holds.
type instanceState struct {
	env             string
	media           compare.State
	database, redis compare.State
}

func (s *site) state() (st instanceState) {
	s.t.Helper()
	env, err := os.ReadFile(filepath.Join(s.Live, ".env.production"))
	if err != nil {
		s.t.Fatal(err)
	}
	st.env = string(env)
	if st.media, err = compare.Tree(s.System()); err != nil {
		s.t.Fatal(err)
	}
	if st.database, err = compare.Database(s.t.Context(), s.Postgres, sandbox.Database); err != nil {
		s.t.Fatal(err)
	}
	if st.redis, err = compare.Redis(s.t.Context(), s.Redis); err != nil {
		s.t.Fatal(err)
	}
	return st
}

// sameAs fails where the instance is not what it was.
func (w *wayBack) compare() {
	w.t.Helper()
	got := w.state()
	if got.env != w.want.env {
		w.t.Error(".env.production differs")
	}
	for _, c := range []struct {
		name      string
		want, got compare.State
	}{{"media", w.want.media, got.media}, {"database", w.want.database, got.database}, {"redis", w.want.redis, got.redis}} {
		if err := c.want.Diff(c.got); err != nil {
			w.t.Errorf("%s: %v", c.name, err)
		}
	}
}

// disaster leaves of the instance what nobody would want: half a database, old settings, some media, other keys.
func (w *wayBack) disaster() {
	w.t.Helper()
	w.sql("drop table if exists statuses cascade; delete from accounts where id % 2 = 0")
	env := strings.Replace(w.want.env, "SECRET_KEY_BASE=", "SECRET_KEY_BASE=other", 1)
	if err := os.WriteFile(filepath.Join(w.Live, ".env.production"), []byte(env), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.System(), "media_attachments")); err != nil {
		w.t.Fatal(err)
	}
	w.redisCLI("flushall")
	w.redisCLI("set", "feed:home:1", "later")
}

func (s *site) redisCLI(args ...string) string {
	s.t.Helper()
	host, port, _ := strings.Cut(s.Redis.Addr, ":")
	c := exec.Command("redis-cli", append([]string{"-h", host, "-p", port}, args...)...)
	c.Env = append(os.Environ(), "REDISCLI_AUTH="+s.Redis.Password)
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Fatalf("redis-cli %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// blocks returns the commands of RESTORE.md that are to be pasted, one text a step.
func (w *wayBack) blocks() (blocks []string) {
	w.t.Helper()
	guide, err := os.ReadFile(filepath.Join(w.target, "RESTORE.md"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^## \\d+\\. .*?^```bash\n(.*?)^```$").FindAllSubmatch(guide, -1) {
		blocks = append(blocks, string(m[1]))
	}
	if len(blocks) < 5 {
		w.t.Fatalf("only %d steps", len(blocks))
	}
	return blocks
}

// shell makes a command on the host of the instance.
func (w *wayBack) shell(args ...string) *exec.Cmd {
	c := exec.CommandContext(w.t.Context(), args[0], args[1:]...)
	c.Env = []string{"PATH=" + w.path, "HOME=/root", "TERM=dumb", runMain + "=1"}
	c.Dir = "/"
	return c
}

// The ways to follow the plan.
var followers = []struct {
	name   string
	follow func(w *wayBack)
}{
	{"restore.sh", func(w *wayBack) {
		out, err := w.shell("bash", filepath.Join(w.target, "restore.sh"), "--yes").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("All steps are done.")) {
			w.t.Fatalf("%v\n%s", err, out)
		}
	}},
	{"pasted", followPasted},
	{"step by step", func(w *wayBack) { // each step twice: the second time must do no harm
		for _, block := range w.blocks() {
			for range 2 {
				if out, err := w.shell("bash", "-c", block).CombinedOutput(); err != nil {
					w.t.Fatalf("%v\n%s\n%s", err, out, block)
				}
			}
		}
	}},
	{"killed", func(w *wayBack) { followStruck(w, syscall.SIGKILL) }},
	{"interrupted", func(w *wayBack) { followStruck(w, syscall.SIGINT) }},
}

// followPasted pastes block after block into an interactive shell on a terminal, as an administrator does.
func followPasted(w *wayBack) {
	c := w.shell("script", "-qec", "bash --norc -i", "/dev/null")
	c.WaitDelay = 10 * time.Second
	in, err := c.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var said bytes.Buffer
	lines := bufio.NewScanner(io.TeeReader(out, &said))
	for _, block := range w.blocks() {
		late := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
		fmt.Fprint(in, block+"\n")
		held := false
		for !held && lines.Scan() {
			held = regexp.MustCompile(`^Step \d+ done: `).MatchString(lines.Text())
		}
		if late.Stop(); !held {
			w.t.Fatalf("it does not hold: %s\nthe terminal shows\n%s", block, said.String())
		}
	}
	fmt.Fprintln(in, "exit")
	go io.Copy(io.Discard, out)
	if err := c.Wait(); err != nil {
		w.t.Error(err)
	}
}

// followStruck runs restore.sh and sends it a signal in each step, some time after the step began, until all steps are done. What
// is interrupted ends at once and says so.
func followStruck(w *wayBack, signal syscall.Signal) {
	chance := rand.New(rand.NewPCG(*killSeed, 2))
	seen := make(map[string]bool)
	for range 100 {
		c := w.shell("bash", filepath.Join(w.target, "restore.sh"), "--yes")
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		pipe, err := c.StdoutPipe()
		if err != nil {
			w.t.Fatal(err)
		}
		var all, errs bytes.Buffer
		c.Stderr = &errs
		if err := c.Start(); err != nil {
			w.t.Fatal(err)
		}
		var struck atomic.Int64 // when, in nanoseconds
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			step, began := strings.CutPrefix(lines.Text(), "== ")
			if !began || seen[step] {
				continue
			}
			seen[step] = true
			time.AfterFunc(time.Duration(chance.IntN(400))*time.Millisecond, func() {
				struck.Store(time.Now().UnixNano())
				syscall.Kill(-c.Process.Pid, signal)
			})
		}
		err = c.Wait()
		status, _ := c.ProcessState.Sys().(syscall.WaitStatus)
		switch {
		case err == nil && strings.Contains(all.String(), "All steps are done."):
			return
		case err == nil && len(seen) > 0 && strings.Contains(all.String(), "nothing was done now"): // it was struck after the last step's end
			return
		case status.Signaled() && signal == syscall.SIGKILL:
		case status.ExitStatus() == 130 && strings.Contains(errs.String(), "Stopped. Run this again") && time.Since(time.Unix(0, struck.Load())) < 20*time.Second:
		default:
			w.t.Fatalf("%v\n%s%s", err, all.String(), errs.String())
		}
	}
	w.t.Fatal("it does not come to its end")
}

// standIns are commands that a test's host lacks. Systemctl knows whether Mastodon's units run, and has Redis stopped and started.
func (w *wayBack) standIns() {
	w.t.Helper()
	dir := w.t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	systemctl := `#!/bin/bash
cd ` + dir + `
verb=$1
shift
for unit; do
	case $verb:$unit in
	*:-*) ;;
	stop:mastodon*) rm -f running ;;
	start:mastodon*) touch running ;;
	cat:mastodon*) ;;
	is-active:mastodon*) [ -e running ] || exit 3 ;;
	*:redis-server)
		exec 3<>/dev/tcp/127.0.0.1/` + w.redisManager() + `
		echo $verb >&3
		read -r answer <&3
		[ "$answer" = done ] || exit 1
		;;
	*) echo "systemctl $verb $unit: not here" >&2; exit 5 ;;
	esac
done
`
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(systemctl), 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.path = dir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// redisManager stops and starts Redis for the stand-in for systemctl. It returns the port that it listens on.
func (w *wayBack) redisManager() string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	do := map[string]func() error{
		"stop": w.Redis.Stop,
		"start": func() error {
			if w.Redis.Answers() {
				return nil
			}
			return w.Redis.Restart(context.Background())
		},
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			verb, _ := bufio.NewReader(conn).ReadString('\n')
			if err := do[strings.TrimSpace(verb)](); err != nil {
				w.t.Error(err)
			}
			fmt.Fprintln(conn, "done")
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// set changes variables of host.sh, as an administrator would.
func (w *wayBack) set(values map[string]string) {
	w.t.Helper()
	path := filepath.Join(w.target, "plan", "host.sh")
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, value := range values {
		line := regexp.MustCompile(`(?m)^` + name + `=.*$`)
		if !line.Match(text) {
			w.t.Fatalf("host.sh has no variable %s", name)
		}
		text = line.ReplaceAllLiteral(text, []byte(name+"="+value))
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// An instance after a disaster is again what it was, whichever way the plan is followed.
func TestWayBack(t *testing.T) {
	s := newSite(t, sandbox.Config{})
	s.init()
	s.run(exitDone, "snapshot")
	want := s.state()
	for i, f := range followers {
		t.Run(f.name, func(t *testing.T) {
			on := *s
			on.t = t
			w := &wayBack{site: &on, target: filepath.Join(s.home, "restored"+string(rune('a'+i))), want: want}
			w.standIns()
			w.disaster()
			for range 2 { // the second one has nothing to do, and nothing to say of host.sh
				if r := w.run(exitDone, "restore", "-i", w.recovery, "--snapshot", "latest", "--target", w.target); strings.Contains(r.stderr, "host.sh") {
					t.Errorf("restore says %s", r.stderr)
				}
			}
			w.set(map[string]string{"pg_admin": w.Postgres.User, "pg_admin_user": w.Postgres.OSUser, "pg_admin_host": w.Postgres.SocketDir, "redis_service": "redis-server"})
			f.follow(w)
			w.compare()
			if log, err := os.ReadFile(filepath.Join(w.Live, "log", "tootctl")); err != nil || !slices.Contains(strings.Split(string(log), "\n"), "production feeds build") {
				t.Errorf("tootctl: %q, %v", log, err)
			}
		})
	}
}
