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

// step adds a step.
func (g *page) step(host string, number int, s *way.Step) {
	g.blocks = append(g.blocks, fmt.Sprintf("## %d. %s", number, s.Title))
	if s.Why != "" {
		g.blocks = append(g.blocks, s.Why)
	}
	g.code(way.Block(host, strconv.Itoa(number), s))
	if s.Undo != "" {
		g.blocks = append(g.blocks, "To take it back: "+s.Undo)
	}
}

// begin returns a page that says which snapshot this is.
func (p *Plan) begin() *page {
	m := p.restored.Manifest
	g := new(page)
	g.say("# Restoring %s, as of %s", m.Instance, markdown(m.Date))
	g.say("Snapshot %v, taken on %s of the host %s by permafrost %s.", p.restored.Ref.ID,
		markdown(m.Boundary.Time.UTC().Format(time.RFC1123)), m.Host, m.Version)
	return g
}

// refusal returns the page for a directory in which another user decides.
func (p *Plan) refusal() []byte {
	g := p.begin()
	g.say("**This directory is the user %s's, who can change everything in it, this page too. So it holds no commands for root.**\n"+
		"For those restore once more, into a directory that only root can write, such as `/root/restore`.", p.restored.Result.Owner)
	return g.bytes()
}

// guide returns RESTORE.md.
func (p *Plan) guide() []byte {
	g := p.begin()
	p.holdings(g)
	p.unknown(g)
	p.overview(g)
	number := 0
	for i := range p.parts {
		if text := p.parts[i].Text; text != "" {
			g.blocks = append(g.blocks, text)
		}
		for j := range p.parts[i].Steps {
			number++
			g.step(p.Host(), number, &p.parts[i].Steps[j])
		}
	}
	p.look(g)
	return g.bytes()
}

// holdings tells what the directory has, and what it lacks.
func (p *Plan) holdings(g *page) {
	m, out := p.restored.Manifest, p.restored.Result
	if m.Boundary.Method == "stopped" {
		g.say("The services stood still: all parts are of one moment.")
	} else {
		g.say("The services ran: PostgreSQL was fixed first, then Redis, then the media were read. Every file that the\ndatabase names is there, unless it was deleted in these minutes.")
	}
	if n := m.Media.LeftOut; n > 0 {
		g.say("**%d media files could not be read then and are not in the snapshot.** `permafrost show` names them.", n)
	}
	for i := range out.Absent {
		a := &out.Absent[i]
		g.say("**The snapshot does not have %s, or not all of it: %s.** Take it from another snapshot: `permafrost snapshots` tells\nwhich have it, and `permafrost restore --component` restores it alone.", a.Part, a.String())
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
		{"postgres", m.Postgres.Dump.Tables == nil, "how many rows each table had: what came back is not compared with it"},
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

// overview tells how the plan is followed.
func (p *Plan) overview(g *page) {
	m, here := p.restored.Manifest, p.restored.Target
	g.blocks = append(g.blocks, "## Before you begin")
	version := "Mastodon"
	if m.Mastodon != "" {
		version += " " + escape.Markdown(m.Mastodon)
	}
	if m.Deployment.Kind == source.Compose {
		g.say("1. Install the container engine and Compose. Bring the project's directory back to %s, with its Compose file, of %s.\n"+
			"   It has the settings once step 2 and 3 have run. Then make the containers, there: `docker compose create`.", m.Live, markdown(version))
	} else {
		g.say("1. Install what the instance needs: %s in %s for the user %s, PostgreSQL, Redis. Follow Mastodon's own\n"+
			"   installation guide up to, and without, its setup (`mastodon:setup`).", markdown(version), m.Live, p.user())
	}
	g.say("2. Look at %s. It says where everything is on this host, as it was on the old one. Change there what is otherwise here.", p.Host())
	g.say("3. Follow the steps, as root. There are two ways, and they do the same:")
	g.say("   - Run all of them. It asks before each, stops where one does not hold, and goes on there when it is run again:")
	g.code("bash " + escape.Shell(here+"/"+ScriptName))
	g.say("   - Or paste each block into a root shell (bash). **A block that went well ends with a line like \"Step 1 holds\". If that line is\n     missing, stop there**: mend what the lines above say, and paste the same block again.")
	g.say("Every step may be run again after it was interrupted. The database that is there stays in use until the new one is whole and\nverified, and is kept under another name.")
}

// look ends the page.
func (p *Plan) look(g *page) {
	g.blocks = append(g.blocks, "## At the end: look")
	g.say("`/health` answers 200 whatever the state. Log in, open old posts with pictures, follow somebody. Look at Sidekiq's retries.")
	m := p.restored.Manifest
	if r := m.Rows(); r != nil && p.restored.Components["postgres"] {
		g.say("The database had %d accounts, %d users, %d statuses and %d media attachments.", r.Accounts, r.Users, r.Statuses, r.MediaAttachments)
	}
	g.say("The backups of this host go on with a key of its own: `permafrost key add writer` makes one.")
}
