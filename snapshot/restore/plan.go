package restore

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"permafrost/internal/escape"
	"permafrost/snapshot"
	"permafrost/source"
	"permafrost/source/deploy"
	"permafrost/source/media"
	"permafrost/source/secrets"
	"permafrost/source/way"
)

// The names of the plan's texts, below the directory of the restored files.
const (
	GuideName  = "RESTORE.md"
	ScriptName = "restore.sh"
	planDir    = "plan"
	hostName   = planDir + "/host.sh"
)

// A Plan is the way back from restored files.
type Plan struct {
	restored *Restored
	program  string
	parts    []way.Part
}

// NewPlan makes the plan for what was restored. Program is the path of permafrost, "" where it is not to be used. Where the steps of
// one part can't be made the plan has the others, and there is an error too.
func NewPlan(r *Restored, program string) (*Plan, error) {
	p := &Plan{restored: r, program: program}
	m := r.Manifest
	user := p.user()
	services := deploy.WayBack(deploy.Saved{Deployment: m.Deployment, Live: string(m.Live), User: user, Version: m.Mastodon,
		Migration: m.Postgres.Server.SchemaMigration,
		Refetch:   r.Components["media"] && m.Media.External == nil && (m.Media.NoCache || len(m.Media.Excludes) > 0)})
	p.parts = []way.Part{p.first(), services.Ready}
	var errs []error
	for _, c := range []struct {
		component string
		ways      func() ([]way.Part, error)
	}{
		{"secrets", p.secrets},
		{"", func() ([]way.Part, error) { return []way.Part{services.Stop}, nil }},
		{"postgres", p.postgres}, {"media", p.media}, {"redis", p.redis},
		{"", func() ([]way.Part, error) { return []way.Part{services.Start}, nil }},
	} {
		if c.component != "" && !r.Components[c.component] {
			continue
		}
		parts, err := c.ways()
		if err != nil {
			err = fmt.Errorf("no steps could be made for %s: %w", c.component, err)
			parts = []way.Part{{Name: c.component, Text: "**This part has no steps:** " + escape.Markdown(err.Error())}}
			errs = append(errs, err)
		}
		p.parts = append(p.parts, parts...)
	}
	return p, errors.Join(errs...)
}

// user returns whom Mastodon's files are to belong to on the new host. It is root for a Compose project that was root's, and nowhere
// else: a name of the snapshot would then decide where root writes. It is a number for a Compose project alone.
func (p *Plan) user() string {
	m := p.restored.Manifest
	compose := m.Deployment.Kind == source.Compose
	_, err := strconv.ParseUint(m.User, 10, 32)
	number := err == nil
	switch {
	case compose && (m.User == "root" || m.User == "0"):
		return "root"
	case m.User == "" || m.User == "root" || number && !compose:
		return "mastodon"
	}
	return m.User
}

const sumsStep = `# Check the restored files
#
# Changes nothing. Takes seconds, or minutes where the database is large.
#
# Each file must still be what the snapshot has. The media are not read once more: they were compared while they were written.

# --- run
if [ ! -s "$here/SHA256SUMS" ] && [ -f "$here/SHA256SUMS" ]; then
	say "Nothing but media was restored."
elif have_permafrost; then
	"$permafrost" restore-step sums "$here"
else
	(cd -- "$here" && sha256sum --check --quiet SHA256SUMS 2>&1 | cat -v)
fi || fail "Run the same permafrost restore again: it writes anew what differs."
`

// first is what is done before anything else.
func (p *Plan) first() way.Part {
	id := p.restored.Ref.ID.Short()
	return way.Part{Name: "Snapshot", Steps: []way.Step{way.MustParse("files", sumsStep)}, Vars: []way.Var{
		{Name: "restore_id", About: "stands in the names of what is put aside", Values: []string{id}},
	}}
}

func (p *Plan) secrets() ([]way.Part, error) {
	m := p.restored.Manifest
	var files []secrets.SavedFile
	for i := range m.Secrets.Files {
		f := &m.Secrets.Files[i]
		files = append(files, secrets.SavedFile{Name: secretName(m, i), Path: string(f.Path), Mode: f.Mode,
			Owner: owner(m.Users, f.UID) + ":" + owner(m.Groups, f.GID)})
	}
	return []way.Part{secrets.WayBack(files, string(m.Live), p.user())}, nil
}

// owner returns the name of a user or group, or its number.
func owner(names map[uint32]string, id uint32) string {
	if n := names[id]; n != "" && !strings.ContainsAny(n, ":. ") {
		return n
	}
	return strconv.FormatUint(uint64(id), 10)
}

func (p *Plan) media() ([]way.Part, error) {
	m := &p.restored.Manifest.Media
	if m.State != snapshot.Captured {
		return nil, nil
	}
	return []way.Part{media.WayBack(path.Clean(string(m.Root)), m.UID, m.GID)}, nil
}

// A NumberedStep is a step with the number that texts call it by.
type NumberedStep struct {
	Number string
	way.Step
}

// Steps returns the steps in their order.
func (p *Plan) Steps() (all []NumberedStep) {
	for i := range p.parts {
		for _, s := range p.parts[i].Steps {
			all = append(all, NumberedStep{strconv.Itoa(len(all) + 1), s})
		}
	}
	return all
}

// Host is the path of host.sh.
func (p *Plan) Host() string { return path.Join(p.restored.Target, hostName) }

// Files returns everything that the plan consists of. Where another user can change what is in the directory, root is to run
// nothing from there: it is a page then that says so.
func (p *Plan) Files() []TextFile {
	if p.restored.Result.Owner != "" {
		return []TextFile{{Name: GuideName, Data: p.refusal()}}
	}
	files := []TextFile{
		{Name: GuideName, Data: p.guide()},
		{Name: ScriptName, Data: p.script()},
		{Name: hostName, Data: []byte(way.Host(p.restored.Target, p.program, p.parts)), Edited: true},
	}
	for i := range p.parts {
		for _, f := range p.parts[i].Files {
			files = append(files, TextFile{Name: path.Join(planDir, f.Name), Data: f.Data})
		}
	}
	return files
}

// Texts returns a function for Options.Texts: it makes the plan and returns its files.
func Texts(program string) func(*Restored) ([]TextFile, error) {
	return func(r *Restored) ([]TextFile, error) {
		p, err := NewPlan(r, program)
		return p.Files(), err
	}
}

// head returns the first bytes of a restored file.
func (p *Plan) head(name string, read func(io.Reader) ([]byte, error)) ([]byte, error) {
	f, err := p.restored.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f)
}
