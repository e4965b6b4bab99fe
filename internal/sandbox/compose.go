package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The users of an image, as numbers.
const (
	imageRedis    = 998
	imageMastodon = 991
)

// composeFile is a project as Mastodon's own docker-compose.yml has it: no port is published, and db and redis are on an internal network.
const composeFile = `version: '3'
services:
  db:
    image: IMAGE
    user: postgres
    working_dir: /var/lib/postgresql
    command: [sh, -c, 'test -e data/PG_VERSION || { initdb -D data -U postgres --auth=trust --locale=C.UTF-8 -E UTF8 && printf "%s\n" "local all all trust" "host all mastodon all scram-sha-256" "host all all all trust" >data/pg_hba.conf; } >&2 && exec postgres -D data -c listen_addresses="*" -c fsync=off']
    networks: [internal_network]
    volumes: ['database:/var/lib/postgresql']
  redis:
    image: IMAGE
    user: redis
    working_dir: /data
    command: [redis-server, --protected-mode, 'no', --save, '', --repl-diskless-sync-delay, '0']
    networks: [internal_network]
    volumes: ['./redis:/data']
  web:
    image: IMAGE
    user: mastodon
    working_dir: /opt/mastodon
    command: [sleep, infinity]
    stop_signal: SIGKILL
    env_file: .env.production
    networks: [external_network, internal_network]
    volumes: ['MEDIA:/mastodon/public/system']
networks:
  external_network:
  internal_network:
    internal: true
volumes:
  database:
  media:
`

// Compose is a running Compose project on a container engine, with the content of an Instance in it.
type Compose struct {
	Live    string // the project's directory, with .env.production
	Project string
	Image   string

	instance *Instance
	volume   bool // media are in a volume
}

// StartCompose makes an image and a project of a copy of the instance's content, and runs it. The engine is that of docker's own command;
// docker-compose must be there.
func StartCompose(ctx context.Context, i *Instance) (*Compose, error) {
	name := "permafrost-" + strings.ToLower(rand.Text()[:8])
	c := &Compose{Live: filepath.Join(i.Dir, "compose"), Project: name, Image: name + ":test", instance: i}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a Compose project: %w", err), c.Stop())
	}
	return c, nil
}

func (c *Compose) start(ctx context.Context) error {
	if err := c.importImage(ctx); err != nil {
		return err
	}
	if err := c.makeDir(ctx); err != nil {
		return err
	}
	if err := c.Up(ctx); err != nil {
		return err
	}
	return c.fill(ctx)
}

// importImage makes the image.
func (c *Compose) importImage(ctx context.Context) error {
	path := filepath.Join(c.instance.Dir, "image.tar")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if err := errors.Join(WriteImage(ctx, f), f.Close()); err != nil {
		return err
	}
	_, err = c.Docker(ctx, "import", "--change", "ENV PATH=/bin:/usr/bin", path, c.Image)
	return err
}

// makeDir makes the project's directory: settings, media, Redis' data.
func (c *Compose) makeDir(ctx context.Context) error {
	media, redis := filepath.Join(c.Live, "public", "system"), filepath.Join(c.Live, "redis")
	if err := errors.Join(os.MkdirAll(filepath.Dir(media), 0o755), os.MkdirAll(redis, 0o755)); err != nil {
		return err
	}
	if err := copyTree(ctx, c.instance.System(), media, imageMastodon); err != nil {
		return err
	}
	if err := c.saveRedis(ctx, redis); err != nil {
		return err
	}
	return errors.Join(c.SetEnv(nil), c.writeFile())
}

func (c *Compose) saveRedis(ctx context.Context, dir string) error {
	r := c.instance.Redis
	host, port, _ := strings.Cut(r.Addr, ":")
	save := exec.CommandContext(ctx, "redis-cli", "-h", host, "-p", port, "save")
	save.Env = append(os.Environ(), "REDISCLI_AUTH="+r.Password)
	if out, err := save.CombinedOutput(); err != nil || !strings.Contains(string(out), "OK") {
		return fmt.Errorf("redis-cli save: %w: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(r.Dir, "dump.rdb"))
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "dump.rdb")
	return errors.Join(os.WriteFile(path, data, 0o600), os.Chown(path, imageRedis, imageRedis), os.Chown(dir, imageRedis, imageRedis))
}

// SetEnv writes the settings: those of the instance, with the services' names for addresses, and then some.
func (c *Compose) SetEnv(extra []string) error {
	text, err := os.ReadFile(filepath.Join(c.instance.Live, ".env.production"))
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "DB_") && !strings.HasPrefix(line, "REDIS_") {
			b.WriteString(line)
		}
	}
	for _, line := range append([]string{"DB_HOST=db", "DB_NAME=postgres", "DB_USER=postgres", "REDIS_HOST=redis"}, extra...) {
		b.WriteString(line + "\n")
	}
	return os.WriteFile(filepath.Join(c.Live, ".env.production"), []byte(b.String()), 0o600)
}

