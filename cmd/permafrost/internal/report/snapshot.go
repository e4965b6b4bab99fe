package report

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/snapshot"
)

// Snapshot tells about a snapshot in paragraphs and a table.
func Snapshot(s *keeper.Manifest) (lines []string) {
	ref, m := &s.Ref, s.Manifest
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	line := func(name, format string, args ...any) { add("%-10s %s", name, fmt.Sprintf(format, args...)) }
	line("snapshot", "%v", ref.ID)
	line("instance", "%s", escape.Name(m.Instance))
	line("date", "%s", escape.Name(m.Date))
	line("taken", "%s, in %s", units.Time(m.Created), units.Duration(m.Finished.Sub(m.Created)))
	line("host", "%s, by %s with permafrost %s", escape.Name(m.Host), escape.Name(ref.Writer), escape.Name(m.Version))
	if m.Mastodon != "" {
		line("mastodon", "%s, database migration %s", escape.Name(m.Mastodon), escape.Name(cmp.Or(m.Postgres.Server.SchemaMigration, "unknown")))
	}
	if len(m.Tags) > 0 {
		line("tags", "%s", printableList(m.Tags))
	}
	line("boundary", "%s", boundary(&m.Boundary))
	line("size", "%v, of which %v were stored by this snapshot", units.Bytes(ref.Size), units.Bytes(ref.Stored))
	for _, d := range s.Doubts {
		line(map[bool]string{true: "confirmed", false: "doubt"}[s.Confirmed], "%s", d.Text)
	}
	lines = append(append(lines, ""), components(m)...)
	for _, l := range m.Media.Left {
		add("left out: media/%s: %s", escape.Name(string(l.Path)), escape.Name(l.Reason))
	}
	if n := m.Media.LeftOut - len(m.Media.Left); n > 0 {
		add("left out: %s more", units.Plural(int64(n), "file", "files"))
	}
	for _, x := range m.Absent() {
		add("%s: %s", x.Part, escape.Name(x.String()))
	}
	for _, w := range m.Warnings {
		add("warning: %s", escape.Name(w))
	}
	return lines
}

// boundary says at which moment the components agree.
func boundary(b *snapshot.Boundary) string {
	text := "in order, the services running: begun at " + units.Time(b.Time)
	if b.Snapshot != "" {
		text = "in order, the services running: PostgreSQL at " + units.Time(b.Time)
	}
	if b.LSN != "" {
		text += " (LSN " + escape.Name(b.LSN) + ")"
	}
	if !b.Redis.IsZero() {
		text += ", Redis " + later(b.Time, b.Redis)
	}
	if !b.MediaTo.IsZero() {
		text += ", media until " + later(b.Time, b.MediaTo)
	}
	return text
}

func later(from, to time.Time) string { return units.Duration(to.Sub(from)) + " later" }

// components lays out what the snapshot has of each component.
func components(m *snapshot.Manifest) []string {
	t := console.NewTable("Component", ">Size", ">New", ">Stored", ">Wasted", "Content")
	add := func(name string, state snapshot.State, bytes int64, c *snapshot.Cost, content string) {
		if state == snapshot.Incomplete {
			content += ", incomplete"
		} else if state != snapshot.Captured {
			t.Add(name, "", units.Bytes(c.Fresh), units.Bytes(c.Stored), "", string(state))
			return
		}
		t.Add(name, units.Bytes(bytes), units.Bytes(c.Fresh), units.Bytes(c.Stored), units.Bytes(c.Wasted), content)
	}
	secrets := int64(0)
	for i := range m.Secrets.Files {
		secrets += m.Secrets.Files[i].Size
	}
	add("secrets", m.Secrets.State, secrets, &m.Secrets.Cost, units.Plural(int64(len(m.Secrets.Files)), "file", "files"))
	add("postgres", m.Postgres.State, m.Postgres.Size, &m.Postgres.Cost, escape.Name(m.Postgres.Database)+", "+postgresFacts(m))
	for name, r := range m.Redises {
		add(name, r.State, r.Size, &r.Cost, redisFacts(r))
	}
	if x := m.Media.External; x != nil {
		t.Add("media", "", "", "", "", fmt.Sprintf("external: %s bucket %s", escape.Name(x.Kind), escape.Name(x.Bucket)))
		return t.Lines()
	}
	content := units.Plural(m.Media.Files, "file", "files")
	for _, extra := range []struct {
		n    int64
		what string
	}{{m.Media.Changed, "changed meanwhile"}, {m.Media.Vanished, "vanished"}, {int64(m.Media.LeftOut), "left out"}} {
		if extra.n > 0 {
			content += fmt.Sprintf(", %s %s", units.Count(extra.n), extra.what)
		}
	}
	add("media", m.Media.State, m.Media.Size, &m.Media.Cost, content)
	return t.Lines()
}

// postgresFacts says what the dump holds.
func postgresFacts(m *snapshot.Manifest) string {
	f, d := &m.Postgres.Server, &m.Postgres.Dump
	text := "PostgreSQL " + escape.Name(strings.Fields(f.Version + " ?")[0])
	if d.Entries > 0 {
		text += ", " + units.Plural(int64(d.Entries), "entry", "entries")
	}
	return text
}

// redisFacts says what the RDB holds and how it was had.
func redisFacts(r *snapshot.Redis) string {
	keys := int64(0)
	for _, n := range r.Server.Keys {
		keys += n
	}
	text := units.Plural(keys, "key", "keys") + ", by " + escape.Name(r.Dump.Method)
	if r.Server.Version != "" {
		text = escape.Name(r.Server.Server()) + ", " + text
	}
	if q := r.Server.Queues; q != nil {
		jobs := q.Schedule + q.Retry + q.Dead
		for _, n := range q.Queues {
			jobs += n
		}
		text += ", " + units.Plural(jobs, "job", "jobs")
	}
	return text
}
