package media

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// Who may write into the tree may put a link there to anything that root can read. So a link that leads out of the tree is
// followed only into a directory that an administrator allows, which is opened once, before the walk. What the link leads to is
// opened from that descriptor, by the names in the link's text, none of which may be a link itself, and with the rights that the
// rest of the tree is read with. It takes the link's place: its path is the link's.
//
// Two links don't bring the same directories twice, and none brings one that it lies in: else a few links would make a tree
// without end. The decision is the loop's, in the order of the walk, so that each run makes the same one.

// maxFollowed bounds the links that are followed in a walk.
const maxFollowed = 10_000

// A base is a directory that links may lead into.
type base struct {
	name string // absolute
	fd   int    // -1 where it can't be opened
	err  error  // then why
}

// A place is what a link that is followed leads to.
type place struct {
	base *base
	rel  string // in the base
	dir  bool
}

// name returns the place's absolute path, as the link names it.
func (p *place) name() string { return filepath.Join(p.base.name, p.rel) }

// following is what links of a tree are followed to.
type following struct {
	bases []base
	real  string // the tree's root, without links on the way there

	mu    sync.RWMutex
	links map[string]place // by the link's path in the tree
	used  map[*base]bool
}

// openBases opens the directories that links may lead into. One that can't be opened is an error of the links into it.
func (t *Tree) openBases(names []string) error {
	f := &t.follow
	f.links, f.used = make(map[string]place), make(map[*base]bool)
	var err error
	if f.real, err = os.Readlink(hostfs.ProcPath(t.root)); err != nil {
		f.real = t.name
	}
	for _, name := range names {
		if !filepath.IsAbs(name) {
			return fmt.Errorf("directory to follow links into: %q is not an absolute path", name)
		}
		b := base{name: filepath.Clean(name), fd: -1}
		fd, as, err := hostfs.OpenTree(b.name, t.user)
		if err == nil && (as == nil) != (t.user == nil) {
			unix.Close(fd)
			err = fmt.Errorf("it is %v's, and the media are read with root's rights", as)
		}
		if b.err = err; err == nil {
			b.fd = fd
		}
		f.bases = append(f.bases, b)
	}
	return nil
}

func (f *following) close() {
	for i := range f.bases {
		if f.bases[i].fd >= 0 {
			unix.Close(f.bases[i].fd)
			f.bases[i].fd = -1
		}
	}
}

// Unfollowed returns the directories to follow links into that no link has led into, once the tree was walked.
func (t *Tree) Unfollowed() (names []string) {
	t.follow.mu.RLock()
	defer t.follow.mu.RUnlock()
	for i := range t.follow.bases {
		if b := &t.follow.bases[i]; !t.follow.used[b] {
			names = append(names, b.name)
		}
	}
	return names
}

// openBeneath is hostfs.OpenBeneath for a path of the tree, which may lead through a link that is followed.
func (t *Tree) openBeneath(name string, flags int) (int, error) {
	root, rel := t.resolve(name)
	return hostfs.OpenBeneath(root, rel, flags, 0)
}

// resolve returns where a path of the tree is: an open directory, and a path in that.
func (t *Tree) resolve(name string) (root int, rel string) {
	f := &t.follow
	if len(f.bases) == 0 {
		return t.root, name
	}
	p, link := f.at(name)
	if p.base == nil {
		return t.root, name
	}
	return p.base.fd, path.Join(p.rel, strings.TrimPrefix(name[len(link):], "/"))
}

// at returns the innermost link on a path that is followed, and what it leads to.
func (f *following) at(name string) (p place, link string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for link = name; len(f.links) > 0; {
		if p, ok := f.links[link]; ok {
			return p, link
		}
		i := strings.LastIndexByte(link, '/')
		if i < 0 {
			break
		}
		link = link[:i]
	}
	return place{}, ""
}

