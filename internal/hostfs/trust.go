package hostfs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Trust says who, beside root, could have decided where a path leads: who owns one of the directories and symbolic links
// on the way or may write into it, the last directory included. The zero Trust is that of root alone.
type Trust struct {
	Users []uint32 // owners other than root, each once
	Path  string   // the first that is theirs
	Open  string   // the first that a group or everybody may write; "" if there is none
	Led   bool     // they decide the way, and not only what is in the directory at its end
}

// Root reports whether nobody but root decides.
func (t Trust) Root() bool { return len(t.Users) == 0 && t.Open == "" }

// Only reports whether nobody but root and the user uid decides. Where uid lets a group of his write into what is his, that
// is his own word.
func (t Trust) Only(uid uint32) bool {
	return t.Open == "" && !slices.ContainsFunc(t.Users, func(u uint32) bool { return u != uid })
}

// Reason says in a few words why the path is not root's alone.
func (t Trust) Reason() string {
	switch {
	case t.Open != "" && (len(t.Users) == 0 || len(t.Open) <= len(t.Path)):
		return fmt.Sprintf("users other than root may write into %s", t.Open)
	case len(t.Users) > 0:
		u, err := LookupUID(t.Users[0], t.Users[0])
		if err != nil {
			u = &User{UID: t.Users[0]}
		}
		return fmt.Sprintf("%s belongs to %v", t.Path, u)
	}
	return ""
}

