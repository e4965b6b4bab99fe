package restore

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"permafrost/internal/escape"
	"permafrost/snapshot"
	"permafrost/source"
	"permafrost/source/way"
)

// A page is a Markdown document while it is written: paragraphs, lists and blocks of commands, in order.
type page struct{ blocks []string }

func (g *page) bytes() []byte { return []byte(strings.Join(g.blocks, "\n\n") + "\n") }

// A markdown is text of a document that is right as it stands.
type markdown string

// say adds a paragraph of Markdown. Each argument that is a string or a snapshot.Text is a name, and becomes a code span.
func (g *page) say(format string, args ...any) {
	args = slices.Clone(args)
	for i, a := range args {
		switch name := a.(type) {
		case string:
			args[i] = escape.Markdown(name)
		case snapshot.Text:
			args[i] = escape.Markdown(string(name))
		}
	}
	g.blocks = append(g.blocks, fmt.Sprintf(format, args...))
}

// code adds a block of commands, which the reader can copy as they are.
func (g *page) code(text string) {
	g.blocks = append(g.blocks, "```bash\n"+strings.TrimSuffix(text, "\n")+"\n```")
}

// step adds a step, whose files are in a directory.
func (g *page) step(dir, host string, number int, s *way.Step) {
	g.blocks = append(g.blocks, fmt.Sprintf("## %d. %s", number, s.Title))
	if s.Effect != "" {
		g.blocks = append(g.blocks, "*"+s.Effect+"*")
	}
	if s.Why != "" {
		g.blocks = append(g.blocks, s.Why)
	}
	g.code(way.Block(host, strconv.Itoa(number), s))
	if s.Undo != "" {
		g.blocks = append(g.blocks, "**Undo:** "+strings.ReplaceAll(s.Undo, "the directory of the restored files", "the directory "+escape.Markdown(dir)))
	}
}

// begin returns a page with its title.
func (p *Plan) begin() *page {
	g := new(page)
	g.say("# Restoring %s, as of %s", p.restored.Manifest.Instance, markdown(p.restored.Manifest.Date))
	return g
}

// origin says which snapshot this is.
func (p *Plan) origin(g *page) {
	m := p.restored.Manifest
	g.say("Snapshot %v of the host %s, taken on %s by permafrost %s.", p.restored.Ref.ID, m.Host,
		markdown(m.Boundary.Time.UTC().Format(time.RFC1123)), m.Version)
}

// refusal returns the page for a directory in which another user decides.
func (p *Plan) refusal() []byte {
	g := p.begin()
	p.origin(g)
	g.say("**This directory is the user %s's, who can change everything in it, this page too. So it holds no commands for root.**\n"+
		"For those restore once more, into a directory that only root can write, such as `/root/restore`.", p.restored.Result.Owner)
	return g.bytes()
}

// guide returns RESTORE.md.
func (p *Plan) guide() []byte {
	g := p.begin()
	p.overview(g)
	p.holdings(g)
	p.unknown(g)
	p.before(g)
	number := 0
	for i := range p.parts {
		if text := p.parts[i].Text; text != "" {
			g.blocks = append(g.blocks, text)
		}
		for j := range p.parts[i].Steps {
			number++
			g.step(p.restored.Target, p.Host(), number, &p.parts[i].Steps[j])
		}
	}
	p.look(g)
	return g.bytes()
}

// holdings tells what the directory has, and what it lacks.
func (p *Plan) holdings(g *page) {
	m, out := p.restored.Manifest, p.restored.Result
	g.blocks = append(g.blocks, "## What this directory has")
	p.origin(g)
	g.say("Mastodon was running. The media were read after the database, so every file that the database names is here. Only files\nthat were deleted in those minutes may be missing.")
	p.sizes(g)
	if n := m.Media.LeftOut; n > 0 {
		g.say("**%d media files could not be read then and are not in the snapshot.** `permafrost show` names them.", n)
	}
	for i := range out.Absent {
		a := &out.Absent[i]
		g.say("**The snapshot does not have %s, or not all of it: %s.** Take it from another snapshot: `permafrost snapshots` tells\nwhich have it, and %s restores it alone.", a.Part, a.String(), "permafrost restore --component "+a.Component())
	}
	if out.Lost > 0 {
		g.say("**%d media files are damaged in the repository and were not restored.**", out.Lost)
	}
	p.owners(g)
	if x := m.Media.External; x != nil && p.restored.Components["media"] {
		g.say("**The media are in object storage and not in this snapshot**: kind %s, bucket %s, at %s. They are to be had from there,\nas of %s if the bucket keeps versions.",
			x.Kind, x.Bucket, x.Endpoint, markdown(m.Boundary.Time.UTC().Format(time.RFC3339)))
	}
}

