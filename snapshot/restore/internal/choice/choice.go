// Package choice says which media are meant, by patterns of what is included and excluded.
package choice

import (
	"fmt"
	"strings"

	"permafrost/source/media/pattern"
)

// A Choice says which media are meant: those that a pattern of include matches, or that lie below a directory which one matches; all
// where there is none. What a pattern of exclude matches is left out, with all that is below it.
type Choice struct{ include, exclude []listed }

// A listed pattern is one of a list, and whether it has matched anything.
type listed struct {
	pattern.Pattern
	text string
	hit  bool
}

// New returns the Choice of two lists of patterns. The error for one that can't be read has the name of its list, of two, before it.
func New(include, exclude []string, names [2]string) (*Choice, error) {
	c := new(Choice)
	for i, list := range []struct {
		texts []string
		to    *[]listed
	}{{include, &c.include}, {exclude, &c.exclude}} {
		for _, text := range list.texts {
			p, err := pattern.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", names[i], err)
			}
			*list.to = append(*list.to, listed{Pattern: p, text: names[i] + " " + text})
		}
	}
	return c, nil
}

// All reports whether everything is meant.
func (c *Choice) All() bool { return len(c.include) == 0 && len(c.exclude) == 0 }

// Has reports whether the path of a file, or of a directory, is meant. The root is none.
func (c *Choice) Has(path string, dir bool) bool {
	if c.All() {
		return true
	}
	return !match(c.exclude, path, dir) && (len(c.include) == 0 || match(c.include, path, dir))
}

// match reports whether one of the patterns matches a path or a directory that it is in. It notes each pattern that does.
func match(patterns []listed, path string, dir bool) (found bool) {
	for end := 0; end < len(path); end++ {
		i := strings.IndexByte(path[end:], '/')
		if end += i; i < 0 {
			end = len(path)
		}
		for i := range patterns {
			p := &patterns[i]
			if (!found || !p.hit) && p.Match(path[:end], dir || end < len(path)) {
				found, p.hit = true, true
			}
		}
	}
	return found
}

// Idle returns the patterns that have matched nothing, each behind the name of its list.
func (c *Choice) Idle() (texts []string) {
	for _, list := range [][]listed{c.include, c.exclude} {
		for _, p := range list {
			if !p.hit {
				texts = append(texts, p.text)
			}
		}
	}
	return texts
}
