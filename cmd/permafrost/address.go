package main

import (
	"os"

	"github.com/spf13/pflag"

	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/localdir"
	"permafrost/source"
	"permafrost/source/postgres"
	"permafrost/source/redis"
)

// addressFlags adds the flags that say where the parts of an instance are reached, each in place of what its settings say.
func addressFlags(f *pflag.FlagSet, at *source.Addresses, o *postgres.Options, r *redis.Options) {
	p := &at.Postgres
	f.StringVar(&p.Host, "postgres-host", "", "PostgreSQL's `host`, or the directory of its socket (the default of this and the next flags: the value in .env.production)")
	f.Var((*value.Port)(&p.Port), "postgres-port", "PostgreSQL's own `port`, if .env.production has a pooler's")
	f.StringVar(&p.User, "postgres-user", "", "`role` to connect as")
	f.StringVar(&p.Name, "postgres-dbname", "", "`name` of the database")
	f.StringVar(&p.PasswordFile, "postgres-password-file", "", "`file` with the role's password on one line")
	f.StringVar(&p.SSLMode, "postgres-sslmode", "", "libpq's `sslmode`: disable, allow, prefer, require, verify-ca or verify-full")
	f.StringVar(&p.SSLRootCert, "postgres-sslrootcert", "", "`file` with the certificate of the authority that signed PostgreSQL's")
	f.StringVar(&o.BinDir, "postgres-bin", "", "`directory` of pg_dump and pg_restore (default: found by the server's version)")
	f.DurationVar(&o.LockWait, "postgres-lock-wait", 0, "wait up to this long for locks of others in the database (default 15m)")
	f.StringVar(&at.Redis.URL, "redis-url", "", "Redis' `URL`, without a password: redis://HOST:PORT/DB, rediss://…, unix:///PATH")
	f.StringVar(&at.Redis.Sentinels, "redis-sentinels", "", "Redis' sentinels, in place of its URL: `HOST:PORT,HOST:PORT`")
	f.StringVar(&at.Redis.SentinelMaster, "redis-sentinel-master", "", "`name` by which the sentinels know Redis")
	f.StringVar(&at.Redis.PasswordFile, "redis-password-file", "", "`file` with Redis' password on one line")
	f.Var((*value.Spool)(&r.SpoolLimit), "redis-spool", "disk space for encrypted data that Redis sends faster than the storage takes it; 0 for none (default 1G)")
	f.StringVar(&at.Sidekiq.URL, "sidekiq-url", "", "`URL` of Sidekiq's own Redis, likewise")
	f.StringVar(&at.Sidekiq.PasswordFile, "sidekiq-password-file", "", "`file` with the password of Sidekiq's own Redis")
	f.StringVar(&at.MediaRoot, "media-root", "", "`directory` of the media")
}

// spoolFile returns what makes files for a spool, below the state directory; nil where there is none.
func spoolFile(stateDir string) func() (*os.File, error) {
	if stateDir == "" {
		return nil
	}
	return func() (*os.File, error) {
		dir, err := localdir.Open(stateDir)
		if err != nil {
			return nil, err
		}
		return dir.Unnamed()
	}
}
