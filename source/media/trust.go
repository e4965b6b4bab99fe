package media

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/source"
)

// Who could once write snapshots, or to Mastodon's files, chose what a tree is like. A restore by root must not make a program
// with root's rights of that, nor a way to what the web server should not show. Media need none of these:
//
//   - setuid and setgid bits of files; setgid of a directory whose group is not the media's
//   - files of root: they belong to the media's owner instead
//   - devices
//   - extended attributes that root alone can set, capabilities above all; a label of SELinux is no right
//   - symbolic links that lead out of the tree: in the tree they came from they are an administrator's, but a web server follows
//     anybody's

// errUntrusted is the reason for what is left out.
var errUntrusted = source.Because(CauseUntrusted, errors.New("the media are not trusted"))

func (a *attributes) leaveOut(what, path string) { a.lost.add(what+" left out", path, errUntrusted) }

// mode returns the mode that an entry is given, which belongs to the group gid now.
func (a *attributes) mode(e *source.Entry, gid int) uint32 {
	mode := e.Mode & 07777
	if a.trusted {
		return mode
	}
	lends := mode & (unix.S_ISUID | unix.S_ISGID)
	if e.Type == source.Dir && gid == a.owners.gid {
		lends &^= unix.S_ISGID
	}
	if lends != 0 {
		a.leaveOut("setuid and setgid bits", e.Path)
	}
	return mode &^ lends
}

// rootsOwn reports whether root alone can set an extended attribute, so that a file with it may have rights that its owner has
// not.
func rootsOwn(name string) bool {
	return strings.HasPrefix(name, "trusted.") || strings.HasPrefix(name, "security.") && name != "security.selinux"
}

// leadsOut reports whether a symbolic link at path may lead out of the tree, where all links in it are held to this. The
// directory that it is in is a real one, so ".." at the beginning can be counted; behind a name, which may be a link,
// nobody knows what it leads up from.
func leadsOut(path, target string) bool {
	if strings.HasPrefix(target, "/") {
		return true
	}
	up, down := strings.Count(path, "/"), false
	for name := range strings.SplitSeq(target, "/") {
		switch {
		case name == "" || name == ".":
		case name != "..":
			down = true
		case down || up == 0:
			return true
		default:
			up--
		}
	}
	return false
}