// sizes tells how much comes back, and to where.
func (p *Plan) sizes(g *page) {
	m := p.restored.Manifest
	var items []string
	item := func(format string, args ...any) {
		for i, a := range args {
			if name, ok := a.(snapshot.Text); ok {
				args[i] = escape.Markdown(string(name))
			}
		}
		items = append(items, "- "+fmt.Sprintf(format, args...))
	}
	if d := &m.Postgres; p.restored.Components["postgres"] && d.State == snapshot.Captured {
		item("the database %s. PostgreSQL's disk needs %s for it, beside a database that is there already", snapshot.Text(d.Database), space(max(d.Server.Size, d.Size)))
	}
	if f := &m.Media; p.restored.Components["media"] && f.State == snapshot.Captured {
		item("the media: %d files, %s, which are copied to %s", f.Files, space(f.Size), f.Root)
	}
	if len(items) > 0 {
		g.blocks = append(g.blocks, strings.Join(items, "\n"))
	}
}

// space says how much room something needs, in a rough number.
func space(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{10 << 30, "GiB"}, {10 << 20, "MiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%d %s", n*10/unit.size+1, unit.name)
		}
	}
	return "some MiB"
}

// owners tells whose the media should be, where they could not be given to them.
func (p *Plan) owners(g *page) {
	owners := p.restored.Result.Owners
	if len(owners) == 0 {
		return
	}
	g.say("**The media here belong to whoever restored them.** The step that brings them back gives them to Mastodon's user. Where you use\n`public-system` as it is, give it to Mastodon's user as root:")
	to := p.user() + ":" // and that user's group
	if _, err := strconv.Atoi(p.user()); err == nil {
		to = fmt.Sprintf("%d:%d", p.restored.Manifest.Media.UID, p.restored.Manifest.Media.GID)
	}
	g.code(fmt.Sprintf("chown --recursive --no-dereference -- %s %s\n", escape.Shell(to), escape.Shell(path.Join(p.restored.Target, "public-system"))))
	const most = 20
	var items []string
	for _, o := range owners[:min(most, len(owners))] {
		items = append(items, fmt.Sprintf("- %d files and directories of user %s, group %s", o.Files, escape.Markdown(cmp.Or(o.User, strconv.Itoa(o.UID))), escape.Markdown(cmp.Or(o.Group, strconv.Itoa(o.GID)))))
	}
	g.say("They belonged to these before:")
	g.blocks = append(g.blocks, strings.Join(items, "\n"))
}

// unknown tells what a snapshot does not say, since an earlier version made it or the server kept it to itself.
func (p *Plan) unknown(g *page) {
	m := p.restored.Manifest
	var items []string
	for _, u := range []struct {
		component string
		missing   bool
		text      string
	}{
		{"", m.Deployment.Kind == "" || m.Deployment.Kind == source.Unknown, "how Mastodon's services ran: systemd is assumed"},
		{"", m.Mastodon == "", "the version of Mastodon"},
		{"postgres", m.Postgres.Server.Host == "", "where PostgreSQL was reached: its usual place is assumed"},
		{"postgres", m.Postgres.Server.Roles == nil, "which other roles the database names: the rehearsal finds them"},
		{"postgres", m.Postgres.Dump.Tables == nil, "how many rows each table had: the step that counts them has nothing to compare"},
		{"redis", m.Redis.State == snapshot.Captured && m.Redis.Server.Addr == "", "where Redis was reached: its usual place is assumed"},
	} {
		if u.missing && (u.component == "" || p.restored.Components[u.component]) {
			items = append(items, "- "+u.text)
		}
	}
	if len(items) > 0 {
		g.say("The snapshot does not tell:")
		g.blocks = append(g.blocks, strings.Join(items, "\n"))
	}
}

