//go:build compose

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
			TOC int `json:"toc_entries"`
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
			if m.Postgres.Dump.TOC == 0 || m.Redis.Dump.Method != "replication" || m.Media.Root != filepath.Join(w.Live, "public", "system") {
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
	if out, err := w.script(target); err == nil || !strings.Contains(out, "cd "+w.Live+", then docker compose up --detach, and a minute later docker compose stop") {
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
