package redis

import (
	"os/exec"
	"strings"
	"testing"

	"permafrost/source"
	"permafrost/source/way"
)

// Variables say where the server was: at an address, at a socket, in a container.
func TestWayBackVars(t *testing.T) {
	compose := source.Deployment{Kind: source.Compose, Engine: "podman", Services: []source.Service{{Name: "db", Container: "m-db-1"}, {Name: "redis", Container: "m-redis-1"}}}
	for name, c := range map[string]struct {
		saved Saved
		want  map[string]string
	}{
		"address": {Saved{Name: "redis", Facts: Facts{Network: "tcp", Addr: "[2001:db8::1]:6380", TLS: true, DB: 3, Name: "valkey", Version: "8.0.1", Keys: map[int]int64{3: 12}},
			Dump: DumpFacts{RDBVersion: 11}, File: "redis-dump.rdb", EnvFile: "env.production", Mode: "without-jobs"},
			map[string]string{"redis_host": "2001:db8::1", "redis_port": "6380", "redis_socket": "", "redis_tls": "yes", "redis_db": "3",
				"redis_file": "redis-dump.rdb", "redis_settings": "env.production", "redis_mode": "without-jobs", "redis_container": "", "redis_service": ""}},
		"socket": {Saved{Name: "sidekiq", Facts: Facts{Network: "unix", Addr: "/run/redis/s"}},
			map[string]string{"sidekiq_host": "", "sidekiq_port": "", "sidekiq_socket": "/run/redis/s", "sidekiq_tls": "", "sidekiq_mode": "all"}},
		"container": {Saved{Name: "redis", Facts: Facts{Network: "tcp", Addr: "redis:6379"}, Deployment: compose},
			map[string]string{"redis_container": "m-redis-1", "redis_engine": "podman", "redis_host": "redis"}},
		"no container": {Saved{Name: "redis", Facts: Facts{Network: "tcp", Addr: "10.0.0.7:6379"}, Deployment: compose},
			map[string]string{"redis_container": "", "redis_host": "10.0.0.7"}},
		"nothing known": {Saved{Name: "redis"}, map[string]string{"redis_host": "", "redis_socket": ""}},
	} {
		got := make(map[string]string)
		about := ""
		for _, v := range WayBack(c.saved).Vars {
			got[v.Name] = strings.Join(v.Values, " ")
			about += v.About + "\n"
		}
		for v, want := range c.want {
			if value, ok := got[v]; !ok || value != want {
				t.Errorf("%s: %s is %q, want %q", name, v, value, want)
			}
		}
		if name == "address" && !strings.Contains(about, "valkey 8.0.1, RDB version 11, 12 keys in database 3") {
			t.Errorf("the variables are about\n%s", about)
		}
	}
}

// Each step is bash, and names nothing of an instance.
func TestWayBackSteps(t *testing.T) {
	part := WayBack(Saved{Name: "sidekiq", Facts: Facts{Network: "tcp", Addr: "cache.example:6379"}, File: "x$(id).rdb", EnvFile: "it's"})
	if len(part.Steps) != 3 {
		t.Fatalf("%d steps", len(part.Steps))
	}
	texts := []string{way.Host("/h", "", []way.Part{part})}
	for i := range part.Steps {
		texts = append(texts, way.Block("/h/plan/host.sh", "1", &part.Steps[i]))
	}
	for i, text := range texts {
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v: %s", err, out)
		}
		if i > 0 && strings.Contains(text, "example") {
			t.Errorf("a step names the server:\n%s", text)
		}
	}
}
