//go:build compose

package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/source"
)

// A server in a container gets its data back by its volume, whatever its network is like.
func TestComposeRedis(t *testing.T) {
	rdb, sum := redisDump(t, "")
	docker := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %s: %v: %s", args, err, out)
		}
	}
	image := "permafrost-" + strings.ToLower(rand.Text()[:8]) + ":test"
	archive := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(archive)
	if err == nil {
		err = sandbox.WriteImage(t.Context(), f)
	}
	if err != nil {
		t.Fatal(err)
	}
	docker("import", "--change", "ENV PATH=/bin:/usr/bin", archive, image)
	t.Cleanup(func() { exec.Command("docker", "rmi", "--force", image).Run() })
	for i, c := range []struct {
		password, args string
		plain          bool
	}{{args: "--save 60 1"}, {password: "x y", args: "--appendonly yes"}, {password: "x", args: "--appendonly yes", plain: true}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := t.TempDir()
			w := &redisWay{t: t, redis: &sandbox.Redis{Addr: "redis:6379", Dir: filepath.Join(dir, "data"), Password: c.password}, plain: c.plain,
				container: strings.TrimSuffix(image, ":test") + fmt.Sprint("-redis-", i)}
			w.restored(dir, rdb, c.password)
			w.saved.Deployment = source.Deployment{Kind: source.Compose, Engine: "docker", Services: []source.Service{{Name: "redis", Container: w.container}}}
			if err := os.MkdirAll(w.redis.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(w.redis.Dir, 998, 998); err != nil {
				t.Fatal(err)
			}
			run := []string{"run", "--detach", "--name", w.container, "--network", "none", "--user", "998:998", "--workdir", "/data",
				"--volume", w.redis.Dir + ":/data", image, "redis-server", "--enable-debug-command", "yes"}
			docker(append(append(run, "--requirepass", c.password), strings.Fields(c.args)...)...)
			t.Cleanup(func() { exec.Command("docker", "rm", "--force", "--volumes", w.container).Run() })
			w.restart() // and wait until it answers
			w.feed("set feed:old 1\n")
			w.vars = map[string]string{"redis_replace": map[bool]string{true: "yes"}[c.plain]}
			w.must(redisSteps...)
			w.holds(sum)
			if got := w.aside(); len(got) != 1 || got[0].Databases[0].Keys != 1 {
				t.Errorf("what was put aside: %+v", got)
			}
			// Stopped in the middle, and begun again.
			w.feed("flushall\nset feed:old 1\n")
			if out, err := w.step("redis-load", `trap '[ "${FUNCNAME[0]-}" != redis_start ] || kill -KILL 0' DEBUG; set -T`); err == nil {
				t.Fatalf("it was not killed\n%s", out)
			}
			w.must(redisSteps[1:]...)
			w.holds(sum)
			newer := append([]byte("REDIS0099"), rdb[9:]...)
			w.write(filepath.Join(w.here, "redis-dump.rdb"), string(resum(newer)), 0o600)
			w.refused("redis-check", "99")
		})
	}
}
