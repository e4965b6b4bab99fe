// Package way has the form of the way back: steps that bring a part of an instance back to where it ran.
//
// Each source tells its own part: variables that say where its server is, functions that reach it, files that its steps
// read, and the steps. A step is a piece of bash that names nothing of the instance. Names are variables of the host's
// file, host.sh, which each step reads first. So the same text is pasted from RESTORE.md, run by restore.sh and run by
// tests, no name of somebody else's stands in a command, and an administrator changes host.sh and no command where
// the new host is another one.
package way

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// A Part is what one component has to say.
type Part struct {
	Name  string // of the component, as people read it: PostgreSQL
	Text  string // paragraphs of Markdown that stand before its steps; may be empty
	Vars  []Var
	Code  string // of bash: functions that the steps use
	Files []File
	Steps []Step
}

// A Var is a variable of host.sh.
type Var struct {
	Name   string // of bash
	About  string // one line that says what it is, in plain text
	Values []string
	Array  bool // it is an array of Values; else it is the only value, or empty
}

// A File is data of a step. It lies in the directory that the variable plan names.
type File struct {
	Name string // one component of a path
	Data []byte
}

// A Step is one step of the way.
type Step struct {
	Name   string // letters, digits and dashes, other than those of all other steps
	Title  string // some words of plain text
	Effect string // what it changes and how long it takes: plain text that begins with "Changes"
	Why    string // paragraphs of Markdown; may be empty
	Check  string // bash that fails, and says why, where the step must not begin
	Run    string // bash that does it. Begun again after it was interrupted, it does no harm
	Verify string // bash that fails where the result is not what it must be
	Undo   string // paragraphs of Markdown that tell how to take it back; may be empty
}

// Read reads steps from files, in the order of their names. A step's name is its file's, without a number in front and
// ".sh" behind. A file begins with paragraphs of comment lines: the title, the effect, and the reason. Then come the sections, each
// below one of these lines, and each may be absent but run:
//
//	# --- check
//	# --- run
//	# --- verify
//	# --- undo
//
// The section undo holds comment lines alone. Read panics where a file is otherwise: it is part of the program.
func Read(files fs.FS, dir string) []Step {
	names, err := fs.Glob(files, path.Join(dir, "[0-9]*.sh"))
	if err != nil {
		panic(err)
	}
	var steps []Step
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err == nil {
			var s Step
			if s, err = parse(string(text)); err == nil {
				s.Name = strings.TrimSuffix(strings.TrimLeft(path.Base(name), "0123456789-"), ".sh")
				steps = append(steps, s)
				continue
			}
		}
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	return steps
}

// MustParse returns a step of the text that a file of Read would have.
func MustParse(name, text string) Step {
	s, err := parse(text)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	s.Name = name
	return s
}

var section = regexp.MustCompile(`(?m)^# --- ([a-z]+)\n`)

func parse(text string) (Step, error) {
	text = strings.ReplaceAll(text, "\t", "  ") // a shell that text is pasted into may take a tab for a wish to complete
	at := section.FindAllStringSubmatchIndex(text, -1)
	if at == nil {
		return Step{}, fmt.Errorf("no section")
	}
	title, why, _ := strings.Cut(uncomment(text[:at[0][0]]), "\n\n")
	s := Step{Title: title, Why: why}
	if effect, rest, _ := strings.Cut(why, "\n\n"); strings.HasPrefix(effect, "Changes ") {
		s.Effect, s.Why = strings.ReplaceAll(effect, "\n", " "), rest
	}
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		body := strings.TrimSpace(text[m[1]:end])
		switch name := text[m[2]:m[3]]; name {
		case "check":
			s.Check = body
		case "run":
			s.Run = body
		case "verify":
			s.Verify = body
		case "undo":
			s.Undo = uncomment(body)
		default:
			return Step{}, fmt.Errorf("unknown section %q", name)
		}
	}
	if s.Title == "" || strings.Contains(s.Title, "\n") || s.Run == "" {
		return Step{}, fmt.Errorf("no title of one line, or nothing to run")
	}
	return s, nil
}

// uncomment takes the marks of comments off lines.
func uncomment(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(l, "#"), " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
