package secrets

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"permafrost/internal/escape"
	"permafrost/source/way"
)

//go:embed steps/*.sh
var stepFiles embed.FS

// A SavedFile is a file that a snapshot has.
type SavedFile struct {
	Name  string // of the restored file, below the directory of the restore
	Path  string // where it belongs: absolute and clean
	Mode  uint32 // of its bits those of permission count
	Owner string // USER:GROUP, each a name or a number
}

// WayBack returns how the settings and the other files come back. Mastodon's user writes what lies below the live directory,
// unless he is root.
func WayBack(files []SavedFile, live, user string) way.Part {
	code, err := stepFiles.ReadFile("steps/functions.sh")
	if err != nil {
		panic(err) // it is part of the program
	}
	p := way.Part{Name: "Settings and secrets", Code: string(code), Steps: way.Read(stepFiles, "steps")}
	inside, outside := newTable("settings"), newTable("others")
	for i := range files {
		if f := &files[i]; user != "root" && isBelow(f.Path, live) {
			inside.add(f)
		} else {
			outside.add(f)
		}
	}
	if len(inside.files) > 0 {
		p.Vars = inside.vars()
	}
	if len(outside.files) > 0 {
		p.Vars = slices.Concat(p.Vars, outside.vars(), []way.Var{{Name: "others_owners", About: "their owners and groups", Values: outside.owners, Array: true}})
		others := &p.Steps[1]
		for _, to := range outside.paths {
			others.Why += "\n- " + escape.Markdown(to)
		}
		others.Why = strings.Replace(others.Why, "\n- ", "\n\n- ", 1)
	}
	p.Steps = slices.DeleteFunc(p.Steps, func(s way.Step) bool {
		return s.Name == "settings" && len(inside.files) == 0 || s.Name == "others" && len(outside.files) == 0
	})
	return p
}

// A table is files as host.sh has them: in arrays.
type table struct {
	name                        string
	files, paths, modes, owners []string
}

func newTable(name string) *table { return &table{name: name} }

func (t *table) add(f *SavedFile) {
	t.files, t.paths = append(t.files, f.Name), append(t.paths, f.Path)
	t.modes, t.owners = append(t.modes, fmt.Sprintf("%04o", f.Mode&0o777)), append(t.owners, f.Owner)
}

func (t *table) vars() []way.Var {
	return []way.Var{
		{Name: t.name + "_files", About: "files in the directory with the restored files", Values: t.files, Array: true},
		{Name: t.name + "_paths", About: "where each of them belongs", Values: t.paths, Array: true},
		{Name: t.name + "_modes", About: "their modes", Values: t.modes, Array: true},
	}
}

// isBelow reports whether a clean path is below a directory, the whole file system aside.
func isBelow(name, dir string) bool {
	dir = path.Clean(dir)
	return path.IsAbs(dir) && dir != "/" && strings.HasPrefix(name, dir+"/")
}
