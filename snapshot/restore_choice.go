package snapshot

import (
	"fmt"
	"strings"

	"permafrost/source/media"
)

// A choice says which media are meant: those that a pattern of include matches, or that lie below a directory which one
// matches; all where there is none. What a pattern of exclude matches is left out, with all that is below it.
type choice struct{ include, exclude []chosen }

// A chosen is a pattern and whether it has matched anything.
type chosen struct {
	media.Pattern
	text string
	hit  bool
}

func newChoice(include, exclude []string) (c choice, err error) {
	if c.include, err = patterns("--include", include); err == nil {
		c.exclude, err = patterns("--exclude", exclude)
	}
	return c, err
}

// CheckPatterns returns an error where one of the patterns can't be read.
func CheckPatterns(include, exclude []string) error {
	_, err := newChoice(include, exclude)
	return err
}

func patterns(flag string, texts []string) (all []chosen, err error) {
	for _, text := range texts {
		p, err := media.ParsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		all = append(all, chosen{Pattern: p, text: flag + " " + text})
	}
	return all, nil
}

// all reports whether everything is meant.
func (c *choice) all() bool { return len(c.include) == 0 && len(c.exclude) == 0 }

// of reports whether a path is meant. The root is none.
func (c *choice) of(path string, dir bool) bool {
	if c.all() {
		return true
	}
	return !match(c.exclude, path, dir) && (len(c.include) == 0 || match(c.include, path, dir))
}

// match reports whether one of the patterns matches a path or a directory that it is in. It notes each pattern that does.
func match(patterns []chosen, path string, dir bool) (found bool) {
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

// idle returns the patterns that have matched nothing.
func (c *choice) idle() (texts []string) {
	for _, list := range [][]chosen{c.include, c.exclude} {
		for _, p := range list {
			if !p.hit {
				texts = append(texts, p.text)
			}
		}
	}
	return texts
}
