package snapshot

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

func guideSecrets(g *guide, m *Manifest, user string) {
	g.heading("Settings and secrets")
	g.say("Without exactly these keys logins, push subscriptions and encrypted columns are lost. Never make new ones.")
	var inside, outside []shell
	for i := range m.Secrets.Files {
		f := &m.Secrets.Files[i]
		name, to := secretName(i, f), string(f.Path)
		mode := fmt.Sprintf("--mode=%04o", fs.FileMode(f.Mode).Perm())
		if isBelow(to, string(m.Live)) {
			inside = append(inside, asUser(user, "install", "-D", mode, "--no-target-directory", "--", "/dev/null", to),
				asUser(user, "dd", "status=none", "of="+to).from(name))
			continue
		}
		outside = append(outside, command("install", "-D", "--owner="+owner(m.Users, f.UID), "--group="+owner(m.Groups, f.GID), mode,
			"--no-target-directory", "--", "./"+name, to))
	}
	if len(inside) > 0 {
		g.say("These are in Mastodon's directory. Its user writes them there:")
		g.code(inside...)
	}
	if len(outside) > 0 {
		g.say("**These are not in Mastodon's directory, and root writes them.** Look at each path. It must be one that you know, and\nevery directory above it must belong to root.")
		g.code(outside...)
	}
	if len(m.Secrets.Files) > 0 {
		g.say("Where this host's database, Redis or paths are others, change them in %s now.", m.Secrets.Files[0].Path)
	}
}

// isBelow reports whether a clean path is below a directory, the whole file system aside.
func isBelow(name, dir string) bool {
	dir = path.Clean(dir)
	return path.IsAbs(dir) && dir != "/" && strings.HasPrefix(name, dir+"/")
}

// owner returns the name of a user or group, or its number.
func owner(names map[uint32]string, id uint32) string {
	if n := names[id]; n != "" {
		return n
	}
	return fmt.Sprint(id)
}

func guidePostgres(g *guide, m *Manifest, user string) {
	p := &m.Postgres
	f := &p.Server
	g.heading("PostgreSQL")
	g.say("The dump is of PostgreSQL %s (pg_dump %s): restore it into that version or a newer one.", f.Version, p.Dump.DumpVersion)
	create := []string{"createdb", "--template=template0"}
	for _, o := range [][2]string{{"--encoding=", f.Encoding}, {"--lc-collate=", f.Collate}, {"--lc-ctype=", f.CType}} {
		if o[1] != "" {
			create = append(create, o[0]+o[1])
		}
	}
	if f.Provider == "icu" || f.Provider == "builtin" {
		create = append(create, "--locale-provider="+f.Provider)
		if f.Locale != "" {
			create = append(create, "--"+f.Provider+"-locale="+f.Locale)
		}
	}
	create = append(create, "--owner="+p.User, "--", p.Database)
	lines := []shell{asUser("postgres", "createuser", "--createdb", "--", p.User).note("unless it is there"), asUser("postgres", create...)}
	for _, x := range slices.Sorted(maps.Keys(f.Extensions)) {
		if x != "plpgsql" {
			lines = append(lines, asUser("postgres", "psql", "--no-psqlrc", "--dbname="+conninfo("dbname", p.Database),
				"--command=create extension if not exists "+`"`+strings.ReplaceAll(x, `"`, `""`)+`"`))
		}
	}
	g.code(lines...)
	guideDump(g, m, user)
	if r := p.rows(); r != nil {
		g.say("The tables had these rows, to judge the result by:")
		g.list([]string{fmt.Sprintf("accounts: %d", r.Accounts), fmt.Sprintf("statuses: %d", r.Statuses),
			fmt.Sprintf("users: %d", r.Users), fmt.Sprintf("media_attachments: %d", r.MediaAttachments)})
	} else if items := estimates(f.Rows); len(items) > 0 {
		g.say("The server's estimates then, to judge the result by:")
		g.list(items)
	}
}

// guideDump brings the dump into the database. It holds commands of SQL, which run with the rights of Mastodon's role and
// with those of no superuser. Restoring with several jobs takes a file that Mastodon's user may read.
func guideDump(g *guide, m *Manifest, user string) {
	p := &m.Postgres
	db := "--dbname=" + conninfo("user", p.User, "dbname", p.Database)
	g.say("The dump is restored as the role %s by the user %s. PostgreSQL lets them in without a password where both have one\nname. Else write `host=localhost` behind `dbname`, and put the password (DB_PASS) into `~/.pgpass` of that user.", p.User, user)
	g.code(`dump=$(`+asUser(user, "mktemp", "/var/tmp/restore.XXXXXXXX")+`)`,
		(asUser(user, "dd", "bs=1M", "status=none") + ` of="$dump"`).from(dumpName(m)),
		asUser(user, "pg_restore")+` --jobs="$(nproc)" `+command("--exit-on-error", "--no-owner", "--schema=public", db)+` -- "$dump"`,
		asUser(user, "vacuumdb", "--analyze-only", db),
		asUser(user, "rm", "--")+` "$dump"`)
}

// conninfo returns a connection string of libpq with these parameters. A name alone would be taken for a whole one where it
// looks like it.
func conninfo(params ...string) string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for i := 0; i < len(params); i += 2 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(params[i] + "='" + escape.Replace(params[i+1]) + "'")
	}
	return b.String()
}

// estimates tells how many rows the largest tables had.
func estimates(rows map[string]int64) (items []string) {
	for _, t := range []string{"accounts", "statuses", "users", "media_attachments"} {
		if n, ok := rows["public."+t]; ok {
			items = append(items, fmt.Sprintf("%s: about %d rows", t, n))
		}
	}
	return items
}