// add notes what a directory or a link on the way is like. Into a sticky directory others may put something, and not change
// what is root's in it: so only the last one counts (last).
func (t *Trust) add(path string, st *unix.Stat_t, acl, last bool) {
	if st.Uid != 0 && !slices.Contains(t.Users, st.Uid) {
		if len(t.Users) == 0 {
			t.Path = path
		}
		t.Users = append(t.Users, st.Uid)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK || st.Mode&unix.S_ISVTX != 0 && !last {
		return
	}
	others := st.Mode&unix.S_IWOTH != 0
	group := st.Mode&unix.S_IWGRP != 0 && (st.Gid != 0 || acl)
	if t.Open == "" && (others || group && st.Uid == 0) {
		t.Open = path
	}
}

// maxLinks is how many symbolic links a path may lead through, as in the kernel.
const maxLinks = 40

// Walk opens the directory that path leads to, which is absolute, and says who decided that it leads there. It goes from the
// root directory, one name at a time, and looks at each directory and link that it goes through. The descriptor is of O_PATH.
//
// Where a name is missing the error wraps fs.ErrNotExist; then the file is the last directory that is there, the Trust is
// that of the way to it, and rest is the path from there on. In a sticky directory somebody else may make the name first: who
// makes it must insist on being the one.
func Walk(path string) (dir *os.File, t Trust, rest string, err error) { return walkBelow(path, "") }

// walkBelow is Walk to a path below base, from where on no symbolic link is followed: that is ELOOP.
func walkBelow(base, below string) (dir *os.File, t Trust, rest string, err error) {
	path := filepath.Join(base, below)
	if !filepath.IsAbs(base) {
		return nil, t, "", pathError("open", path, fs.ErrInvalid)
	}
	w, err := newWalk(unix.AT_FDCWD, filepath.Clean(base))
	if err != nil {
		return nil, t, "", pathError("open", "/", err)
	}
	w.tail = below
	err = w.run()
	if err != nil && (w.missing == "" || err != unix.ENOENT) {
		unix.Close(w.fd)
		return nil, w.trust, "", pathError("open", path, err)
	}
	return os.NewFile(uintptr(w.fd), w.path), w.trust, w.missing, pathError("open", path, err)
}

// A walk is a path on its way from the root directory.
type walk struct {
	fd      int    // of the directory that it has come to, O_PATH
	path    string // its path
	rest    string // still to go
	tail    string // and then, following no link any more
	links   int    // followed
	trust   Trust
	missing string // the rest, where its first name is not there
	any     bool   // it may end at what is no directory
	ended   bool   // it did
}

// newWalk begins at the directory dir, or at the root directory where path is absolute. It goes to the working directory, which is
// AT_FDCWD, by the names of the way too: that may be closed to the thread's user.
func newWalk(dir int, path string) (*walk, error) {
	if dir == unix.AT_FDCWD && !filepath.IsAbs(path) {
		wd, err := unix.Getwd()
		if err != nil {
			return nil, err
		}
		path = wd + "/" + path
	}
	at := "."
	if filepath.IsAbs(path) {
		at = "/"
	}
	fd, err := openDirectory(dir, at)
	return &walk{fd: fd, path: at, rest: path}, err
}

// find opens whatever a path leads to, from the directory dir or the root directory, with the rights of the calling thread. The
// descriptor is of O_PATH.
//
// The kernel would follow the links of /proc/self/cwd and its like through directories that are closed to the thread's user, since
// they are the process's own. A walk goes where such a link says, by the names of the way.
func find(dir int, path string) (int, error) {
	w, err := newWalk(dir, path)
	if err != nil {
		return -1, err
	}
	w.any = true
	if err := w.run(); err != nil {
		unix.Close(w.fd)
		return -1, err
	}
	return w.fd, nil
}

func (w *walk) run() error {
	for {
		name, rest, _ := strings.Cut(strings.TrimLeft(w.rest, "/"), "/")
		if name == "" && w.tail != "" {
			w.rest, w.tail, w.links = w.tail, "", maxLinks
			continue
		}
		w.trust.Led = !w.trust.Root()
		if err := w.look(name == ""); err != nil {
			return err
		}
		if name == "" {
			return nil
		}
		if err := w.step(name, rest); err != nil || w.ended {
			w.trust.Led = !w.trust.Root()
			return err
		}
	}
}

// look notes the directory that the walk has come to.
func (w *walk) look(last bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(w.fd, &st); err != nil {
		return err
	}
	_, err := unix.Getxattr(ProcPath(w.fd), "system.posix_acl_access", nil)
	w.trust.add(w.path, &st, err == nil, last)
	return nil
}

// step goes to a name of the directory: into it, or on where a link leads.
func (w *walk) step(name, rest string) error {
	fd, err := Retry(func() (int, error) { return unix.Openat(w.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
	if err == unix.ENOENT {
		w.missing = filepath.Join(name, rest, w.tail)
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		unix.Close(w.fd)
		w.fd, w.path, w.rest = fd, filepath.Join(w.path, name), rest
		return nil
	case unix.S_IFLNK:
		defer unix.Close(fd)
		return w.follow(fd, name, rest, &st)
	}
	if w.any && strings.Trim(rest, "/") == "" {
		unix.Close(w.fd)
		w.fd, w.path, w.ended = fd, filepath.Join(w.path, name), true
		return nil
	}
	unix.Close(fd)
	return unix.ENOTDIR
}

// follow goes on where a symbolic link leads.
func (w *walk) follow(link int, name, rest string, st *unix.Stat_t) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	w.trust.add(filepath.Join(w.path, name), st, false, false)
	buf := make([]byte, unix.PathMax)
	n, err := Retry(func() (int, error) { return unix.Readlinkat(link, "", buf) })
	if err != nil {
		return err
	}
	if n == 0 || n >= len(buf) {
		return unix.ENAMETOOLONG
	}
	target := string(buf[:n])
	if strings.HasPrefix(target, "/") {
		fd, err := openDirectory(unix.AT_FDCWD, "/")
		if err != nil {
			return err
		}
		unix.Close(w.fd)
		w.fd, w.path = fd, "/"
	}
	// Each ".." is a step by itself: it leads up from where the links before it lead.
	w.rest = target + "/" + rest
	return nil
}

func openDirectory(at int, path string) (int, error) {
	return Retry(func() (int, error) { return unix.Openat(at, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
}
