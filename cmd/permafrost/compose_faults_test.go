//go:build compose

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

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
