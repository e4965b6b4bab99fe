package hints

import (
	"strings"

	"permafrost/source"
	"permafrost/source/deploy"
	"permafrost/source/media"
	"permafrost/source/postgres"
	"permafrost/source/redis"
	"permafrost/source/secrets"
)

const (
	sayUser     = "name Mastodon's user: --user NAME (or a number)"
	sayDatabase = "set host, port, dbname, user and password_file below [postgres] in permafrost.toml"
	sayRedis    = "take it out of the URL, or set url below [redis] or [sidekiq] in permafrost.toml"
	inTheURL    = "write a ? or a & of a password as %3F or %26. Otherwise "
)

// hosts gives the hint for errors of source and the packages below it with a cause.
func hosts(c source.Cause, hint string) rule {
	return as(func(e *source.CauseError) string { return only(e.Cause == c, tell(hint, e.Facts)) })
}

// sourceRules are the hints for what can go wrong with the Mastodon host.
func sourceRules() []rule {
	return append([]rule{
		hosts(source.CauseAddressURL, "set host, port, user, dbname and password_file instead of a URL"),
		hosts(source.CauseAddressSSLMode, "write one of: {}"),
		hosts(source.CauseRedisAddress, "write redis://HOST:PORT/DB, rediss://... for TLS, or unix:///PATH; a user goes before the host: redis://USER@HOST"),
		hosts(source.CauseSentinels, `write sentinels = "HOST:PORT,HOST:PORT" and sentinel_master = "NAME", and no url`),
		hosts(source.CausePasswordFile, "write the password, and nothing else, on one line of the file"),
		hosts(source.CauseMediaRoot, "write the path from / on"),

		hosts(source.CauseNoLive, "name the directory of Mastodon's code and .env.production with --live; often it is /home/mastodon/live"),
		hosts(source.CauseUserUnclear, sayUser),
		hosts(source.CauseNotRoot, "run permafrost as root, or as that user and without --user"),
		hosts(source.CauseNotMediaAlone, "correct PAPERCLIP_ROOT_PATH in .env.production, or name the media's directory: root below [media] in permafrost.toml, --media-root"),

		hosts(source.CauseNoSettings, "name the directory of Mastodon's .env.production with --live"),
		hosts(source.CauseSettingsOfUser, "let Mastodon's own user read the file (chown, chmod), or "+sayUser),
		hosts(source.CauseSettingsDenied, "run permafrost as root, or as the user that owns the file"),
		hosts(source.CauseSettingsOwner, "give the file to the user that Mastodon runs as (chown), or "+sayUser),
		hosts(source.CauseSettingsWritable, "chmod go-w {$1}"),
		hosts(source.CauseRestoredSettings, "name the restored settings file with --settings"),
		hosts(source.CauseValueUnknown, "write its value out"),
		hosts(source.CauseNoDomain, "check that this is the right file: every Mastodon instance has LOCAL_DOMAIN in .env.production"),

		hosts(source.CauseDatabaseName, "write a whole URL as DATABASE_URL"),
		hosts(source.CauseTwoHosts, "take one of them out of the URL"),
		hosts(source.CauseSSLMode, "set DB_SSLMODE, or sslmode in DATABASE_URL, to one of: {}"),
		hosts(source.CauseDatabaseURL, "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with @ / # in the password as %40 %2F %23"),
		hosts(source.CauseParameterRefused, sayDatabase),
		hosts(source.CauseParameterUnknown, "take it out of the URL, or "+sayDatabase),
		hosts(source.CauseParameterHidden, inTheURL+sayDatabase),
		hosts(source.CauseRedisHost, "write a whole URL as {1}"),
		hosts(source.CauseRedisURL, "write redis://:PASSWORD@HOST:PORT/DB, rediss://... for TLS, or unix:///PATH, with @ / # in the password as %40 %2F %23"),
		hosts(source.CauseRedisParameter, sayRedis),
		hosts(source.CauseRedisHidden, inTheURL+sayRedis),

		hosts(media.CauseNoMedia, "check that their file system is mounted, and PAPERCLIP_ROOT_PATH in .env.production; by default they are in public/system"),
		hosts(media.CauseNotDirectory, "name a directory as PAPERCLIP_ROOT_PATH in .env.production"),
		hosts(media.CauseOfUser, "let Mastodon's user reach and read the media (chown), or "+sayUser),
		hosts(media.CauseDenied, "run permafrost as root, or as the user that owns the media"),
		hosts(media.CauseNoProc, "mount -t proc proc /proc"),
		hosts(media.CauseUntrusted, "`--trust-media` restores them as they were"),

		hosts(secrets.CauseNoName, "give the name of a file, a directory or a pattern: a variable may be unset"),
		hosts(secrets.CauseNoMatch, "correct the pattern, or take it out of the list of secrets"),
		hosts(secrets.CauseTooMuch, "name the files themselves, not a directory above them"),
		hosts(secrets.CauseUntrusted, "let nobody but root write there, or keep the file in a directory of root's"),
		hosts(secrets.CauseOfUser, "let whoever owns a part of the path read the file, or keep it in a directory of root's"),
	}, serverRules()...)
}

