//go:build compose

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
	"permafrost/source"
)

// A composeTest is an instance in a Compose project on a real engine, and permafrost on its host.
type composeTest struct {
	*site
	*sandbox.Compose
	nights int
}

// An instance in a Compose project, whose ports are not published, is found, stored and restored. Make test-compose runs this where an engine answers.
func TestCompose(t *testing.T) {
	s := newSite(t, sandbox.Config{})
	c, err := sandbox.StartCompose(t.Context(), s.Instance)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.repo = filepath.Join(s.home, "repo") // some of the nights have no network
	w := &composeTest{site: s, Compose: c}
	if err := os.WriteFile(filepath.Join(s.home, "permafrost.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(exitDone, "init", "--live", c.Live, "--recovery-key", s.recovery)
	for _, test := range []struct {
		name string
		run  func(*composeTest)
	}{
		{"record", (*composeTest).testRecord},
		{"nights", (*composeTest).testNights},
		{"password", (*composeTest).testPassword},
		{"killed", (*composeTest).testKilled},
		{"stopped", (*composeTest).testStopped},
		{"several", (*composeTest).testSeveral},
		{"owners", (*composeTest).testOwners},
		{"hints", (*composeTest).testHints},
		{"way back", (*composeTest).testWayBack},
		{"new host", (*composeTest).testNewHost},
		{"volume", (*composeTest).testVolume},
		{"way back to a volume", (*composeTest).testWayBack},
	} {
		t.Run(test.name, func(t *testing.T) {
			on := *w.site
			on.t = t
			test.run(&composeTest{site: &on, Compose: c})
			// A database whose process was lost begins anew.
			if log, err := exec.Command("docker", "logs", c.Container("db")).CombinedOutput(); err != nil || strings.Contains(string(log), "reinitializing") {
				t.Errorf("the database's sessions were all ended: %v\n%s", err, log)
			}
		})
	}
}

// Ways to run a program such that each way to a container must be gone, and the way that a dump then takes.
var composeWays = []struct {
	name    string
	under   []string
	methods string
}{
	{"by address", nil, ""},
	{"with the container's pg_dump", []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /usr/lib/postgresql && exec "$@"`, "sh"}, ""},
	{"by namespace", []string{"unshare", "--net"}, ""},
	{"by exec", []string{"unshare", "--net", "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"}, ""},
}

// night makes a command that takes a snapshot of the project under another one.
func (w *composeTest) night(under []string, args ...string) *command {
	c := w.command(append([]string{"snapshot", "--live", w.Live}, args...)...)
	if len(under) > 0 {
		path, err := exec.LookPath(under[0])
		if err != nil {
			w.t.Fatal(err)
		}
		c.Args = slices.Concat(under, []string{c.Path}, c.Args[1:])
		c.Path = path
	}
	return c
}

// snapshot takes a snapshot that must be whole, and returns its manifest.
func (w *composeTest) snapshot(under []string, args ...string) composeManifest {
	w.t.Helper()
	if r := w.night(under, args...).run(w.t); r.code != exitDone {
		w.t.Fatalf("snapshot under %v: exit code %d\n%s%s", under, r.code, r.stdout, r.stderr)
	}
	return decode[composeManifest](w.t, w.run(exitDone, "show", "latest", "--json").stdout, "manifest")[0]
}

type composeManifest struct {
	Deployment source.Deployment
	Postgres   struct {
		Database string
		Dump     struct {
			Verified string
		}
	}
	Redis struct{ Dump struct{ Method string } }
	Media struct {
		Root  string
		Files int
	}
}

// testNights goes each way, and looks at what comes back.
func (w *composeTest) testNights() {
	for _, way := range composeWays {
		w.t.Run(way.name, func(t *testing.T) {
			on := *w.site
			on.t = t
			w := &composeTest{site: &on, Compose: w.Compose}
			m := w.snapshot(way.under)
			d := m.Deployment
			if d.Kind != source.Compose || d.Project != w.Project || d.Engine != "docker" || len(d.Services) != 3 || !d.Services[2].Mastodon || d.Services[2].Image != w.Image {
				t.Errorf("deployment %+v", d)
			}
			if m.Postgres.Dump.Verified != "full" || m.Redis.Dump.Method != "replication" || m.Media.Root != filepath.Join(w.Live, "public", "system") {
				t.Errorf("manifest %+v", m)
			}
			w.checkRestore(m.Media.Root)
		})
	}
}

// checkRestore restores the newest snapshot and compares it with the instance that the project was filled from.
func (w *composeTest) checkRestore(media string) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	target := filepath.Join(t.TempDir(), "restored")
	w.run(exitDone, "restore", "-i", w.recovery, "--snapshot", "latest", "--target", target)
	same := func(what string, want compare.State, err error, got compare.State, err2 error) {
		t.Helper()
		if err != nil || err2 != nil {
			t.Fatal(what, err, err2)
		}
		if len(want) == 0 {
			t.Fatalf("%s: nothing to compare", what)
		}
		if err := want.Diff(got); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	want, err := compare.Tree(media)
	got, err2 := compare.Tree(filepath.Join(target, "public-system"))
	same("media", want, err, got, err2)

	if err := w.Postgres.Exec(ctx, "postgres", "drop database if exists restored; create database restored template template0"); err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(target, "postgres.dump")
	restore := w.Postgres.Command(ctx, "pg_restore", "--exit-on-error", "--no-owner", "--dbname=restored", dump)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("pg_restore: %v: %s", err, out)
	}
	want, err = compare.Database(ctx, w.Postgres, sandbox.Database)
	got, err2 = compare.Database(ctx, w.Postgres, "restored")
	same("database", want, err, got, err2)

	dir := t.TempDir()
	rdb, err := os.ReadFile(filepath.Join(target, "redis-dump.rdb"))
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "redis"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "redis", "dump.rdb"), rdb, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := sandbox.StartRedis(ctx, dir, sandbox.RedisConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	want, err = compare.Redis(ctx, w.Redis)
	got, err2 = compare.Redis(ctx, r)
	same("Redis", want, err, got, err2)
}

// testWayBack brings the project back after a disaster, by restore.sh as it is.
func (w *composeTest) testWayBack() {
	t, ctx := w.t, w.t.Context()
	m := w.snapshot(nil)
	must := func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	redis := func(args ...string) string {
		return must(w.Docker(ctx, append([]string{"exec", w.Container("redis"), "redis-cli"}, args...)...))
	}
	rows := func() string {
		return must(w.SQL(ctx, "select count(*), md5(string_agg(s::text, '' order by id)) from statuses s; select count(*) from pg_class where relnamespace = 'public'::regnamespace"))
	}
	want, keys := rows(), redis("dbsize")
	media, err := compare.Tree(m.Media.Root)
	must("", err)

	must(w.SQL(ctx, "drop table statuses cascade; delete from account_stats"))
	must("", os.RemoveAll(filepath.Join(m.Media.Root, "media_attachments")))
	redis("flushall")
	redis("set", "feed:home:1", "later")
	w.giveTootctl()
	target := filepath.Join(t.TempDir(), "restored")
	w.run(exitDone, "restore", "-i", w.recovery, "--snapshot", "latest", "--target", target)
	if out, err := w.script(target); err != nil || !strings.Contains(out, "All steps are done.") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := rows(); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	if got := redis("dbsize"); got != keys {
		t.Errorf("%s keys, want %s", got, keys)
	}
	got, err := compare.Tree(m.Media.Root)
	must("", err)
	delete(media, ".") // the engine sets its time
	delete(got, ".")
	if err := media.Diff(got); err != nil {
		t.Errorf("media: %v", err)
	}
	if said := must(w.Docker(ctx, "exec", w.Container("web"), "cat", "/tmp/tootctl")); !strings.Contains(said, "feeds build") {
		t.Errorf("tootctl was called with %q", said)
	}
}

// giveTootctl puts a stand-in for Mastodon's command into its container.
func (w *composeTest) giveTootctl() {
	w.t.Helper()
	bin := filepath.Join(w.t.TempDir(), "bin")
	err := os.Mkdir(bin, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(bin, "tootctl"), []byte("#!/bin/sh\necho \"$*\" >>/tmp/tootctl\n"), 0o755)
	}
	if err == nil {
		_, err = w.Docker(w.t.Context(), "cp", bin, w.Container("web")+":/opt/mastodon/")
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// script runs restore.sh.
func (w *composeTest) script(target string) (string, error) {
	script := exec.CommandContext(w.t.Context(), "bash", filepath.Join(target, "restore.sh"), "--yes")
	script.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", runMain + "=1"}
	out, err := script.CombinedOutput()
	return string(out), err
}

// testNewHost brings the project back where there is its file alone: no containers, no volumes, no settings, no media.
func (w *composeTest) testNewHost() {
	t, ctx := w.t, w.t.Context()
	m := w.snapshot(nil)
	rows := func() string {
		out, err := w.SQL(ctx, "select count(*), md5(string_agg(s::text, '' order by id)) from statuses s")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := rows()
	media, err := compare.Tree(m.Media.Root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Command(ctx, "down", "--volumes"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".env.production", "public/system", "redis/dump.rdb"} {
		if err := os.RemoveAll(filepath.Join(w.Live, name)); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(t.TempDir(), "restored")
	w.run(exitDone, "restore", "-i", w.recovery, "--snapshot", "latest", "--target", target)
	if out, err := w.script(target); err == nil || !strings.Contains(out, "cd "+w.Live+", then docker compose up --detach, then docker compose stop") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"up", "--detach"}, {"stop"}} {
		if _, err := w.Command(ctx, args...); err != nil {
			t.Fatal(err)
		}
	}
	w.giveTootctl()
	if out, err := w.script(target); err != nil || !strings.Contains(out, "All steps are done.") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := rows(); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	w.snapshot(nil) // Mastodon's container reaches the others, as before
	got, err := compare.Tree(m.Media.Root)
	if err != nil {
		t.Fatal(err)
	}
	delete(media, ".") // the engine sets its time
	delete(got, ".")
	if err := media.Diff(got); err != nil {
		t.Errorf("media: %v", err)
	}
}

// testPassword has Mastodon's role use a password, each way. No process is told it.
func (w *composeTest) testPassword() {
	t, ctx := w.t, w.t.Context()
	const password = `com:pose\ mark'er`
	_, err := w.SQL(ctx, `create role mastodon superuser login password 'com:pose\ mark''er'`)
	if err != nil {
		t.Fatal(err)
	}
	// docker-compose 1.29 keeps backslashes and quotes of an env_file as they are: what counts is what the container has.
	set := func(lines ...string) {
		t.Helper()
		if err := w.SetEnv(lines); err != nil {
			t.Fatal(err)
		}
		if err := w.Up(ctx); err != nil {
			t.Fatal(err)
		}
	}
	set("DB_USER=mastodon", "DB_PASS="+password)
	defer set()
	for _, way := range composeWays {
		web, err := w.Docker(ctx, "inspect", "--format", "{{.State.Pid}}", w.Container("web"))
		if err != nil {
			t.Fatal(err)
		}
		told := watchProcesses(ctx, strings.TrimSpace(web), password, `com\:pose\\ mark'er`)
		w.snapshot(way.under)
		if found := told(); len(found) > 0 {
			t.Errorf("%s: the password is told to %v", way.name, found)
		}
	}
	set("DB_USER=mastodon", "DB_PASS=notthisone")
	if r := w.night(nil).run(t); r.code != exitIncomplete || !strings.Contains(r.stderr, "password authentication failed") || strings.Contains(r.stderr, "notthisone") {
		t.Errorf("with a wrong password: code %d, %s", r.code, r.stderr)
	}
}

// watchProcesses looks at the arguments and the environment of all processes but one until the function returned is called, which tells who
// has a secret.
func watchProcesses(ctx context.Context, but string, secrets ...string) (stop func() []string) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []string)
	go func() {
		var found []string
		for ctx.Err() == nil {
			for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
				files, _ := filepath.Glob(pattern)
				for _, f := range files {
					data, _ := os.ReadFile(f)
					if !strings.HasPrefix(f, "/proc/"+but+"/") && slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(string(data), s) }) {
						found = append(found, f+": "+strings.ReplaceAll(string(data[:min(len(data), 80)]), "\x00", " "))
					}
				}
			}
		}
		slices.Sort(found)
		done <- slices.Compact(found)
	}()
	return func() []string {
		cancel()
		return <-done
	}
}

