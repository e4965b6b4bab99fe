package snapshot

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// A guideWriter writes RESTORE.md.
type guideWriter struct {
	bytes.Buffer
	step int
}

func (g *guideWriter) heading(title string) {
	g.step++
	fmt.Fprintf(g, "\n## %d. %s\n\n", g.step, title)
}

func (g *guideWriter) say(format string, args ...any) { fmt.Fprintf(g, format+"\n", args...) }

// code writes lines of shell, which the reader can copy as they are.
func (g *guideWriter) code(lines ...string) {
	fmt.Fprintf(g, "\n```sh\n%s\n```\n\n", strings.Join(lines, "\n"))
}

// guide returns RESTORE.md: what is in the target directory and what to do with it, in order.
func (rs *restorer) guide(want map[string]bool) []byte {
	m := rs.m
	g := new(guideWriter)
	g.say("# Restoring %s, as of %s\n", m.Instance, m.Date)
	g.say("Snapshot %v, taken on %s of the host %s by permafrost %s.", rs.ref.ID, m.Boundary.Time.UTC().Format(time.RFC1123), m.Host, m.Version)
	if m.Boundary.Method == "stopped" {
		g.say("The services stood still: all parts are of one moment.")
	} else {
		g.say("The services ran: PostgreSQL was fixed first, then Redis, then the media were read. Every file that the\ndatabase names is there, unless it was deleted in these minutes.")
	}
	if n := m.Media.LeftOut; n > 0 {
		g.say("\n**%d media files could not be read then and are not in the snapshot.** `permafrost show` names them.", n)
	}
	if rs.out.Lost > 0 {
		g.say("\n**%d media files are damaged in the repository and were not restored.**", rs.out.Lost)
	}
	g.say("\nCommands are for root on a Debian-like host, in this directory. Read each before you run it.")
	g.code("cd "+quote(rs.Target), "sha256sum -c "+sumsName)

	g.heading("Install Mastodon, and stop it")
	g.say("Put the version of Mastodon that this snapshot is of%s at %s, as the user %s. Then:", migration(m), string(m.Live), m.User)
	g.code("systemctl stop 'mastodon-*'")
	if want["secrets"] {
		rs.guideSecrets(g)
	}
	if want["postgres"] {
		guidePostgres(g, m)
	}
	if want["media"] {
		guideMedia(g, m)
	}
	if want["redis"] {
		guideRedis(g, m)
	}
	guideEnd(g, m)
	text := g.Bytes()
	for bytes.Contains(text, []byte("\n\n\n")) {
		text = bytes.ReplaceAll(text, []byte("\n\n\n"), []byte("\n\n"))
	}
	return text
}

func migration(m *Manifest) string {
	if v := m.Postgres.Server.SchemaMigration; v != "" {
		return fmt.Sprintf(" (its newest database migration is %s)", v)
	}
	return ""
}

func (rs *restorer) guideSecrets(g *guideWriter) {
	m := rs.m
	g.heading("Settings and secrets")
	g.say("Without exactly these keys logins, push subscriptions and encrypted columns are lost. Never make new ones.")
	var lines []string
	for i := range m.Secrets.Files {
		f := &m.Secrets.Files[i]
		lines = append(lines, fmt.Sprintf("install -D -o %s -g %s -m %04o %s %s", owner(m.Users, f.UID), owner(m.Groups, f.GID), f.Mode,
			quote("./"+secretName(i, f)), quote(string(f.Path))))
	}
	g.code(lines...)
	g.say("Where this host's database, Redis or paths are others, change them in %s now.", m.Secrets.Files[0].Path)
}

// owner returns the name of a user or group, or its number.
func owner(names map[uint32]string, id uint32) string {
	if n := names[id]; n != "" {
		return quote(n)
	}
	return fmt.Sprint(id)
}

func guidePostgres(g *guideWriter, m *Manifest) {
	p := &m.Postgres
	f := &p.Server
	db, role := quote(p.Database), quote(p.User)
	g.heading("PostgreSQL")
	g.say("The dump is of PostgreSQL %s (pg_dump %s): restore it into that version or a newer one.", f.Version, p.Dump.DumpVersion)
	create := "sudo -u postgres createdb -T template0"
	if f.Encoding != "" {
		create += " -E " + quote(f.Encoding)
	}
	if f.Provider == "icu" || f.Provider == "builtin" {
		create += " --locale-provider=" + f.Provider
		if f.Locale != "" {
			create += " --" + f.Provider + "-locale=" + quote(f.Locale)
		}
	}
	if f.Collate != "" {
		create += " --lc-collate=" + quote(f.Collate) + " --lc-ctype=" + quote(f.CType)
	}
	lines := []string{"sudo -u postgres createuser --createdb " + role + "   # unless it is there", create + " -O " + role + " " + db}
	for _, x := range slices.Sorted(maps.Keys(f.Extensions)) {
		if x != "plpgsql" {
			lines = append(lines, fmt.Sprintf("sudo -u postgres psql -d %s -c %s", db, quote(`create extension if not exists "`+strings.ReplaceAll(x, `"`, `""`)+`"`)))
		}
	}
	// Restoring with several jobs takes a file, and one that the user postgres may read.
	readable := quote(path.Join("/var/lib/postgresql", dumpName(m)))
	lines = append(lines,
		fmt.Sprintf("install -o postgres -m 0600 %s %s", quote("./"+dumpName(m)), readable),
		fmt.Sprintf(`sudo -u postgres pg_restore -Fc -j "$(nproc)" --exit-on-error --no-owner --role=%s -n public -d %s %s`, role, db, readable),
		fmt.Sprintf("sudo -u postgres vacuumdb --analyze-only -d %s", db),
		"rm "+readable)
	g.code(lines...)
	if len(f.Rows) > 0 {
		g.say("The server's estimates then, to judge the result by:\n")
		for _, t := range []string{"accounts", "statuses", "users", "media_attachments"} {
			if n, ok := f.Rows["public."+t]; ok {
				g.say("- %s: about %d rows", t, n)
			}
		}
	}
}

