package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/source/redis"
	"permafrost/source/way"
)

// The login is that of the settings as Mastodon reads them. What steps make of them where there is no permafrost is the same for all
// but the odd ones.
func TestStepRedisLogin(t *testing.T) {
	dir := t.TempDir()
	settings, host := filepath.Join(dir, "env.production"), filepath.Join(dir, "host.sh")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"redis", "sidekiq"} {
		part := redis.WayBack(redis.Saved{Name: name, File: "x", EnvFile: "env.production"})
		write(host, way.Host(dir, "", []way.Part{part}))
		for text, want := range map[string]string{
			"":                               "\n\n\n",
			"REDIS_PASSWORD=' p\"a$s\\w '\n": "\n p\"a$s\\w \n\n",
			"export REDIS_USER=m\nREDIS_PASSWORD=\"x y\"\nREDIS_NAMESPACE=ns\n":           "m\nx y\nns\n",
			"REDIS_PASSWORD=first\nREDIS_PASSWORD=last\nREDIS_PASSWORD_X=no\n":            "\nlast\n\n",
			"REDIS_URL=redis://:p%40ss%25w@localhost:6379/1\nREDIS_NAMESPACE=ns\n":        "\np@ss%w\nns\n",
			"REDIS_URL='redis://m:hush@localhost'\n":                                      "m\nhush\n\n",
			"REDIS_URL=redis://alone@localhost\n":                                         "\nalone\n\n",
			"REDIS_URL=unix:///run/redis.sock\nREDIS_PASSWORD=no\n":                       "\n\n\n",
			"REDIS_PASSWORD=a\nX_REDIS_HOST=other\nX_REDIS_PASSWORD=b\nX_REDIS_USER=u\n":  "u\nb\n\n",
			"REDIS_URL=redis://:a@localhost/0\nX_REDIS_URL=redis://:b@localhost:6380/2\n": "\nb\n\n",
		} {
			if strings.Contains(text, "X_REDIS") != (name == "sidekiq") {
				continue
			}
			write(settings, strings.ReplaceAll(text, "X_REDIS", "SIDEKIQ_REDIS"))
			args := []string{"restore-step", "redis-login", "--settings", settings}
			if name == "sidekiq" {
				args = append(args, "--sidekiq")
			}
			if r := newCommand(t, args...).run(t); r.code != exitDone || r.stdout != want {
				t.Errorf("%q: code %d, %q, want %q; %s", text, r.code, r.stdout, want, r.stderr)
			}
			out, err := exec.Command("bash", "-c", ". "+host+"; redis_of "+name+"; redis_login").CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%q without permafrost: %v, %q, want %q", text, err, out, want)
			}
		}
	}
	for text, want := range map[string]string{"REDIS_PASSWORD='hush\nhush'\n": "several lines", "REDIS_PASSWORD=$(hush)\n": "shell command"} {
		write(settings, text)
		if r := newCommand(t, "restore-step", "redis-login", "--settings", settings).run(t); r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "hush") {
			t.Errorf("%q: code %d, %q, %s", text, r.code, r.stdout, r.stderr)
		}
	}
	for _, args := range []string{"redis-login", "redis-master x", "rdb"} {
		if r := newCommand(t, strings.Fields("restore-step "+args)...).run(t); r.code != exitUsage {
			t.Errorf("%s: code %d, %s", args, r.code, r.stderr)
		}
	}
}

// A master that gets no password, no whole RDB, or has no server before it, serves nothing; it ends with its standard input.
func TestStepRedisMaster(t *testing.T) {
	rdb, _ := redisDump(t, "")
	w := newRedisWay(t, rdb, "", "")
	dump := filepath.Join(w.here, "redis-dump.rdb")
	run := func(stdin string, args ...string) result {
		t.Helper()
		c := newCommand(t, append([]string{"restore-step", "redis-master"}, args...)...)
		c.Stdin = strings.NewReader(stdin)
		return c.run(t)
	}
	if r := run("hush\n", dump, "--replica", w.redis.Addr); r.code != exitDone || !strings.HasPrefix(r.stdout, "127.0.0.1 ") || strings.Contains(r.stdout+r.stderr, "hush") {
		t.Errorf("code %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	for _, stdin := range []string{"", "\n", "hush", strings.Repeat("x", 1000) + "\n"} {
		if r := run(stdin, dump, "--replica", w.redis.Addr); r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "no password") {
			t.Errorf("%.10q: code %d, %q, %s", stdin, r.code, r.stdout, r.stderr)
		}
	}
	if r := run("hush\n", dump, "--replica", "127.0.0.1:1"); r.code != exitFailed || r.stdout != "" {
		t.Errorf("no server: code %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	w.write(dump, string(cutRDB(rdb)), 0o600)
	if r := run("hush\n", dump, "--replica", w.redis.Addr); r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, "no end mark") {
		t.Errorf("a cut RDB: code %d, %q, %s", r.code, r.stdout, r.stderr)
	}
}