// serverRules are the hints for PostgreSQL, Redis and their containers.
func serverRules() []rule {
	return []rule{
		as(connectHint),
		hosts(postgres.CauseNoServer, "check that PostgreSQL runs, and DB_HOST and DB_PORT (or DATABASE_URL) in .env.production"),
		hosts(postgres.CauseNoTLS, "set ssl = on in postgresql.conf, or on a trusted network another sslmode: [postgres] in permafrost.toml, or DB_SSLMODE"),
		hosts(postgres.CauseWrongPassword, "compare DB_PASS (or DATABASE_URL) in .env.production with the role's password in PostgreSQL"),
		hosts(postgres.CauseNotAdmitted, "look at pg_hba.conf; with peer authentication, run permafrost as root or as Mastodon's own user"),
		hosts(postgres.CauseNamelessUser, "give {1} a name on this host, which peer authentication needs, or name Mastodon's user with --user"),
		hosts(postgres.CauseNoDatabase, "compare DB_NAME (or DATABASE_URL) in .env.production with the list of `psql -l`"),
		hosts(postgres.CauseNoConnection, "try again later, or raise max_connections: every connection that PostgreSQL allows is taken"),
		hosts(postgres.CauseNotReady, "try again in a moment: PostgreSQL is starting or stopping"),
		hosts(postgres.CauseParameter, "take back the setting of the role, the database or the server that the error names"),
		hosts(postgres.CauseNoRight, "make the role the owner of the database"),

		hosts(postgres.CausePooler, "give PostgreSQL's own address: host and port = 5432 below [postgres] in permafrost.toml, or --postgres-port 5432. Leave Mastodon's settings as they are"),
		hosts(postgres.CauseNotMastodon, "check DB_NAME (or DATABASE_URL) in .env.production, or dbname below [postgres] in permafrost.toml; its tables may have been dropped"),
		hosts(postgres.CauseFileDenied, "let Mastodon's own user read the files that its settings name"),
		hosts(postgres.CauseNoTools, "install it: apt-get install postgresql-client-{1}"),
		hosts(postgres.CauseNoToolsThere, "install it: apt-get install postgresql-client-{1}; or name its directory: bin below [postgres] in permafrost.toml, --postgres-bin"),
		hosts(postgres.CauseToolsOutside, "take out bin below [postgres] in permafrost.toml (--postgres-bin), to use the container's own programs"),
		hosts(postgres.CauseStrangeTools, "name a directory with --postgres-bin that belongs to root"),

		hosts(postgres.CauseLocked, "end the session that holds the lock (select pg_terminate_backend(PID)) and run it again, or raise lock_wait below [postgres] (--postgres-lock-wait)"),
		hosts(postgres.CauseHalted, "check whether it was suspended, or waits for a lock in the database or for a server that is down"),
		hosts(postgres.CauseStopped, "run it again: PostgreSQL was stopped or restarted"),
		hosts(postgres.CauseSnapshotLost, "run it again if PostgreSQL was restarted; if not, look for a connection pooler before it"),
		hosts(postgres.CauseConflict, "set hot_standby_feedback = on on the replica, or dump the primary: it dropped rows that the dump still needed"),
		hosts(postgres.CauseUnreadable, "let the role read everything, as a superuser: grant pg_read_all_data to {1} (from version 14 on). Or make it the owner"),
		hosts(postgres.CauseRowsHidden, "let the role read all rows, as a superuser: alter role {1} bypassrls"),
		hosts(postgres.CauseDamaged, "keep the older snapshots: the database is damaged. This shows how far: pg_amcheck --heapallindexed {$1}"),

		hosts(redis.CauseNoServer, "check that Redis runs, and that .env.production names its address"),
		hosts(redis.CauseNoServerHere, "check that Redis runs, and that url below [redis] or [sidekiq] in permafrost.toml names its address"),
		hosts(redis.CauseSocketDenied, "run permafrost as root, or as a user of the group that may use Redis's socket"),
		hosts(redis.CauseWrongUser, "compare REDIS_PASSWORD, REDIS_USER or REDIS_URL in .env.production with requirepass or the ACL of redis.conf"),
		hosts(redis.CauseWrongPassword, "compare REDIS_PASSWORD or REDIS_URL in .env.production with requirepass in redis.conf"),
		hosts(redis.CauseNoPassword, "add REDIS_PASSWORD to .env.production: this Redis asks for one"),
		hosts(redis.CauseNoDatabase, "use a lower number in .env.production, or raise databases in redis.conf"),
		hosts(redis.CauseAuthority, "name the authority that signed Redis's certificate: SSL_CERT_FILE=/path/ca.crt"),
		hosts(redis.CauseNoTLS, "name a port of Redis that speaks TLS, or write redis: instead of rediss: in REDIS_URL"),
		hosts(redis.CauseHungUp, "write rediss: instead of redis: in REDIS_URL if this port speaks TLS; else look at Redis's log"),

		hosts(redis.CauseNoMaster, "back up the master: this Redis is a replica that has lost it"),
		hosts(redis.CauseNotAllowed, "type in redis-cli, to let the user take the data as a replica: {1}. Or leave Redis out: --skip redis"),
		hosts(redis.CauseRenamed, "give back PSYNC or SYNC in redis.conf (rename-command), run permafrost on Redis's own host, or leave Redis out (--skip redis)"),
		hosts(redis.CauseSpoolFull, `raise the limit: spool = "4G" below [redis] in permafrost.toml, --redis-spool 4G; on Redis's own host nothing has to wait`),
		hosts(redis.CauseSpoolDisk, "free space on the disk of the state directory, or name another one with --state-dir"),
		hosts(redis.CauseNewerDump, "install the server that the dump is of, or a later one"),
		hosts(redis.CauseReplaced, "set redis_replace=yes in host.sh if that may be lost (sidekiq_replace=yes for Sidekiq's own server)"),

		hosts(deploy.CauseNoEngine, "name the command by its full path, or take the setting away"),
		hosts(deploy.CauseEngineFails, "check that the engine runs, and that this user may ask it"),
		hosts(deploy.CauseTwoEngines, "choose one with engine below [compose] in permafrost.toml, or --compose-engine"),
		hosts(deploy.CauseNoProject, "correct the name (`docker compose ls --all` lists them), or leave it out to find it by the live directory"),
		hosts(deploy.CauseSeveralProjects, "choose one with project below [compose] in permafrost.toml, or --compose-project"),
		hosts(deploy.CauseSeveralContainers, `name one of them: host = "CONTAINER" below [postgres], or url = "redis://CONTAINER:6379" below [redis]`),
		hosts(deploy.CauseStopped, "start it: {$1} start {$2}"),
		hosts(deploy.CauseNoListener, "check that the server in {2} listens on the port that the settings name; `{$1} logs {$2}` tells more"),
		as(serviceHint),
	}
}