// A LeadsOutError says that what a link leads to is not stored.
type LeadsOutError struct {
	Target string // where it leads, absolute
	Why    string // why it is not followed, though it leads into a directory that is allowed; "" where it leads into none
}

func (e *LeadsOutError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("a link to %s is not followed: %s", e.Target, e.Why)
	}
	return fmt.Sprintf("it is a link out of the media, to %s, and what is there is not stored", e.Target)
}

// follow looks at a symbolic link. One that is followed becomes what it leads to, a file or a directory. One that leads out of
// the tree and is not followed stays a link, and is returned with a LeadsOutError.
func (w *walker) follow(e *source.Entry) error {
	t := w.tree
	target := t.leadsTo(e)
	if within(target, t.name) || within(target, t.follow.real) {
		return nil
	}
	b := t.follow.base(target)
	if b == nil {
		return &LeadsOutError{Target: target}
	}
	refuse := func(why string) error { return &LeadsOutError{target, why} }
	if b.err != nil {
		return refuse(b.err.Error())
	}
	rel := "."
	if target != b.name {
		rel = strings.TrimPrefix(target[len(b.name):], "/")
	}
	p := place{base: b, rel: rel}
	if within(t.where(path.Dir(e.Path)), target) {
		return nil // to a directory that it lies in
	}
	found := source.Entry{Path: e.Path}
	err := t.user.Do(func() error { return t.look(&found, p) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("nothing is there; is a disk not mounted?")
	case err == unix.ELOOP || err == unix.ENOTDIR || found.Type == source.Symlink:
		return refuse("the way there leads over another link")
	case err != nil:
		return refuse(err.Error())
	case found.Type != source.File && found.Type != source.Dir:
		return refuse("it is neither a file nor a directory")
	}
	p.dir = found.Type == source.Dir
	if why := t.follow.add(e.Path, p); why != "" {
		return refuse(why)
	}
	*e = found
	return nil
}

// leadsTo returns where a link leads by its text, as an absolute path.
func (t *Tree) leadsTo(e *source.Entry) string {
	if filepath.IsAbs(e.Target) {
		return filepath.Clean(e.Target)
	}
	return filepath.Join(t.where(path.Dir(e.Path)), e.Target)
}

// where returns the absolute path of a directory of the tree.
func (t *Tree) where(dir string) string {
	if p, link := t.follow.at(dir); p.base != nil {
		return filepath.Join(p.name(), dir[len(link):])
	}
	return filepath.Join(t.follow.real, dir)
}

// within reports whether an absolute clean path is dir or lies in it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// base returns the innermost base that holds a path, or nil.
func (f *following) base(name string) (best *base) {
	for i := range f.bases {
		if b := &f.bases[i]; within(name, b.name) && (best == nil || len(b.name) > len(best.name)) {
			best = b
		}
	}
	return best
}

// add notes that a link is followed, or returns why it must not be.
func (f *following) add(link string, p place) (why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.links) >= maxFollowed {
		return fmt.Sprintf("more than %d links lead out of the media", maxFollowed)
	}
	for other, q := range f.links {
		if !p.dir {
			break
		}
		if q.dir && other != link && (within(p.name(), q.name()) || within(q.name(), p.name())) {
			return fmt.Sprintf("the link at %q leads there too", other)
		}
	}
	f.links[link], f.used[p.base] = p, true
	return ""
}

// look fills in the attributes of what a link leads to.
func (t *Tree) look(e *source.Entry, p place) error {
	fd, err := hostfs.OpenBeneath(p.base.fd, p.rel, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		return err
	}
	unkept := fill(e, &st)
	if e.Type != source.File {
		return nil // a directory is filled in by who reads it
	}
	at := hostfs.ProcPath(fd)
	var x xattrReader
	e.Xattrs, err = x.read(st.Dev,
		func(b []byte) (int, error) { return unix.Listxattr(at, b) },
		func(name string, b []byte) (int, error) { return unix.Getxattr(at, name, b) })
	if err == nil {
		err = unkept
	}
	return err
}
