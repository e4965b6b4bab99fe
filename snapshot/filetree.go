package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"permafrost/repo"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// The names at the top of a Tree.
const (
	secretsTop  = "secrets"
	postgresTop = "postgres"
	mediaTop    = "media"
)

// A Tree is a snapshot as a file system, to be read: secrets and, below that, each of them by its path on the host; postgres, redis
// and sidekiq, each a file; and media with all that is below. What the snapshot lacks is not there.
//
// Names are those of the host, which need not be UTF-8. Links are not followed: Open of a symbolic link gives the link, which
// has no content, and ReadLink says where it leads. A hard link has the content of its inode's first name. Of two secrets whose
// paths can't both be there, Open finds the first.
//
// Names, sizes and links can be read without the owner's key; content can't. What is read is bounded in memory: a listing's or
// recipe's blob a level, and a chunk an open file.
type Tree struct {
	ctx context.Context // of all that is read: fs.FS has none of its own
	rd  stream.Blobs
	m   *Manifest
}

// OpenTree returns the Tree of a snapshot, which reads during ctx. It fetches nothing yet of the snapshot.
func OpenTree(ctx context.Context, r *repo.Repo, m *Manifest) (*Tree, error) {
	rd, err := NewReader(ctx, r, m.Instance)
	if err != nil {
		return nil, err
	}
	return &Tree{ctx, rd, m}, nil
}

// Walk yields the nodes at a path and below it in one pass, and an error as the last: secrets, the dumps, then media in the
// listing's order. "." is all. Directories that only the paths of secrets tell of are none of them.
func (t *Tree) Walk(name string) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		for n := range t.streams() {
			if within(n.Path, name) && !yield(n, nil) {
				return
			}
		}
		below, ok := belowMedia(name)
		if name == "." {
			below, ok = ".", true
		}
		if !ok {
			return
		}
		for e, err := range Entries(t.ctx, t.rd, t.m, below) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(mediaNode(e), nil) {
				return
			}
		}
	}
}

// within reports whether a path is dir or below it.
func within(name, dir string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir) && name[len(dir)] == '/'
}

// belowMedia returns a path of the media as the listing has it, if name is one.
func belowMedia(name string) (string, bool) {
	if name == mediaTop {
		return ".", true
	}
	return strings.CutPrefix(name, mediaTop+"/")
}

// streams yields the nodes of all that is a stream.
func (t *Tree) streams() iter.Seq[*Node] {
	return func(yield func(*Node) bool) {
		m := t.m
		for i := range m.Secrets.Files {
			f := &m.Secrets.Files[i]
			e := source.Entry{Mode: f.Mode, UID: f.UID, GID: f.GID, MTime: f.MTime}
			if !yield(streamNode(secretsTop+string(f.Path), e, time.Unix(0, f.MTime).UTC(), &f.Stream)) {
				return
			}
		}
		dump := source.Entry{Mode: 0o600}
		if m.Postgres.State == Captured && !yield(streamNode(postgresTop, dump, m.Boundary.Time, &m.Postgres.Stream)) {
			return
		}
		for name, r := range m.Redises {
			if r.State == Captured && !yield(streamNode(name, dump, m.Boundary.Redis, &r.Stream)) {
				return
			}
		}
	}
}

// Lstat returns the node of a name. It is a *Node.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) {
	n, err := t.node("lstat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Stat is Lstat: links are not followed.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	n, err := t.node("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink returns where a symbolic link leads.
func (t *Tree) ReadLink(name string) (string, error) {
	n, err := t.node("readlink", name)
	if err == nil && n.Entry.Type != source.Symlink {
		err = &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return "", err
	}
	return n.Entry.Target, nil
}

// node returns the node of a name.
func (t *Tree) node(op, name string) (*Node, error) {
	n, err := (*Node)(nil), fs.ErrInvalid
	if validName(name) {
		n, err = t.find(name)
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// validName reports whether a name is one that a Tree may have: as fs.ValidPath, but for bytes that are no UTF-8.
func validName(name string) bool {
	if name == "." {
		return true
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

func (t *Tree) find(name string) (*Node, error) {
	if name == "." {
		return dirNode("."), nil
	}
	if below, ok := belowMedia(name); ok {
		e, err := t.entry(below)
		if err != nil {
			return nil, err
		}
		return mediaNode(e), nil
	}
	dir := false
	for n := range t.streams() {
		switch {
		case n.Path == name && !dir:
			return n, nil
		case within(n.Path, name):
			dir = true
		}
	}
	if dir {
		return dirNode(name), nil
	}
	return nil, fs.ErrNotExist
}

// entry returns the entry of a path of the media.
func (t *Tree) entry(name string) (*Entry, error) {
	return LookUp(t.ctx, t.rd, t.m, name)
}

// ReadDir returns the nodes in a directory, sorted by name.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.node("readdir", name)
	if err != nil {
		return nil, err
	}
	all, err := t.children(n)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return all, nil
}

var errNotDir = errors.New("not a directory")

// children returns the nodes in a directory.
func (t *Tree) children(dir *Node) (all []fs.DirEntry, err error) {
	if !dir.IsDir() {
		return nil, errNotDir
	}
	if below, ok := belowMedia(dir.Path); ok {
		for e, err := range t.m.Media.Listing.children(t.ctx, t.rd, below) {
			if err != nil {
				return nil, err
			}
			all = append(all, mediaNode(e))
		}
		return all, nil
	}
	known := make(map[string]bool)
	add := func(n *Node) {
		if !known[n.Path] {
			known[n.Path] = true
			all = append(all, n)
		}
	}
	for n := range t.streams() {
		if n.Path == dir.Path || !within(n.Path, dir.Path) {
			continue
		}
		rest := n.Path
		if dir.Path != "." {
			rest = n.Path[len(dir.Path)+1:]
		}
		first, _, deeper := strings.Cut(rest, "/")
		if deeper {
			n = dirNode(path.Join(dir.Path, first))
		}
		add(n)
	}
	if dir.Path == "." && t.m.Media.State == Captured {
		e, err := t.entry(".")
		if err != nil {
			return nil, err
		}
		add(mediaNode(e))
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}
