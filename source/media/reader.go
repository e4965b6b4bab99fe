package media

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// A dirent is a name of a directory: where it is in the names, and its type (DT_UNKNOWN where the file system does
// not say).
type dirent struct {
	offset, len uint32
	typ         byte
}

// A directory is the names of a large one, kept until the last of them is read.
type directory struct {
	path    string
	names   []byte
	dirents []dirent
}

// A lister reads the names of one directory after another.
type lister struct {
	names   []byte
	dirents []dirent // sorted
	buf     []byte   // for system calls
}

func newLister() lister { return lister{buf: make([]byte, 32<<10)} }

// maxNames bounds the names of a single directory, in bytes. Mastodon puts a thousand names into one; who owns the media may put
// in as many as the file system holds, and several directories are in memory at once.
const maxNames = 32 << 20

// list reads the names of an open directory. After an error, those are there that came before it.
func (l *lister) list(fd int) error {
	l.names, l.dirents = l.names[:0], l.dirents[:0]
	for {
		n, err := hostfs.Retry(func() (int, error) { return unix.Getdents(fd, l.buf) })
		if err == nil && len(l.names)+n > maxNames {
			err = unix.EFBIG
		}
		if err != nil || n == 0 {
			slices.SortFunc(l.dirents, func(a, b dirent) int { return bytes.Compare(l.name(a), l.name(b)) })
			return err
		}
		l.add(l.buf[:n])
	}
}

// add takes the names from what getdents64 returned: a u64 inode, a u64 offset, a u16 length of the record, a u8
// type and a name that ends in NUL, in each record.
func (l *lister) add(b []byte) {
	const header = 8 + 8 + 2 + 1
	for len(b) > header {
		n := int(binary.NativeEndian.Uint16(b[16:]))
		if n <= header || n > len(b) {
			return
		}
		name := b[header:n]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		if s := string(name); s != "." && s != ".." && s != "" {
			l.dirents = append(l.dirents, dirent{uint32(len(l.names)), uint32(len(name)), b[18]})
			l.names = append(l.names, name...)
		}
		b = b[n:]
	}
}

func (l *lister) name(d dirent) []byte { return l.names[d.offset : d.offset+d.len] }

// A ListError says that a directory could not be listed, or not to its end, so that nobody knows what else is below it.
type ListError struct{ Err error }

func (e *ListError) Error() string { return e.Err.Error() }
func (e *ListError) Unwrap() error { return e.Err }

// A reader reads batches, with buffers of its own.
type reader struct {
	tree *Tree
	lister
	xattrs xattrReader
}

func newReader(t *Tree) *reader { return &reader{tree: t, lister: newLister()} }

