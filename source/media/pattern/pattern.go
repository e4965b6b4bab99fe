// Package pattern matches paths against patterns in gitignore's manner:
//
//	*.tmp              a pattern without a slash matches a name in any directory
//	/cache             a leading slash, or one inside, ties the pattern to the root
//	cache/**           everything below cache; cache itself stays, as an empty directory
//	**/original/*.png  ** as a component stands for any number of directories, none included
//	imports/           a slash at the end matches directories only
//	[a-f]?[!0-9]       a character of a set, any one character, one that is not in the set
//	\*                 a backslash takes a character as it is
//
// gitignore's exception, a leading "!", is refused: where a directory is left out without being read, what is inside can't be brought
// back by it.
package pattern

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
)

// A Pattern matches paths. It may be used from any goroutine.
type Pattern struct {
	components []component
	anywhere   bool // one component, matched against the name in any directory
	dirs       bool // matches directories alone
}

// Parse reads a pattern.
func Parse(text string) (Pattern, error) {
	p, err := parse(text)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", text, err)
	}
	return p, nil
}

// Match reports whether the pattern matches a path, which has no leading slash. The directories above it are not looked at: who
// walks a tree has asked for them before.
func (p *Pattern) Match(name string, dir bool) bool { return (dir || !p.dirs) && p.match(name) }

// A Set is patterns of which one suffices, and which of them have matched. It may be used from any goroutine.
type Set []member

type member struct {
	Pattern
	text string       // as it was given
	hit  *atomic.Bool // it has matched something
}

// ParseSet reads patterns.
func ParseSet(texts []string) (Set, error) {
	var x Set
	for _, text := range texts {
		p, err := Parse(text)
		if err != nil {
			return nil, err
		}
		x = append(x, member{p, text, new(atomic.Bool)})
	}
	return x, nil
}

// Match reports whether any of the patterns matches a path, as Pattern.Match does.
func (x Set) Match(name string, dir bool) bool {
	for i := range x {
		if x[i].Match(name, dir) {
			x[i].hit.Store(true)
			return true
		}
	}
	return false
}

// Idle returns the patterns that have matched nothing yet.
func (x Set) Idle() (texts []string) {
	for i := range x {
		if !x[i].hit.Load() {
			texts = append(texts, x[i].text)
		}
	}
	return texts
}

// A component matches one component of a path, or any number of them.
type component struct {
	text string
	kind componentKind
}

type componentKind byte

const (
	literal  componentKind = iota
	glob                   // a pattern of path.Match
	anyDepth               // **
)

func parse(text string) (Pattern, error) {
	if strings.HasPrefix(text, "!") {
		return Pattern{}, fmt.Errorf("exceptions are not supported; write \\! where the name begins with it")
	}
	rest, dirs := strings.CutSuffix(text, "/")
	names := strings.Split(strings.TrimPrefix(rest, "/"), "/")
	p := Pattern{dirs: dirs, anywhere: len(names) == 1 && !strings.HasPrefix(rest, "/")}
	for _, name := range names {
		c := component{text: name}
		switch {
		case name == "":
			return Pattern{}, fmt.Errorf("an empty name; patterns look like cache/** or *.tmp")
		case name == "." || name == "..":
			return Pattern{}, fmt.Errorf("%q is no name; patterns are relative to the media directory", name)
		case name == "**":
			c.kind = anyDepth
		case strings.ContainsAny(name, `*?[\`):
			c.kind = glob
			c.text = negations(name)
		}
		if c.kind == glob {
			if _, err := path.Match(c.text, ""); err != nil {
				return Pattern{}, fmt.Errorf("a [ without its ], or a \\ with nothing behind it (\\[ is the character itself)")
			}
		}
		p.components = append(p.components, c)
	}
	if last := len(p.components) - 1; p.components[last].kind == anyDepth {
		// Below a directory is not the directory itself: one name at least.
		p.components = slices.Insert(p.components, last, component{"*", glob})
		p.anywhere = false
	}
	return p, nil
}

// negations writes [!set] as path.Match wants it: [^set].
func negations(name string) string {
	b := []byte(name)
	for i, in := 0, false; i < len(b); i++ {
		switch {
		case b[i] == '\\':
			i++
		case in:
			in = b[i] != ']'
		case b[i] == '[':
			in = true
			if i+1 < len(b) && b[i+1] == '!' {
				b[i+1] = '^'
			}
		}
	}
	return string(b)
}

func (p *Pattern) match(name string) bool {
	if p.anywhere {
		return p.components[0].match(name[strings.LastIndexByte(name, '/')+1:])
	}
	// Each ** takes as few components as it can; where the rest then fails, the last one takes one more.
	at, rest, more := 0, name, true
	again, taken := -1, ""
	for more {
		if at < len(p.components) {
			c := p.components[at]
			if c.kind == anyDepth {
				at++
				again, taken = at, rest
				continue
			}
			if head, tail, found := strings.Cut(rest, "/"); c.match(head) {
				at, rest, more = at+1, tail, found
				continue
			}
		}
		if again < 0 {
			return false
		}
		_, taken, more = strings.Cut(taken, "/")
		at, rest = again, taken
	}
	for at < len(p.components) && p.components[at].kind == anyDepth {
		at++
	}
	return at == len(p.components)
}

func (c component) match(name string) bool {
	if c.kind == literal {
		return c.text == name
	}
	ok, _ := path.Match(c.text, name)
	return ok
}
