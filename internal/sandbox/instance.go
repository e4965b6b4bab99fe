package sandbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Database is the name of an instance's database.
const Database = "mastodon_production"

// Markers are strings that an instance holds in one place each, for tests that
// look for them where nothing may be read: in a repository, or in a log.
var Markers = struct {
	Status      string // text of a status
	Account     string // a user's name
	Secret      string // in .env.production
	Job         string // argument of a job in queue:default
	FileName    string // of a file below public/system
	FileContent string // in that file
}{
	Status:      "Marker of a status: the glacier tells nobody what it was given to keep.",
	Account:     "marker_of_an_account",
	Secret:      "marker-of-a-secret-3f9d0c",
	Job:         "marker of a job, waiting in the queue",
	FileName:    "marker-of-a-file-name.jpg",
	FileContent: "marker of a file's content, in its comment",
}

// Where the markers are.
const (
	markedStatus  = 7
	markedAccount = 3
)

//go:embed sql/tables.sql
var tablesSQL string

//go:embed sql/constraints.sql
var constraintsSQL string

//go:embed sql/sequences.sql
var sequencesSQL string

// Config says what an instance is to be like. Same numbers, same content, but
// for passwords and ports.
type Config struct {
	Dir      string // where the instance's directory is made; "" for the temporary directory
	Seed     uint64
	Statuses int // default 60,000, which make a dump of some 57 MB
	Files    int // below public/system, roughly; default 2,000, which are some 200 MB

	Peer    bool // Mastodon reaches PostgreSQL by its socket, with no password
	Sidekiq bool // Sidekiq's queues have a Redis of their own

	Redis RedisConfig // a password is made up where it has none
	SSHD  SSHDConfig
}

// Instance is a small Mastodon server at rest: all that a backup sees of one,
// and the SSH server to put the backup on. Nothing of Mastodon itself runs.
type Instance struct {
	Dir  string // holds everything; Stop removes it
	Live string // the directory of Mastodon's code, with .env.production and public/system
	Home string // a home directory, whose SSH configuration reaches SSHD as "backup.example"

	Postgres *Postgres
	Redis    *Redis
	Sidekiq  *Redis // the one with the queues; the same as Redis unless Config says otherwise
	SSHD     *SSHD

	world *world
	tree  *tree
	days  int // of churn so far
}

// Start makes an instance.
func Start(ctx context.Context, c Config) (*Instance, error) {
	if c.Statuses == 0 {
		c.Statuses = 60_000
	}
	if c.Files == 0 {
		c.Files = 2_000
	}
	dir, err := os.MkdirTemp(c.Dir, "mastodon-")
	if err != nil {
		return nil, err
	}
	i := &Instance{
		Dir:   dir,
		Live:  filepath.Join(dir, "live"),
		Home:  filepath.Join(dir, "home"),
		world: newWorld(c.Seed, c.Statuses, c.Files),
	}
	if err := i.start(ctx, c); err != nil {
		return nil, errors.Join(err, i.Stop())
	}
	return i, nil
}

func (i *Instance) start(ctx context.Context, c Config) error {
	if err := i.startServers(ctx, c); err != nil {
		return err
	}
	if err := i.writeHome(); err != nil {
		return err
	}
	uid, gid := -1, -1
	if os.Geteuid() == 0 {
		u, g, err := i.Postgres.ids()
		if err != nil {
			return err
		}
		uid, gid = int(u), int(g)
	}
	i.tree = &tree{root: filepath.Join(i.Live, "public", "system"), uid: uid, gid: gid}
	if err := i.tree.mkdir(i.tree.root); err != nil {
		return err
	}
	if err := i.writeEnv(c); err != nil {
		return err
	}
	if err := i.writeCode(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return i.fillDatabase(ctx) })
	g.Go(func() error {
		for _, files := range []func() error{
			func() error { return i.tree.write(ctx, i.world.fixedFiles()) },
			func() error { return i.tree.write(ctx, i.world.flowingFiles(0, i.world.statuses)) },
			func() error { return i.tree.links(i.world) },
		} {
			if err := files(); err != nil {
				return fmt.Errorf("making media files: %w", err)
			}
		}
		return nil
	})
	g.Go(func() error {
		if err := fillTimelines(ctx, i.Redis, i.world); err != nil {
			return err
		}
		return fillQueues(ctx, i.Sidekiq, i.world)
	})
	return g.Wait()
}

// startServers starts them side by side; each that started is in its field,
// also where another failed.
func (i *Instance) startServers(ctx context.Context, c Config) error {
	if c.Redis.Password == "" {
		c.Redis.Password = i.world.rand(kindEnv, 1).hex(16)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		i.Postgres, err = StartPostgres(ctx, i.Dir)
		return err
	})
	g.Go(func() (err error) {
		c.Redis.Own = true
		if i.Redis, err = StartRedis(ctx, i.Dir, c.Redis); err != nil || !c.Sidekiq {
			i.Sidekiq = i.Redis
			return err
		}
		i.Sidekiq, err = StartRedis(ctx, filepath.Join(i.Dir, "sidekiq"), c.Redis)
		return err
	})
	g.Go(func() (err error) {
		i.SSHD, err = StartSSHD(ctx, i.Dir, c.SSHD)
		return err
	})
	return g.Wait()
}

