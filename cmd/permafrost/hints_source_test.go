package main

import (
	"errors"

	"permafrost/source"
	"permafrost/source/deploy"
	"permafrost/source/media"
	"permafrost/source/postgres"
	"permafrost/source/redis"
	"permafrost/source/secrets"
)

func hosted(c source.Cause, text string, facts ...string) error {
	return source.Because(c, errors.New(text), facts...)
}

// sourceExamples has an error of each kind that source and its packages for settings, media and secrets export.
func sourceExamples() map[string]error {
	const env = "/home/mastodon/live/.env.production"
	return map[string]error{
		"source.CauseError": nil,

		"source.CauseAddressURL":     hosted(source.CauseAddressURL, "[postgres] host or dbname is not a name"),
		"source.CauseAddressSSLMode": hosted(source.CauseAddressSSLMode, "[postgres] sslmode is not known", "disable", "require"),
		"source.CauseRedisAddress":   hosted(source.CauseRedisAddress, "[redis] url: not a redis:, rediss: or unix: URL"),
		"source.CauseSentinels":      hosted(source.CauseSentinels, "[redis] sentinels and sentinel_master go together, and one is missing"),
		"source.CausePasswordFile":   hosted(source.CausePasswordFile, "[postgres] password_file: /etc/permafrost/pg has more than one line"),
		"source.CauseMediaRoot":      hosted(source.CauseMediaRoot, `[media] root: "public/system" is not an absolute path`),

		"source.CauseNoLive":        hosted(source.CauseNoLive, "opening the Mastodon directory: open /home/mastodon/live: no such file or directory"),
		"source.CauseUserUnclear":   hosted(source.CauseUserUnclear, "root does not act for the Mastodon in /srv/live by itself: /srv belongs to ann"),
		"source.CauseNotRoot":       hosted(source.CauseNotRoot, "only root can act as mastodon"),
		"source.CauseNotMediaAlone": hosted(source.CauseNotMediaAlone, "/home/mastodon holds Mastodon itself, and not media alone"),

		"source.CauseNoSettings":       hosted(source.CauseNoSettings, "reading the settings: open "+env+": no such file or directory"),
		"source.CauseSettingsOfUser":   hosted(source.CauseSettingsOfUser, "reading the settings as mastodon: open "+env+": permission denied"),
		"source.CauseSettingsDenied":   hosted(source.CauseSettingsDenied, "reading the settings: open "+env+": permission denied"),
		"source.CauseSettingsOwner":    hosted(source.CauseSettingsOwner, env+" belongs to ann, who is neither root nor the owner of /home/mastodon/live"),
		"source.CauseSettingsWritable": hosted(source.CauseSettingsWritable, "users other than its owner may write "+env, env),
		"source.CauseRestoredSettings": hosted(source.CauseRestoredSettings, "reading the settings: open /root/restore/.env.production: no such file or directory"),
		"source.CauseValueUnknown":     hosted(source.CauseValueUnknown, env+": DB_PASS holds a shell command, which is not run, on line 12"),
		"source.CauseNoDomain":         hosted(source.CauseNoDomain, env+": LOCAL_DOMAIN is not set"),

		"source.CauseDatabaseName":     hosted(source.CauseDatabaseName, env+": DB_HOST or DB_NAME is not a name"),
		"source.CauseTwoHosts":         hosted(source.CauseTwoHosts, env+": the database's URL has a hostaddr, and its host is the directory of a socket"),
		"source.CauseSSLMode":          hosted(source.CauseSSLMode, env+": the database's sslmode is not known", "disable", "require"),
		"source.CauseDatabaseURL":      hosted(source.CauseDatabaseURL, env+": DATABASE_URL: the URL has more than one @, or more than one host"),
		"source.CauseParameterRefused": hosted(source.CauseParameterRefused, env+": DATABASE_URL: permafrost can't do what the parameter service asks for"),
		"source.CauseParameterUnknown": hosted(source.CauseParameterUnknown, env+": DATABASE_URL: the parameter schema is unknown"),
		"source.CauseParameterHidden":  hosted(source.CauseParameterHidden, env+": DATABASE_URL: a parameter behind the ? is unknown"),
		"source.CauseRedisHost":        hosted(source.CauseRedisHost, env+": REDIS_HOST is not a name", "REDIS_URL"),
		"source.CauseRedisURL":         hosted(source.CauseRedisURL, env+": REDIS_URL: the database is not a number"),
		"source.CauseRedisParameter":   hosted(source.CauseRedisParameter, env+": REDIS_URL: the parameter cluster is unknown"),
		"source.CauseRedisHidden":      hosted(source.CauseRedisHidden, env+": REDIS_URL: a parameter behind the ? is unknown"),

		"media.CauseNoMedia":      hosted(media.CauseNoMedia, "opening the media directory: open /srv/media: no such file or directory"),
		"media.CauseNotDirectory": hosted(media.CauseNotDirectory, "opening the media directory: open /srv/media: not a directory"),
		"media.CauseOfUser":       hosted(media.CauseOfUser, "opening the media directory: open /srv/media: permission denied"),
		"media.CauseDenied":       hosted(media.CauseDenied, "opening the media directory: open /srv/media: permission denied"),
		"media.CauseNoProc":       hosted(media.CauseNoProc, "extended attributes can't be read: /proc is not mounted"),
		"media.CauseUntrusted":    hosted(media.CauseUntrusted, "setuid: 4 files: setuid and setgid bits left out: the media are not trusted"),
		"media.ErrChanged":        media.ErrChanged,
		"media.ListError":         &media.ListError{Err: errors.New("accounts: permission denied")},
		"media.LeadsOutError":     &media.LeadsOutError{Target: "/srv/media"},

		"secrets.CauseNoName":    hosted(secrets.CauseNoName, "an empty name was given"),
		"secrets.CauseNoMatch":   hosted(secrets.CauseNoMatch, "/etc/nginx/*.conf: no file matches"),
		"secrets.CauseTooMuch":   hosted(secrets.CauseTooMuch, "more than 64 MiB or 10000 files at /etc"),
		"secrets.CauseUntrusted": hosted(secrets.CauseUntrusted, "root does not read what others may put in its place: /srv belongs to ann"),
		"secrets.CauseOfUser":    hosted(secrets.CauseOfUser, "open /home/ann/key: permission denied"),
	}
}