// testKilled ends permafrost, and the engine's command, while the container's own pg_dump waits for a lock.
func (w *composeTest) testKilled() {
	t := w.t
	under := composeWays[1].under
	for _, c := range []struct {
		name   string
		strike func(c *command)
		left   bool // the next run ends it
	}{
		{"interrupted", func(c *command) { c.Process.Signal(syscall.SIGTERM) }, false},
		{"killed", func(c *command) { c.Process.Kill() }, true},
		{"engine's command killed", func(c *command) { w.killExec() }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			unlock := w.lock(t)
			night := w.night(under)
			if err := night.Start(); err != nil {
				t.Fatal(err)
			}
			w.awaitDumps(t, 1)
			c.strike(night)
			if err := night.Wait(); err == nil {
				t.Error("the command succeeded")
			}
			if !c.left {
				w.awaitDumps(t, 0)
				unlock()
				return
			}
			time.Sleep(time.Second)
			w.awaitDumps(t, 1) // with its place in the queue for the lock
			next := w.night(under)
			if err := next.Start(); err != nil {
				t.Fatal(err)
			}
			first := w.dumps(t)[0]
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				if now := w.dumps(t); len(now) == 1 && now[0] != first {
					break
				} else if time.Now().After(end) {
					t.Fatalf("sessions %v, the killed one's was %s", now, first)
				}
			}
			unlock()
			if err := next.Wait(); err != nil {
				t.Error(err)
			}
			w.awaitDumps(t, 0)
		})
	}
}

