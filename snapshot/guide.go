package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"permafrost/internal/escape"
)

// RESTORE.md is read and pasted by root, and its names were chosen elsewhere: by whoever wrote the snapshot, and by
// Mastodon's user, who names hosts, roles, databases and files. So
//
//   - a guide's text and its commands are made by say, list, command and asUser, which escape every name they are given;
//   - what a name decides is done with the rights of the user whose it is, and not with root's;
//   - where root's rights are needed on a path of the snapshot's, the text says so and shows the path.

// A guide is RESTORE.md while it is written: paragraphs, lists and blocks of commands, in order.
type guide struct {
	blocks []string
	step   int
}

// bytes returns the document.
func (g *guide) bytes() []byte { return []byte(strings.Join(g.blocks, "\n\n") + "\n") }

// heading begins a step.
func (g *guide) heading(title string) {
	g.step++
	g.blocks = append(g.blocks, fmt.Sprintf("## %d. %s", g.step, title))
}

// A markdown is text of a document that is right as it stands.
type markdown string

// say adds a paragraph of Markdown. Each argument that is a string or a Text is a name, and becomes a code span.
func (g *guide) say(format string, args ...any) {
	g.blocks = append(g.blocks, prose(format, args...))
}

// prose formats Markdown as say does.
func prose(format string, args ...any) string {
	args = slices.Clone(args)
	for i, a := range args {
		switch name := a.(type) {
		case string:
			args[i] = escape.Markdown(name)
		case Text:
			args[i] = escape.Markdown(string(name))
		}
	}
	return fmt.Sprintf(format, args...)
}

// list adds a list of items that prose has made.
func (g *guide) list(items []string) {
	g.blocks = append(g.blocks, "- "+strings.Join(items, "\n- "))
}

// code adds a block of commands, which the reader can copy as they are.
func (g *guide) code(lines ...shell) {
	var b strings.Builder
	b.WriteString("```bash\n")
	for _, l := range lines {
		b.WriteString(string(l) + "\n")
	}
	g.blocks = append(g.blocks, b.String()+"```")
}

// A shell is text of a shell that is right as it stands.
type shell string

// command returns a command of these words, whatever they hold.
func command(words ...string) shell {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = escape.Shell(w)
	}
	return shell(strings.Join(quoted, " "))
}

// asUser returns a command that runs with a user's rights alone: in a session of its own, since a process of that user could
// otherwise type into root's terminal.
func asUser(user string, words ...string) shell {
	return command("setsid", "--wait", "runuser", "--user="+user, "--") + " " + command(words...)
}

// from returns a command that reads a file of this directory.
func (s shell) from(file string) shell { return s + " < " + command("./"+file) }

// note returns a command with a comment, which is no name.
func (s shell) note(text string) shell { return s + "   # " + shell(text) }

// page returns RESTORE.md. Where another user can change what is in the target directory, root is to run nothing from there: a
// shell follows any link in "< FILE", and the page itself may be another by then.
func (rs *restorer) page(want map[string]bool) []byte {
	if rs.out.Owner == "" {
		return rs.guide(want)
	}
	g := rs.begin()
	g.say("**This directory is the user %s's, who can change everything in it, this page too. So it holds no commands for root.**\nFor those restore once more, into a directory that only root can write, such as `/root/restore`.", rs.out.Owner)
	return g.bytes()
}

// begin returns a guide that says which snapshot this is.
func (rs *restorer) begin() *guide {
	m := rs.m
	g := new(guide)
	g.blocks = append(g.blocks, prose("# Restoring %s, as of %s", m.Instance, markdown(m.Date)))
	g.say("Snapshot %v, taken on %s of the host %s by permafrost %s.", rs.ref.ID, markdown(m.Boundary.Time.UTC().Format(time.RFC1123)), m.Host, m.Version)
	return g
}

// guide returns what is in the target directory and what to do with it, in order.
func (rs *restorer) guide(want map[string]bool) []byte {
	m := rs.m
	g := rs.begin()
	if m.Boundary.Method == "stopped" {
		g.say("The services stood still: all parts are of one moment.")
	} else {
		g.say("The services ran: PostgreSQL was fixed first, then Redis, then the media were read. Every file that the\ndatabase names is there, unless it was deleted in these minutes.")
	}
	if n := m.Media.LeftOut; n > 0 {
		g.say("**%d media files could not be read then and are not in the snapshot.** `permafrost show` names them.", n)
	}
	for i := range rs.out.Absent {
		a := &rs.out.Absent[i]
		g.say("**The snapshot does not have %s, or not all of it: %s.** Take it from another snapshot: `permafrost snapshots` tells\nwhich have it, and `permafrost restore --component` restores it alone.", a.Part, a.String())
	}
	if rs.out.Lost > 0 {
		g.say("**%d media files are damaged in the repository and were not restored.**", rs.out.Lost)
	}
	g.say("The commands are for root, in bash, on a Debian-like host, in this directory. Their names and paths come from the\nhost that was backed up. Read each block before you run it.")
	g.code(command("cd", "--", rs.Target), checkSums(m))

	user := mastodonUser(m)
	g.heading("Install Mastodon, and stop it")
	if m.Mastodon != "" {
		g.say("The snapshot is of Mastodon %s.", m.Mastodon)
	}
	if v := m.Postgres.Server.SchemaMigration; v != "" {
		g.say("Install the version of Mastodon that this snapshot is of: its newest database migration is %s.", v)
	}
	g.say("It belongs at %s, and to the user %s. Then stop it:", m.Live, user)
	g.code(command("systemctl", "stop", "mastodon-*"))
	if user != m.User && m.User != "" {
		g.say("The snapshot was taken where Mastodon ran as %s. Here it is to have a user of its own.", m.User)
	}
	for _, s := range []struct {
		component string
		write     func(g *guide, m *Manifest, user string)
	}{{"secrets", guideSecrets}, {"postgres", guidePostgres}, {"media", guideMedia}, {"redis", guideRedis}} {
		if want[s.component] {
			s.write(g, m, user)
		}
	}
	guideEnd(g, m, user)
	return g.bytes()
}

// checkSums returns the command that checks SHA256SUMS. It prints the names of the files as they are; where one of them could
// write to the terminal, cat shows it as text.
func checkSums(m *Manifest) shell {
	check := command("sha256sum", "--check", sumsName)
	for i := range m.Secrets.Files {
		if !escape.Visible(string(m.Secrets.Files[i].Path)) {
			return check + " 2>&1 | cat -v"
		}
	}
	return check
}

// mastodonUser returns the user that Mastodon is to run as on the new host: never root, and never a number.
func mastodonUser(m *Manifest) string {
	if m.User == "" || m.User == "root" || strings.Trim(m.User, "0123456789") == "" {
		return "mastodon"
	}
	return m.User
}