// UseVolume moves the media to a volume, and makes Mastodon's container anew.
func (c *Compose) UseVolume(ctx context.Context) error {
	c.volume = true
	if err := c.writeFile(); err != nil {
		return err
	}
	if err := c.Up(ctx); err != nil {
		return err
	}
	dir, err := c.Docker(ctx, "volume", "inspect", "--format", "{{.Mountpoint}}", c.Project+"_media")
	if err != nil {
		return err
	}
	from := filepath.Join(c.Live, "public")
	if err := copyTree(ctx, filepath.Join(from, "system"), strings.TrimSpace(dir), imageMastodon); err != nil {
		return err
	}
	return os.RemoveAll(from)
}

func (c *Compose) writeFile() error {
	media := "./public/system"
	if c.volume {
		media = "media"
	}
	text := strings.NewReplacer("IMAGE", c.Image, "MEDIA", media).Replace(composeFile)
	return os.WriteFile(filepath.Join(c.Live, "docker-compose.yml"), []byte(text), 0o644)
}

// copyTree copies what is below a directory, with attributes, and gives it to a user.
func copyTree(ctx context.Context, from, to string, uid int) error {
	for _, args := range [][]string{{"cp", "-a", "--", from + "/.", to}, {"chown", "-Rh", fmt.Sprintf("%d:%d", uid, uid), "--", to}} {
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// Up makes the project what its file says, and waits until its database answers.
func (c *Compose) Up(ctx context.Context, args ...string) error {
	if _, err := c.Command(ctx, append([]string{"up", "--detach", "--no-color"}, args...)...); err != nil {
		return err
	}
	for end := time.Now().Add(startLimit); ; {
		_, err := c.SQL(ctx, "select 1")
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// fill copies the instance's database, and makes a role that needs a password.
func (c *Compose) fill(ctx context.Context) error {
	dump := c.instance.Postgres.Command(ctx, "pg_dump", "--no-owner", "--no-acl", Database)
	var sql, said bytes.Buffer
	dump.Stdout, dump.Stderr = &sql, &said
	if err := dump.Run(); err != nil {
		return fmt.Errorf("pg_dump: %w: %s", err, said.String())
	}
	_, err := c.SQL(ctx, sql.String())
	return err
}

// SQL runs statements in the project's database, and returns what psql printed.
func (c *Compose) SQL(ctx context.Context, sql string) (string, error) {
	return c.docker(ctx, sql, "exec", "--interactive", c.Container("db"), "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "/var/run/postgresql", "-U", "postgres")
}

// Container names the first container of a service.
func (c *Compose) Container(service string) string { return c.Project + "_" + service + "_1" }

// Docker runs the engine's command, and returns what it printed.
func (c *Compose) Docker(ctx context.Context, args ...string) (string, error) {
	return c.docker(ctx, "", args...)
}

func (c *Compose) docker(ctx context.Context, stdin string, args ...string) (string, error) {
	return run(ctx, stdin, "", "docker", args...)
}

// Command runs docker-compose for the project, and returns what it printed.
func (c *Compose) Command(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "", c.Live, "docker-compose", append([]string{"--project-name", c.Project}, args...)...)
}

func run(ctx context.Context, stdin, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = strings.NewReader(stdin), &out, &said, dir
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", program, args[0], err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// Stop removes the project's containers, networks and volumes, and its image. Its directory goes with the instance's.
func (c *Compose) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	var errs []error
	remove := func(list []string, remove ...string) {
		out, err := c.Docker(ctx, list...)
		if names := strings.Fields(out); err == nil && len(names) > 0 {
			_, err = c.Docker(ctx, append(remove, names...)...)
		}
		errs = append(errs, err)
	}
	for _, filter := range []string{"label=com.docker.compose.project.working_dir=" + c.Live, "ancestor=" + c.Image} {
		remove([]string{"ps", "--all", "--quiet", "--filter", filter}, "rm", "--force", "--volumes")
	}
	for _, project := range []string{c.Project, c.Project + "-other"} {
		filter := "label=com.docker.compose.project=" + project
		remove([]string{"network", "ls", "--quiet", "--filter", filter}, "network", "rm")
		remove([]string{"volume", "ls", "--quiet", "--filter", filter}, "volume", "rm")
	}
	remove([]string{"images", "--quiet", c.Image}, "rmi", "--force")
	return errors.Join(errs...)
}