// read fills in b.
func (r *reader) read(b *batch) {
	if b.dir != nil {
		r.readRest(b)
		return
	}
	path := b.self.Path
	fd, err := quietly(unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, func(flags int) (int, error) {
		return r.tree.openBeneath(path, flags)
	})
	if err != nil {
		r.unreadable(b, err)
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := fstat(fd, &st); err != nil {
		b.err = err
		return
	}
	b.err = fill(b.self, &st)
	xattrs, err := r.xattrs.open(fd, st.Dev)
	if b.self.Xattrs = xattrs; err != nil {
		b.err = err
	}
	if err := r.list(fd); err != nil {
		if b.vanished = vanished(err) && path != "."; b.vanished {
			return
		}
		b.err = &ListError{err}
	}
	l := &r.lister
	if len(l.dirents) > batchLen {
		dir := &directory{path, bytes.Clone(l.names), slices.Clone(l.dirents)}
		b.rest = &batch{dir: dir, index: batchLen}
	}
	r.fill(b, fd, nil, path, l.names, l.dirents[:min(len(l.dirents), batchLen)])
}

// unreadable fills in what can be known of a directory that can't be opened.
func (r *reader) unreadable(b *batch, err error) {
	if b.vanished = vanished(err) && b.self.Path != "."; b.vanished {
		return
	}
	b.err, b.self.Type = &ListError{err}, 0
	fd, err := r.tree.openBeneath(b.self.Path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if fstat(fd, &st) == nil {
		fill(b.self, &st)
	}
}

// readRest fills in a later batch of a large directory.
func (r *reader) readRest(b *batch) {
	d := b.dir
	end := min(b.index+batchLen, len(d.dirents))
	if end < len(d.dirents) {
		b.rest = &batch{dir: d, index: end}
	}
	fd, err := r.tree.openBeneath(d.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err == nil {
		defer unix.Close(fd)
	}
	r.fill(b, fd, err, d.path, d.names, d.dirents[b.index:end])
}

// fill reads the attributes of a run of names in a directory that was opened as fd, or could not be.
func (r *reader) fill(b *batch, fd int, opened error, dir string, names []byte, dirents []dirent) {
	if len(dirents) == 0 {
		return
	}
	prefix := prefixOf(dir)
	paths := join(prefix, names, dirents)
	b.size = len(dirents)*entryLen + len(paths)
	b.entries = make([]source.Entry, 0, len(dirents))
	r.xattrs.enter(fd)
	dirs := 0
	for _, d := range dirents {
		path := paths[:len(prefix)+int(d.len)]
		paths = paths[len(path):]
		e := source.Entry{Path: path}
		err := opened
		if err == nil {
			err = r.entry(&e, fd, path[len(path)-int(d.len):], d.typ)
		}
		if r.tree.excludes.Match(path, e.Type == source.Dir) {
			continue
		}
		if vanished(err) {
			r.tree.vanished.file(path)
			continue
		}
		if err != nil {
			if b.errs == nil {
				b.errs = make(map[int]error)
			}
			b.errs[len(b.entries)] = err
		}
		if e.Type == source.Dir {
			dirs++
		}
		b.entries = append(b.entries, e)
	}
	b.subs = make([]batch, 0, dirs)
	for i := range b.entries {
		if e := &b.entries[i]; e.Type == source.Dir {
			b.subs = append(b.subs, batch{self: e})
		}
	}
}

// join returns the paths of names below prefix, one behind the other: one string for all, since they are read together
// and mostly forgotten together.
func join(prefix string, names []byte, dirents []dirent) string {
	size := len(prefix) * len(dirents)
	for _, d := range dirents {
		size += int(d.len)
	}
	var s strings.Builder
	s.Grow(size)
	for _, d := range dirents {
		s.WriteString(prefix)
		s.Write(names[d.offset : d.offset+d.len])
	}
	return s.String()
}

// prefixOf returns what stands before a name of dir in its path.
func prefixOf(dir string) string {
	if dir == "." {
		return ""
	}
	return dir + "/"
}

// entry fills in the attributes of the file called name in the open directory dir. A Dir keeps its Type alone: its
// own reader fills it in.
func (r *reader) entry(e *source.Entry, dir int, name string, typ byte) error {
	if len(e.Path) > hostfs.MaxPath {
		return unix.ENAMETOOLONG
	}
	if typ == unix.DT_DIR {
		e.Type = source.Dir
		return nil
	}
	var st unix.Stat_t
	if _, err := hostfs.Retry(func() (int, error) { return 0, unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return err
	}
	unkept := fill(e, &st)
	switch e.Type {
	case source.Dir:
		return nil
	case source.Symlink:
		n, err := hostfs.Retry(func() (int, error) { return unix.Readlinkat(dir, name, r.buf) })
		if err != nil {
			return err
		}
		if n >= unix.PathMax {
			return unix.ENAMETOOLONG
		}
		e.Target = string(r.buf[:n])
	}
	var err error
	if e.Xattrs, err = r.xattrs.byName(name, st.Dev); err != nil {
		return err
	}
	return unkept
}

// vanished reports whether an error says that what was there is there no more, or has become something else.
func vanished(err error) bool {
	switch err {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ESTALE:
		return true
	}
	return false
}