func guideMedia(g *guide, m *Manifest, user string) {
	g.heading("Media")
	if x := m.Media.External; x != nil {
		g.say("The media are in object storage and not in this snapshot: kind %s, bucket %s, at %s.", x.Kind, x.Bucket, x.Endpoint)
		g.say("They are to be had from there, as of %s if the bucket keeps versions.", markdown(m.Boundary.Time.UTC().Format(time.RFC3339)))
		return
	}
	root := path.Clean(string(m.Media.Root))
	g.say("Mastodon's user writes them to %s. Where he may not make that directory, make it for him first. Modes matter: a\nsuspended user's files are readable by nobody else.", root)
	g.code(asUser(user, "mkdir", "--parents", "--", root),
		command("tar", "--create", "--sparse", "--acls", "--xattrs", "--xattrs-include=user.*", "--directory=./"+mediaDir, "--file=-", ".")+" | "+
			asUser(user, "tar", "--extract", "--preserve-permissions", "--acls", "--xattrs", "--xattrs-include=user.*", "--directory="+root, "--file=-"))
	if m.Media.NoCache || len(m.Media.Excludes) > 0 {
		g.say("Copies of other servers' files were left out, and the database believes that they are there. Once Mastodon runs\n(refresh fetches nothing that it believes to have unless it is forced, and wants to be told how far back):")
		g.code(tootctl(m, user, "accounts", "refresh", "--all"), tootctl(m, user, "media", "refresh", "--force", "--days=30"))
	}
}

// guideRedis brings the data back to where the new host's Redis looks for them. Where the old one's were is told and not
// followed: Mastodon's user may have set it.
func guideRedis(g *guide, m *Manifest, _ string) {
	g.heading("Redis")
	g.say("Sidekiq's jobs of that moment run again: deliveries, notifications, mail. To leave them out skip this step; home\nfeeds are built anew below.")
	g.say("With `appendonly yes` Redis ignores an RDB and starts empty. So it is turned off for the first start.")
	for name, r := range m.Redises {
		if r.State != Captured {
			continue
		}
		file := redisName
		settings := shell("service=redis-server port=6379 conf=/etc/redis/redis.conf dir=/var/lib/redis")
		if name == "sidekiq" {
			file = sidekiqName
			settings = "service=redis-sidekiq port=6380 conf=/etc/redis/redis-sidekiq.conf dir=/var/lib/redis-sidekiq"
			g.say("Sidekiq has a Redis of its own.")
		}
		if r.Server.Version != "" {
			g.say("The data are of %s; an older one may refuse them.", r.Server.Server())
		}
		if r.Server.Dir != "" {
			g.say("The old server kept them in %s, as %s. Name the new server's service, port, configuration and directory in the first line:", r.Server.Dir, r.Server.File)
		}
		g.code(settings, `systemctl stop "$service"`,
			asUser("redis", "mv", "--no-target-directory", "--")+` "$dir/appendonlydir" "$dir/appendonlydir.old"   # where it is there`,
			(asUser("redis", "dd", "bs=1M", "status=none") + ` of="$dir/dump.rdb"`).from(file),
			`sed -i 's/^appendonly yes/appendonly no/' "$conf"`,
			`systemctl start "$service"`,
			`redis-cli -p "$port" info keyspace`)
		var keys []string
		for _, db := range slices.Sorted(maps.Keys(r.Server.Keys)) {
			keys = append(keys, fmt.Sprintf("%d in database %d", r.Server.Keys[db], db))
		}
		if len(keys) > 0 {
			g.say("It had these keys:")
			g.list(keys)
		}
		if on := r.Server.AppendOnly; on != nil && *on {
			g.say("It used the append-only file: turn it on again while Redis runs, then in the configuration.")
			g.code(`redis-cli -p "$port" config set appendonly yes`,
				`until redis-cli -p "$port" info persistence | grep -q aof_rewrite_in_progress:0; do sleep 1; done`,
				`sed -i 's/^appendonly no/appendonly yes/' "$conf"`)
		}
	}
}

// tootctl returns a command of Mastodon's own, run as its user in its directory.
func tootctl(m *Manifest, user string, words ...string) shell {
	const run = `cd -- "$1" && shift && RAILS_ENV=production exec bin/tootctl "$@"`
	return asUser(user, append([]string{"bash", "-lc", run, "bash", string(m.Live)}, words...)...)
}

func guideEnd(g *guide, m *Manifest, user string) {
	g.heading("Feeds, search, services")
	g.say("Home feeds live in Redis alone; this builds them anew. Search only where Elasticsearch is used.")
	g.code(tootctl(m, user, "feeds", "build"), tootctl(m, user, "search", "deploy").note("where ES_ENABLED=true"))
	units, others := []string{"mastodon-web", "mastodon-sidekiq", "mastodon-streaming"}, []string(nil)
	if len(m.Boundary.Units) > 0 {
		units = nil
	}
	for _, u := range m.Boundary.Units {
		if strings.HasPrefix(u, "mastodon") {
			units = append(units, u)
		} else {
			others = append(others, prose("%s", u))
		}
	}
	if len(units) > 0 {
		g.code(command(append([]string{"systemctl", "start", "--"}, units...)...))
	}
	if len(others) > 0 {
		g.say("These were stopped for the snapshot too. Start those that you know:")
		g.list(others)
	}
	g.heading("Look")
	g.say("`/health` answers 200 whatever the state. Log in, open old posts with pictures, follow somebody; look at Sidekiq's\nretries, and at the number of posts against the one above.")
}