// connectHint speaks of permafrost's own configuration where that says where the database is, and of a pooler that may be in between.
func connectHint(e *postgres.ConnectError) string {
	own := map[source.Cause]string{
		postgres.CauseNoServer:      "check that PostgreSQL runs, and host and port below [postgres] in permafrost.toml",
		postgres.CauseWrongPassword: "compare user and password_file below [postgres] in permafrost.toml, or else DB_PASS (or DATABASE_URL) in .env.production, with the role in PostgreSQL",
		postgres.CauseNoDatabase:    "compare dbname below [postgres] in permafrost.toml, or else DB_NAME (or DATABASE_URL) in .env.production, with the list of `psql -l`",
	}
	hint := own[source.CauseOf(e).Cause]
	if hint == "" || !e.Elsewhere {
		hint = For(e.Err)
	}
	if e.Pooler && hint != "" {
		hint += "; if this is PgBouncer, name PostgreSQL's own port below [postgres] in permafrost.toml"
	}
	return hint
}

// serviceHint is for a server's name without an address, which may be a service of Compose.
func serviceHint(e *source.CauseError) string {
	if e.Cause == deploy.CauseNoService {
		return tell("correct the name: the Compose project {2} has no service {1}, but ", e.Facts) + strings.Join(e.Facts[2:], ", ")
	}
	hint := map[source.Cause]string{
		deploy.CauseServiceUntold:   ". The container engine failed: {4}",
		deploy.CauseServiceNoEngine: ", but docker and podman are not in PATH. Run permafrost on the containers' host, or name the engine: --compose-engine",
		deploy.CauseServiceDown:     ", but no running project has this directory. Start it (docker compose up -d), or name it with project below [compose]",
	}[e.Cause]
	if hint == "" {
		return ""
	}
	if e.Facts[2] == "" {
		return tell("{1} looks like a service of Compose"+hint, e.Facts)
	}
	return tell("{1} is likely a service of Compose: {2} has a {3}"+hint, e.Facts)
}
