package backup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"permafrost/source/media"
)

// maxLeads is how many directories a word about links names: Mastodon's user makes as many links as he likes.
const maxLeads = 20

// A leadingOut notes where the links lead that lead out of the media.
type leadingOut struct {
	targets []string // without doubles
	more    bool     // there are others
}

func (l *leadingOut) note(err error) {
	out := (*media.LeadsOutError)(nil)
	switch {
	case !errors.As(err, &out) || out.Why != "" || slices.Contains(l.targets, out.Target):
	case len(l.targets) == maxLeads:
		l.more = true
	default:
		l.targets = append(l.targets, out.Target)
	}
}

// advice returns the one setting that stores what all of the links lead to, beside what is followed already; "" where there
// are none.
func (l *leadingOut) advice(follow []string) string {
	if len(l.targets) == 0 {
		return ""
	}
	var dirs []string
	for _, dir := range slices.Concat(follow, slices.Sorted(slices.Values(l.targets))) {
		dirs = append(dirs, fmt.Sprintf("%q", dir))
	}
	more := ""
	if l.more {
		more = fmt.Sprintf(". These are the first %d: there are more", maxLeads)
	}
	return fmt.Sprintf("media: to store the targets of these links, name their directories in permafrost.toml below [media]: follow = [%s]%s",
		strings.Join(dirs, ", "), more)
}