// lock takes a lock of a table that no dump gets past.
func (w *composeTest) lock(t *testing.T) (unlock func()) {
	cmd := exec.Command("docker", "exec", "--interactive", w.Container("db"), "psql", "-X", "-q", "-A", "-t", "-h", "/var/run/postgresql", "-U", "postgres")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	unlock = func() {
		in.Close()
		cmd.Wait()
	}
	if _, err := in.Write([]byte("begin; lock table statuses in access exclusive mode;\n")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if out, err := w.SQL(t.Context(), "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted"); err == nil && strings.TrimSpace(out) != "0" {
			return unlock
		}
	}
	unlock()
	t.Fatal("the lock was not to be had")
	return nil
}

// dumps returns the names of the sessions that dump.
func (w *composeTest) dumps(t *testing.T) []string {
	out, err := w.SQL(t.Context(), "select application_name from pg_stat_activity where application_name like 'permafrost-% pg_dump'")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(strings.Lines(out))
}

func (w *composeTest) awaitDumps(t *testing.T, want int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		now := w.dumps(t)
		if len(now) == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d sessions dump, want %d: %v", len(now), want, now)
		}
	}
}

// killExec kills the engine's command that runs pg_dump.
func (w *composeTest) killExec() {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		data, _ := os.ReadFile(f)
		args := strings.Split(string(data), "\x00")
		if len(args) > 5 && filepath.Base(args[0]) == "docker" && args[1] == "exec" && slices.Contains(args, "pg_dump") && slices.Contains(args, "--format=custom") {
			exec.Command("kill", "-KILL", filepath.Base(filepath.Dir(f))).Run()
		}
	}
}

