package media

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
)

// excludes are compiled patterns; a path that matches any is left out.
type excludes []pattern

type pattern struct {
	components []component
	anywhere   bool // one component, matched against the name in any directory
	dirs       bool // matches directories alone

	text string       // as it was given
	hit  *atomic.Bool // it has matched something
}

// A Pattern matches paths, as the package comment tells.
type Pattern struct{ p pattern }

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	p, err := compile(text)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", text, err)
	}
	return Pattern{p}, nil
}

// Match reports whether the pattern matches a path, which has no leading slash.
func (p Pattern) Match(name string, dir bool) bool { return (dir || !p.p.dirs) && p.p.match(name) }

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

// compileExcludes checks and compiles patterns, as the package comment tells them.
func compileExcludes(patterns []string) (excludes, error) {
	var x excludes
	for _, text := range patterns {
		p, err := compile(text)
		if err != nil {
			return nil, fmt.Errorf("exclude pattern %q: %w", text, err)
		}
		p.text, p.hit = text, new(atomic.Bool)
		x = append(x, p)
	}
	return x, nil
}

func compile(text string) (pattern, error) {
	if strings.HasPrefix(text, "!") {
		return pattern{}, fmt.Errorf("exceptions are not supported; write \\! where the name begins with it")
	}
	rest, dirs := strings.CutSuffix(text, "/")
	names := strings.Split(strings.TrimPrefix(rest, "/"), "/")
	p := pattern{dirs: dirs, anywhere: len(names) == 1 && !strings.HasPrefix(rest, "/")}
	for _, name := range names {
		c := component{text: name}
		switch {
		case name == "":
			return pattern{}, fmt.Errorf("an empty name; patterns look like cache/** or *.tmp")
		case name == "." || name == "..":
			return pattern{}, fmt.Errorf("%q is no name; patterns are relative to the media directory", name)
		case name == "**":
			c.kind = anyDepth
		case strings.ContainsAny(name, `*?[\`):
			c.kind = glob
			c.text = negations(name)
		}
		if c.kind == glob {
			if _, err := path.Match(c.text, ""); err != nil {
				return pattern{}, fmt.Errorf("a [ without its ], or a \\ with nothing behind it (\\[ is the character itself)")
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

// match reports whether a path relative to the root is left out. The directories above it are not: they have been
// asked for before.
func (x excludes) match(name string, dir bool) bool {
	for i := range x {
		if p := &x[i]; (dir || !p.dirs) && p.match(name) {
			p.hit.Store(true)
			return true
		}
	}
	return false
}

// idle returns the patterns that have matched nothing yet.
func (x excludes) idle() (texts []string) {
	for i := range x {
		if !x[i].hit.Load() {
			texts = append(texts, x[i].text)
		}
	}
	return texts
}

func (p *pattern) match(name string) bool {
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