// overview tells in few words what is to be done.
func (p *Plan) overview(g *page) {
	g.say("In short, on the server that is to run Mastodon:")
	install := "Install " + p.needs() + ". Do it as Mastodon's own guide says, but leave out `mastodon:setup`, and do not start Mastodon.\n" +
		"   `mastodon:setup` would have made the styles and scripts too. So once the settings are back, type, as Mastodon's user in that directory,\n" +
		"   `RAILS_ENV=production bin/rails assets:precompile`."
	if p.restored.Manifest.Deployment.Kind == source.Compose {
		install = p.project()
	}
	lines := []string{
		"Become root (`sudo -i`), and type `tmux` or `screen`: a lost SSH connection stops nothing there.",
		install,
		"Look through " + escape.Markdown(p.Host()) + ". It says where everything is, as it was on the old server. Correct what is different here.",
		"Run the command below. Before each of the " + strconv.Itoa(len(p.Steps())) + " steps it says what the step changes and how long it takes, and asks.\n" +
			"   Type `y` to run the step, or `q` to do something by hand first: the same command goes on there. Read the step's text below first.",
		"If a step fails, read the lines above, repair that, and run the same command again. It goes on with that step.",
	}
	for i := range lines {
		lines[i] = strconv.Itoa(i+1) + ". " + lines[i]
	}
	g.blocks = append(g.blocks, strings.Join(lines, "\n"))
	g.code("bash " + escape.Shell(p.restored.Target+"/"+ScriptName))
}

// needs lists what must be on a host without containers.
func (p *Plan) needs() string {
	m := p.restored.Manifest
	needs := []string{"Mastodon"}
	if m.Mastodon != "" {
		needs[0] += " " + escape.Markdown(m.Mastodon)
	}
	needs[0] += " in " + escape.Markdown(string(m.Live)) + " for the user " + escape.Markdown(p.user())
	if p.restored.Components["postgres"] {
		needs = append(needs, "PostgreSQL"+orNewer(strconv.Itoa(m.Postgres.Server.VersionNum/10_000)))
	}
	if p.restored.Components["redis"] {
		name := "Redis"
		if m.Redis.Server.Name == "valkey" {
			name = "Valkey"
		}
		major, rest, _ := strings.Cut(cmp.Or(m.Redis.Server.Own, m.Redis.Server.Version), ".")
		minor, _, _ := strings.Cut(rest, ".")
		needs = append(needs, name+orNewer(major+"."+minor))
	}
	return strings.Replace(strings.Join(needs, ", "), ", PostgreSQL", ",\n   PostgreSQL", 1)
}

// orNewer returns a version with a blank in front, "" for none.
func orNewer(version string) string {
	if v, err := strconv.ParseFloat(version, 64); err != nil || v <= 0 {
		return ""
	}
	return " " + version + " or newer"
}

// project tells how a Compose project comes into being again.
func (p *Plan) project() string {
	m := p.restored.Manifest
	text := "Install the container engine and Compose. Make the project's directory " + escape.Markdown(string(m.Live)) + ", with its Compose file"
	for i := range m.Secrets.Files {
		if name := string(m.Secrets.Files[i].Path); strings.Contains(path.Base(name), "compose") && p.restored.Components["secrets"] {
			text += " (here as " + escape.Markdown(secretName(m, i)) + ")"
			break
		}
	}
	for _, s := range m.Deployment.Services {
		if s.Mastodon && s.Image != "" {
			text += ".\n   It must name the image " + escape.Markdown(s.Image)
			break
		}
	}
	return text + ".\n   The step that stops Mastodon fails the first time, as there are no containers yet. That is right: the settings had to come first.\n" +
		"   Type then, in that directory, `docker compose up --detach`. Wait a minute, while PostgreSQL makes its files.\n" +
		"   Then type `docker compose stop`, and run the script again."
}