// fillDatabase makes tables and rows, two tables at a time, then the indexes.
func (i *Instance) fillDatabase(ctx context.Context) error {
	p := i.Postgres
	if err := p.Exec(ctx, "postgres", "CREATE DATABASE "+Database+" TEMPLATE template0"); err != nil {
		return err
	}
	if err := p.Exec(ctx, Database, tablesSQL); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, t := range fixed {
		g.Go(func() error { return p.copyRows(gctx, Database, i.world, t, 0, 0) })
	}
	for _, t := range flowing {
		g.Go(func() error { return p.copyRows(gctx, Database, i.world, t, 0, i.world.statuses) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := p.Exec(ctx, Database, constraintsSQL); err != nil {
		return err
	}
	return p.Exec(ctx, Database, sequencesSQL+"VACUUM ANALYZE;\n")
}

// writeHome makes a home directory from which "ssh backup.example" works.
func (i *Instance) writeHome() error {
	dir := filepath.Join(i.Home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := os.ReadFile(i.SSHD.KnownHosts)
	if err != nil {
		return err
	}
	port := strconv.Itoa(i.SSHD.Port)
	_, hostKey, _ := strings.Cut(string(key), " ")
	known := string(key) + "[backup.example]:" + port + " " + hostKey
	config := "Host backup.example\n  HostName " + i.SSHD.Host + "\n  Port " + port + "\n  User " + i.SSHD.User +
		"\n  IdentityFile " + i.SSHD.IdentityFile + "\n  IdentitiesOnly yes\n  UserKnownHostsFile " + filepath.Join(dir, "known_hosts") + "\n"
	for name, text := range map[string]string{"known_hosts": known, "config": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// System is the root of the media tree.
func (i *Instance) System() string { return i.tree.root }

// Env is the environment for programs that act as the instance's
// administrator: the home directory is the sandbox's, and its SSH
// configuration is permafrost's.
func (i *Instance) Env() []string {
	env := []string{"HOME=" + i.Home, "PERMAFROST_SSH_CONFIG=" + filepath.Join(i.Home, ".ssh", "config")}
	for _, name := range []string{"PATH", "TMPDIR", "TERM", "USER", "LOGNAME"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// Stop ends every server and removes the instance's directory.
func (i *Instance) Stop() error {
	var errs []error
	if i.SSHD != nil {
		errs = append(errs, i.SSHD.Stop())
	}
	if i.Redis != nil {
		errs = append(errs, i.Redis.Stop())
	}
	if i.Sidekiq != nil {
		errs = append(errs, i.Sidekiq.Stop())
	}
	if i.Postgres != nil {
		errs = append(errs, i.Postgres.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(i.Dir))...)
}

// writeEnv writes .env.production as `mastodon:setup` would.
func (i *Instance) writeEnv(c Config) error {
	r := i.world.rand(kindEnv, 0)
	var b strings.Builder
	set := func(name, value string) { b.WriteString(name + "=" + value + "\n") }
	b.WriteString("# Generated with mastodon:setup on 2023-06-27 03:00:00 UTC\n\n")
	set("LOCAL_DOMAIN", domain)
	set("SINGLE_USER_MODE", "false")
	set("SECRET_KEY_BASE", r.hex(64))
	set("OTP_SECRET", r.hex(64))
	set("ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY", r.base64(32))
	set("ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT", r.base64(32))
	set("ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY", r.base64(32))
	set("VAPID_PRIVATE_KEY", r.base64(43)+"=")
	set("VAPID_PUBLIC_KEY", r.base64(87)+"=")
	if c.Peer {
		set("DB_HOST", i.Postgres.SocketDir)
	} else {
		set("DB_HOST", i.Postgres.Host)
		set("DB_PASS", i.Postgres.Password)
	}
	set("DB_PORT", strconv.Itoa(i.Postgres.Port))
	set("DB_NAME", Database)
	set("DB_USER", i.Postgres.User)
	host, port, err := net.SplitHostPort(i.Redis.Addr)
	if err != nil {
		return err
	}
	set("REDIS_HOST", host)
	set("REDIS_PORT", port)
	set("REDIS_PASSWORD", i.Redis.Password)
	if i.Sidekiq != i.Redis {
		set("SIDEKIQ_REDIS_URL", i.Sidekiq.URL())
	}
	set("SMTP_SERVER", "smtp.mail.example")
	set("SMTP_PORT", "587")
	set("SMTP_LOGIN", "mastodon")
	set("SMTP_PASSWORD", `"`+Markers.Secret+`"`)
	set("SMTP_FROM_ADDRESS", "'Mastodon <notifications@"+domain+">'")
	set("IP_RETENTION_PERIOD", "31556952")
	set("SESSION_RETENTION_PERIOD", "31556952")
	path := filepath.Join(i.Live, ".env.production")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Chown(path, i.tree.uid, i.tree.gid)
}