func guideMedia(g *guideWriter, m *Manifest) {
	g.heading("Media")
	if x := m.Media.External; x != nil {
		g.say("The media are in object storage and not in this snapshot: the %s bucket %q %s.", x.Kind, x.Bucket, x.Endpoint)
		g.say("They are to be had from there, as of %s if the bucket keeps versions.", m.Boundary.Time.UTC().Format(time.RFC3339))
		return
	}
	root := strings.TrimSuffix(string(m.Media.Root), "/")
	g.code("mkdir -p "+quote(path.Dir(root)), fmt.Sprintf("rsync -aHAX %s %s", quote("./"+mediaDir+"/"), quote(root+"/")))
	g.say("Modes matter: a suspended user's files are readable by nobody else.")
	if m.Media.NoCache || len(m.Media.Excludes) > 0 {
		g.say("\nCopies of other servers' files were left out, and the database believes that they are there. Once Mastodon runs\n(refresh fetches nothing that it believes to have unless it is forced, and wants to be told how far back):")
		g.code(asMastodon(m, "tootctl accounts refresh --all"), asMastodon(m, "tootctl media refresh --force --days 30"))
	}
}

func guideRedis(g *guideWriter, m *Manifest) {
	g.heading("Redis")
	g.say("Sidekiq's jobs of that moment run again: deliveries, notifications, mail. To leave them out skip this step; home\nfeeds are built anew below.")
	for name, r := range m.Redises {
		file, dir, rdb := redisName, r.Server.Dir, r.Server.File
		if name == "sidekiq" {
			file = sidekiqName
			g.say("\nSidekiq has a Redis of its own: the same once more, on that server.")
		}
		if dir == "" {
			dir = "/var/lib/redis"
		}
		if rdb == "" {
			rdb = "dump.rdb"
		}
		if r.Server.Version != "" {
			g.say("\nThe data are of Redis %s; an older one may refuse them.", r.Server.Version)
		}
		g.say("With `appendonly yes` Redis ignores an RDB and starts empty. So it is turned off for the first start:")
		g.code("systemctl stop redis-server",
			"mv "+quote(path.Join(dir, "appendonlydir"))+" "+quote(path.Join(dir, "appendonlydir.old"))+"   # where it is there",
			"install -o redis -g redis -m 0660 ./"+file+" "+quote(path.Join(dir, rdb)),
			"sed -i 's/^appendonly yes/appendonly no/' /etc/redis/redis.conf",
			"systemctl start redis-server",
			"redis-cli info keyspace")
		var keys []string
		for _, db := range slices.Sorted(maps.Keys(r.Server.Keys)) {
			keys = append(keys, fmt.Sprintf("%d in database %d", r.Server.Keys[db], db))
		}
		if len(keys) > 0 {
			g.say("It had %s.", strings.Join(keys, ", "))
		}
		if on := r.Server.AppendOnly; on != nil && *on {
			g.say("It used the append-only file: turn it on again while Redis runs, then in the configuration.")
			g.code("redis-cli config set appendonly yes",
				"until redis-cli info persistence | grep -q aof_rewrite_in_progress:0; do sleep 1; done",
				"sed -i 's/^appendonly no/appendonly yes/' /etc/redis/redis.conf")
		}
	}
}

// asMastodon returns a command of Mastodon's own, run as its user in its directory.
func asMastodon(m *Manifest, command string) string {
	return fmt.Sprintf("sudo -u %s bash -lc %s", quote(m.User), quote("cd "+quote(string(m.Live))+" && RAILS_ENV=production bin/"+command))
}

func guideEnd(g *guideWriter, m *Manifest) {
	g.heading("Feeds, search, services")
	g.say("Home feeds live in Redis alone; this builds them anew. Search only where Elasticsearch is used.")
	g.code(asMastodon(m, "tootctl feeds build"), asMastodon(m, "tootctl search deploy")+"   # where ES_ENABLED=true")
	units := "mastodon-web mastodon-sidekiq mastodon-streaming"
	if len(m.Boundary.Units) > 0 {
		var q []string
		for _, u := range m.Boundary.Units {
			q = append(q, quote(u))
		}
		units = strings.Join(q, " ")
	}
	g.code("systemctl start " + units)
	g.heading("Look")
	g.say("`/health` answers 200 whatever the state. Log in, open old posts with pictures, follow somebody; look at Sidekiq's\nretries, and at the number of posts against the one above.")
}

// quote returns s as one word of shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+=,", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