// before tells what else one should know.
func (p *Plan) before(g *page) {
	here, own, first := p.restored.Target, "Mastodon's units of systemd", "Mastodon's units"
	if p.restored.Manifest.Deployment.Kind == source.Compose {
		own, first = "the Compose file, unless it was added to the secrets", "the Compose file"
	}
	g.blocks = append(g.blocks, "## Before you begin")
	g.say("- **This directory must be %s** on the server that is to run Mastodon. If it is elsewhere, copy it there as root: all texts name that place.", here)
	g.blocks[len(g.blocks)-1] += strings.Join([]string{"",
		"- **What was written after the snapshot does not come back.** What the server has now is kept, but for media files of the same names.\n" +
			"  The old database gets another name. Old settings and Redis' old data are put beside the new ones.",
		"- The domain must stay the same. The old server must be off: two servers with the same keys confuse all other servers.",
		"- Not in this backup: " + own + "; nginx and its TLS certificates, DNS, the firewall, e-mail, Elasticsearch.\n" +
			"  Set them up as for a new Mastodon: " + first + " before the steps, all else before or after them.",
		"- Copy the program `permafrost` to this server too, and write its path in `host.sh`, as `permafrost=PATH`. Most steps do without it.\n" +
			"  Without it they may ask you for the database's password, which is `DB_PASS` in Mastodon's settings.",
		"- Every step may be run again, also after Ctrl-C or a power cut. Once Mastodon has run, take care: the snapshot's data come again in the\n" +
			"  place of all that was written since.",
		"- If you would rather see each command, paste the blocks below, one after the other, into a root shell (bash). **A block that went\n" +
			"  well ends with a line like \"Step 1 done\". If that line is missing, stop there**: repair what the lines above say, and paste the block again.",
	}, "\n")
	if c := p.restored.Components; c["secrets"] && c["postgres"] && c["redis"] && c["media"] {
		g.blocks[len(g.blocks)-1] += "\n- Only a part is lost? `permafrost restore --component postgres` (or `media`, `redis`, `secrets`) into another directory" +
			"\n  makes a plan for that part alone."
	}
}

// look ends the page.
func (p *Plan) look(g *page) {
	g.blocks = append(g.blocks, "## At the end")
	g.say("**Look.** Log in, open old posts with pictures, follow somebody. In `/sidekiq` look at the retries. (`/health` says OK whatever the state.)")
	if p.restored.Manifest.Deployment.Kind != source.Compose {
		g.say("**Let Mastodon start with the server:** type, as root, %s.", "( . "+escape.Shell(p.Host())+`; systemctl enable -- "${mastodon_services[@]}" )`)
	}
	m := p.restored.Manifest
	postgres := p.restored.Components["postgres"]
	if r := m.Rows(); r != nil && postgres {
		g.say("The database had %d accounts, %d users, %d statuses and %d media attachments.", r.Accounts, r.Users, r.Statuses, r.MediaAttachments)
	}
	g.say("**Back up again.** On a new server permafrost needs its configuration (`/etc/permafrost.toml`), an SSH key that the storage lets in,\n" +
		"and a key of its own: `permafrost key add writer --name NAME --key-file /etc/permafrost/writer.key -i RECOVERY-FILE`.")
	g.blocks = append(g.blocks, "**Remove, once all is well**, since these hold your users' data and all keys:")
	items := []string{"- this directory, " + escape.Markdown(p.restored.Target) + ", and the recovery file, if you copied it to this server"}
	if postgres {
		drop := "( set -euo pipefail; . " + escape.Shell(p.Host()) + `; cd /; pg_begin; pg_drop "$pg_old"; say "$pg_old is removed." )`
		items = append(items, "- the old database, where there was one: type, as root, "+escape.Markdown(drop))
	}
	if p.restored.Components["redis"] {
		items = append(items, "- Redis' old data, where the step that gave Redis its data said")
	}
	if p.restored.Components["secrets"] {
		items = append(items, "- old settings: files whose names end in `.before-` and "+escape.Markdown(p.restored.Ref.ID.Short()))
	}
	g.blocks = append(g.blocks, strings.Join(items, "\n"))
}
