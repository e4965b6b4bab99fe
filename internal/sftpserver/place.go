package sftpserver

import (
	"encoding/hex"
	"path"
	"strings"

	"permafrost/repo/store"
)

// A place is what a name may be the name of.
type place int

const (
	nowhere   place = iota // nothing of a repository's
	directory              // one of the few that a repository has
	object                 // committed, for good
	lease                  // advisory: nothing references it
	temp                   // an upload under way
)

// placeOf tells where a name stands in a repository; "." is its root. Directories are listed one by one: one that stands where
// an object would, such as the log's next number, could never be got past.
func placeOf(name string) place {
	switch {
	case name == ".":
		return directory
	case !store.IsPath(name):
		return nowhere
	case name == store.ConfigObject, name == store.ReserveObject:
		return object
	}
	dir, rest, below := strings.Cut(name, "/")
	if dir == store.Temp {
		return within(temp, rest, below)
	}
	switch store.KindOfDir(dir) {
	case store.None:
		return nowhere
	case store.Lease:
		return within(lease, rest, below)
	case store.Pack:
		if !below {
			return directory
		}
		digits, rest, below := strings.Cut(rest, "/")
		if b, err := hex.DecodeString(digits); err == nil && len(b) == 1 {
			return within(object, rest, below)
		}
		return nowhere
	}
	return within(object, rest, below)
}

// within returns the place of what a directory of files holds, or of itself.
func within(holds place, rest string, below bool) place {
	switch {
	case !below:
		return directory
	case strings.Contains(rest, "/"):
		return nowhere
	}
	return holds
}

// absolute returns a client's path as the host has it.
func (t *tree) absolute(p string) string {
	if !path.IsAbs(p) {
		p = path.Join(t.dir, p)
	}
	return path.Clean(p)
}

// name returns a client's path as a name below the root, and where that stands.
func (t *tree) name(p string) (string, place) {
	p = t.absolute(p)
	if p == t.dir {
		return ".", directory
	}
	name, ok := strings.CutPrefix(p, strings.TrimSuffix(t.dir, "/")+"/")
	if !ok {
		return "", nowhere
	}
	return name, placeOf(name)
}