// testStopped has a service that does not run.
func (w *composeTest) testStopped() {
	ctx := w.t.Context()
	if _, err := w.Docker(ctx, "stop", "--time", "1", w.Container("redis")); err != nil {
		w.t.Fatal(err)
	}
	r := w.night(nil).run(w.t)
	if r.code != exitIncomplete || !strings.Contains(r.stderr, "the container "+w.Container("redis")+" of the project "+w.Project+" is exited") ||
		!strings.Contains(r.stderr, "docker start "+w.Container("redis")) {
		w.t.Errorf("code %d, %s", r.code, r.stderr)
	}
	if _, err := w.Docker(ctx, "start", w.Container("redis")); err != nil {
		w.t.Fatal(err)
	}
}

// testSeveral has two containers of a service, and two projects of the directory.
func (w *composeTest) testSeveral() {
	t, ctx := w.t, w.t.Context()
	if err := w.Up(ctx, "--scale", "redis=2"); err != nil {
		t.Fatal(err)
	}
	r := w.night(nil).run(t)
	if r.code != exitIncomplete || !strings.Contains(r.stderr, "redis is 2 containers of the project "+w.Project+": "+w.Container("redis")+", ") {
		t.Errorf("two of a service: code %d, %s", r.code, r.stderr)
	}
	if err := w.Up(ctx, "--scale", "redis=1"); err != nil {
		t.Fatal(err)
	}
	other := w.Project + "-other"
	cmd := exec.CommandContext(ctx, "docker-compose", "--project-name", other, "up", "--detach", "redis")
	cmd.Dir = w.Live
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r = w.night(nil).run(t)
	if r.code != exitFailed || !strings.Contains(r.stderr, "several Compose projects have this directory: "+w.Project+", "+other) || !strings.Contains(r.stderr, "--compose-project") {
		t.Errorf("two projects: code %d, %s", r.code, r.stderr)
	}
	if m := w.snapshot(nil, "--compose-project", w.Project); m.Deployment.Project != w.Project {
		t.Errorf("deployment %+v", m.Deployment)
	}
	down := exec.CommandContext(ctx, "docker-compose", "--project-name", other, "down")
	down.Dir = w.Live
	if out, err := down.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// testOwners has the directory belong to one user and the media to another, who lets nobody else see some of them.
func (w *composeTest) testOwners() {
	t := w.t
	suspended := filepath.Join(w.Live, "public", "system", "accounts", "suspended.png")
	err := os.WriteFile(suspended, []byte("of a suspended user"), 0o600)
	for _, path := range []string{w.Live, filepath.Join(w.Live, ".env.production")} {
		if err == nil {
			err = os.Chown(path, 1000, 1000)
		}
		defer os.Chown(path, 0, 0)
	}
	if err == nil {
		err = os.Chown(suspended, 991, 991)
	}
	if err == nil {
		err = os.Chmod(w.Live, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(w.Live, 0o755)
	m := w.snapshot(nil)
	w.checkRestore(m.Media.Root)
}

// testVolume has the media in a volume.
func (w *composeTest) testVolume() {
	before := w.snapshot(nil).Media.Files
	if err := w.UseVolume(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	m := w.snapshot(nil)
	if !strings.HasSuffix(m.Media.Root, "/volumes/"+w.Project+"_media/_data") || m.Media.Files != before || before == 0 {
		w.t.Errorf("media %+v, before %d files", m.Media, before)
	}
	w.checkRestore(m.Media.Root)
}

// testHints tries what keeps the project from being found.
func (w *composeTest) testHints() {
	t, ctx := w.t, w.t.Context()
	for _, c := range []struct {
		code int
		args []string
		env  string
		want []string
	}{
		{exitIncomplete, []string{"--compose-engine", "none"}, "", []string{"db is likely a service of Compose: " + w.Live + " has a docker-compose.yml"}},
		{exitIncomplete, nil, "DOCKER_HOST=unix:///nonexistent/docker.sock", []string{"db is likely a service of Compose", "/nonexistent/docker.sock"}},
		{exitIncomplete, nil, "DOCKER_HOST=ssh://elsewhere.example", []string{"db is likely a service of Compose", "ssh://elsewhere.example", "another host"}},
		{exitFailed, []string{"--compose-project", "nothing"}, "", []string{`no container belongs to a Compose project "nothing"`}},
		{exitFailed, []string{"--compose-engine", "docker"}, "DOCKER_HOST=unix:///nonexistent/docker.sock", []string{"asking the container engine", "docker.sock"}},
	} {
		cmd := w.night(nil, c.args...)
		if c.env != "" {
			cmd.Env = append(cmd.Env, c.env)
		}
		r := cmd.run(t)
		for _, want := range c.want {
			if r.code != c.code || !strings.Contains(r.stderr, want) {
				t.Errorf("%v %s: code %d, %q is not in\n%s", c.args, c.env, r.code, want, r.stderr)
			}
		}
	}
	if _, err := w.Compose.Command(ctx, "down"); err != nil {
		t.Fatal(err)
	}
	if r := w.night(nil).run(t); r.code != exitIncomplete || !strings.Contains(r.stderr, "no running project has this directory") {
		t.Errorf("project down: code %d, %s", r.code, r.stderr)
	}
	if err := w.Up(ctx); err != nil {
		t.Fatal(err)
	}
}