// serverExamples has an error of each kind that the packages for PostgreSQL, Redis and containers export.
func serverExamples() map[string]error {
	db := source.Database{Host: "127.0.0.1", Port: 5432, Name: "mastodon_production", User: "mastodon"}
	connect := func(c source.Cause, text string, facts ...string) error {
		return &postgres.ConnectError{Err: hosted(c, "connecting to the "+db.String()+": "+text, facts...)}
	}
	const (
		compose = "connecting to the database mastodon_production at db:5432 as user mastodon: lookup db: no such host"
		cache   = "connecting to Redis at 127.0.0.1:6379: "
		dump    = "pg_dump failed: exit status 1: pg_dump: error: "
	)
	return map[string]error{
		"postgres.ConnectError": nil,
		"source.ReachError":     nil,

		"postgres.CauseNoServer":      connect(postgres.CauseNoServer, "dial tcp 127.0.0.1:5432: connect: connection refused"),
		"postgres.CauseNoTLS":         connect(postgres.CauseNoTLS, "the server offers no TLS"),
		"postgres.CauseWrongPassword": connect(postgres.CauseWrongPassword, `FATAL: password authentication failed for user "mastodon" (SQLSTATE 28P01)`),
		"postgres.CauseNotAdmitted":   connect(postgres.CauseNotAdmitted, `FATAL: Peer authentication failed for user "mastodon" (SQLSTATE 28000)`),
		"postgres.CauseNamelessUser":  connect(postgres.CauseNamelessUser, `FATAL: Peer authentication failed for user "mastodon" (SQLSTATE 28000)`, "user 991"),
		"postgres.CauseNoDatabase":    connect(postgres.CauseNoDatabase, `FATAL: database "mastodon_production" does not exist (SQLSTATE 3D000)`),
		"postgres.CauseNoConnection":  connect(postgres.CauseNoConnection, "FATAL: sorry, too many clients already (SQLSTATE 53300)"),
		"postgres.CauseNotReady":      connect(postgres.CauseNotReady, "FATAL: the database system is starting up (SQLSTATE 57P03)"),
		"postgres.CauseParameter":     connect(postgres.CauseParameter, `FATAL: invalid value for parameter "work_mem": "x" (SQLSTATE 22023)`),
		"postgres.CauseNoRight":       connect(postgres.CauseNoRight, `FATAL: permission denied for database "mastodon_production" (SQLSTATE 42501)`),

		"postgres.CausePooler":       hosted(postgres.CausePooler, "a connection pooler answers for the "+db.String()+", not PostgreSQL itself"),
		"postgres.CauseNotMastodon":  hosted(postgres.CauseNotMastodon, "the database test is not a Mastodon database: it has no table accounts, statuses"),
		"postgres.CauseFileDenied":   hosted(postgres.CauseFileDenied, "sslkey: as mastodon: open /etc/ssl/private/pg.key: permission denied"),
		"postgres.CauseNoTools":      hosted(postgres.CauseNoTools, "no pg_dump for PostgreSQL 17: the newest here, /usr/bin/pg_dump, is version 15.4", "17"),
		"postgres.CauseNoToolsThere": hosted(postgres.CauseNoToolsThere, "no pg_dump for PostgreSQL 17 in /opt/pg/bin", "17"),
		"postgres.CauseToolsOutside": hosted(postgres.CauseToolsOutside, "programs of this host do not reach the container live-db-1"),
		"postgres.CauseStrangeTools": hosted(postgres.CauseStrangeTools, "/home/ann/pg_dump is not run: /home/ann belongs to ann"),

		"postgres.CauseLocked":       hosted(postgres.CauseLocked, "gave up waiting for a lock after 10m0s: alter table statuses by psql (PID 1234)"),
		"postgres.CauseHalted":       hosted(postgres.CauseHalted, "pg_dump sent nothing for 30m0s"),
		"postgres.CauseStopped":      hosted(postgres.CauseStopped, dump+"query failed: server closed the connection unexpectedly"),
		"postgres.CauseSnapshotLost": hosted(postgres.CauseSnapshotLost, dump+`query failed: ERROR: invalid snapshot identifier: "00000003-00000005-1"`),
		"postgres.CauseConflict":     hosted(postgres.CauseConflict, dump+"query failed: ERROR: canceling statement due to conflict with recovery"),
		"postgres.CauseUnreadable":   hosted(postgres.CauseUnreadable, dump+"query failed: ERROR: permission denied for table accounts", `"mastodon"`),
		"postgres.CauseRowsHidden":   hosted(postgres.CauseRowsHidden, dump+"query failed: ERROR: query would be affected by row-level security policy", `"mastodon"`),
		"postgres.CauseDamaged":      hosted(postgres.CauseDamaged, dump+`query failed: ERROR: invalid page in block 1 of relation "statuses"`, "mastodon_production"),

		"redis.CauseNoServer":      hosted(redis.CauseNoServer, cache+"dial tcp 127.0.0.1:6379: connect: connection refused"),
		"redis.CauseNoServerHere":  hosted(redis.CauseNoServerHere, "connecting to Redis at 10.0.0.5:6379: dial tcp 10.0.0.5:6379: connect: connection refused"),
		"redis.CauseSocketDenied":  hosted(redis.CauseSocketDenied, "connecting to Redis at /run/redis.sock: dial unix /run/redis.sock: connect: permission denied"),
		"redis.CauseWrongUser":     hosted(redis.CauseWrongUser, cache+"WRONGPASS invalid username-password pair or user is disabled."),
		"redis.CauseWrongPassword": hosted(redis.CauseWrongPassword, cache+"ERR invalid password"),
		"redis.CauseNoPassword":    hosted(redis.CauseNoPassword, cache+"NOAUTH Authentication required."),
		"redis.CauseNoDatabase":    hosted(redis.CauseNoDatabase, cache+"ERR DB index is out of range"),
		"redis.CauseAuthority":     hosted(redis.CauseAuthority, cache+"tls: failed to verify certificate: x509: certificate signed by unknown authority"),
		"redis.CauseNoTLS":         hosted(redis.CauseNoTLS, cache+"no answer to the TLS handshake"),
		"redis.CauseHungUp":        hosted(redis.CauseHungUp, cache+"EOF"),

		"redis.CauseNoMaster":   hosted(redis.CauseNoMaster, "NOMASTERLINK Can't SYNC while not connected with my master"),
		"redis.CauseNotAllowed": hosted(redis.CauseNotAllowed, "by replication: NOPERM User mastodon has no permissions to run the 'psync' command; by BGSAVE: NOPERM User mastodon has no permissions to run the 'bgsave' command", "ACL SETUSER mastodon +psync +replconf +ping"),
		"redis.CauseRenamed":    hosted(redis.CauseRenamed, "by replication: ERR unknown command 'PSYNC'; by BGSAVE: ERR unknown command 'BGSAVE'; by the file that it saved by itself: open /var/lib/redis/dump.rdb: no such file or directory"),
		"redis.CauseSpoolFull":  hosted(redis.CauseSpoolFull, "the storage is slower than Redis sends: more than 1024 MiB would have to wait on this disk"),
		"redis.CauseSpoolDisk":  hosted(redis.CauseSpoolDisk, "keeping what Redis sends until the storage takes it: no space left on device"),
		"redis.CauseNewerDump":  hosted(redis.CauseNewerDump, "the dump is an RDB of version REDIS 12, and the server reads none above REDIS 11"),
		"redis.CauseReplaced":   hosted(redis.CauseReplaced, "the server has 12 keys in database 1, and the dump has none there: all would be lost"),

		"deploy.CauseNoEngine":          hosted(deploy.CauseNoEngine, "the container engine: podman is not in PATH"),
		"deploy.CauseEngineFails":       hosted(deploy.CauseEngineFails, "asking the container engine: docker: Cannot connect to the Docker daemon"),
		"deploy.CauseTwoEngines":        hosted(deploy.CauseTwoEngines, "docker and podman both have a Compose project of /home/mastodon/live"),
		"deploy.CauseNoProject":         hosted(deploy.CauseNoProject, `no container belongs to a Compose project "mastodon"`),
		"deploy.CauseSeveralProjects":   hosted(deploy.CauseSeveralProjects, "several Compose projects have this directory: live, test"),
		"deploy.CauseSeveralContainers": hosted(deploy.CauseSeveralContainers, "redis is 2 containers of the project live: live-redis-1, live-redis-2"),
		"deploy.CauseStopped":           hosted(deploy.CauseStopped, "the container live-db-1 of the project live is exited", "docker", "live-db-1"),
		"deploy.CauseNoListener":        hosted(deploy.CauseNoListener, "reaching the container live-db-1: by its network: connection refused", "docker", "live-db-1"),
		"deploy.CauseServiceUntold":     hosted(deploy.CauseServiceUntold, compose, "db", "/home/mastodon/live", "docker-compose.yml", "Cannot connect to the Docker daemon"),
		"deploy.CauseServiceNoEngine":   hosted(deploy.CauseServiceNoEngine, compose, "db", "/home/mastodon/live", ""),
		"deploy.CauseServiceDown":       hosted(deploy.CauseServiceDown, compose, "db", "/home/mastodon/live", "docker-compose.yml"),
		"deploy.CauseNoService":         hosted(deploy.CauseNoService, compose, "db", "live", "postgres", "redis", "web"),
	}
}

// sourceHintless are those that have no hint by their kind, and why.
func sourceHintless() map[string]string {
	return map[string]string{
		"source.CauseError":     "its cause has one",
		"source.ReachError":     "what it wraps has one",
		"postgres.ConnectError": "what it wraps has one",
		"media.ErrChanged":      "the file is left out and named",
		"media.ListError":       "the directory is left out and named",
		"media.LeadsOutError":   "the file is left out and named",
	}
}
