package snapshot

import (
	"errors"
	"io"
	"io/fs"
	"sync"

	"permafrost/repo/store"
)

// A File is an open file of a Tree that has content. Besides what fs.File says it is an io.ReaderAt, which may be called from
// several goroutines at once; an io.Seeker; and an io.WriterTo, which is the fast way to all of it. Every byte is verified
// before it is given out. A stream's SHA-256 is looked at by WriteTo alone.
type File struct {
	tree    *Tree
	node    *Node
	content *Recipe
	off     int64 // of Read

	mu   sync.Mutex
	last placed
}

// placed is a chunk of a file with its bytes.
type placed struct {
	at   int64
	data []byte
}

// Open opens a file, a directory or a link.
func (t *Tree) Open(name string) (fs.File, error) {
	n, err := t.node("open", name)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		return &dirHandle{tree: t, node: n}, nil
	}
	f, err := t.file(n)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

// file opens a node that is no directory.
func (t *Tree) file(n *Node) (*File, error) {
	e := n.Entry
	for e.Link != "" { // it sorts before, so that this ends
		var err error
		if e, err = t.entry(e.Link); err != nil {
			return nil, err
		}
	}
	if e.Type != n.Entry.Type {
		return nil, &store.DamageError{Object: n.Path, Err: errors.New("it is a hard link to what is no file")}
	}
	return &File{tree: t, node: n, content: &e.Content}, nil
}

// Stat returns the file's *Node.
func (f *File) Stat() (fs.FileInfo, error) { return f.node, nil }

// Close does nothing.
func (f *File) Close() error { return nil }

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.off)
	f.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		offset += f.content.Size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, f.failed("seek", fs.ErrInvalid)
	}
	f.off = offset
	return offset, nil
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, f.failed("read", fs.ErrInvalid)
	case len(p) == 0:
		return 0, nil
	case off >= f.content.Size:
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), f.content.Size-off)]
	n, err := f.fill(want, off)
	switch {
	case err != nil:
		return n, f.failed("read", err)
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

// fill reads len(p) bytes of the content, which has so many.
func (f *File) fill(p []byte, off int64) (n int, err error) {
	if c := f.lately(off); c != nil {
		if n = copy(p, c.data[off-c.at:]); n == len(p) {
			return n, nil
		}
	}
	from := off + int64(n)
	walked := f.content.around(f.tree.ctx, f.tree.rd, from, off+int64(len(p)), func(at int64, c Chunk) bool {
		skip := max(from-at, 0)
		if c.Hole() {
			m := min(int64(len(p)-n), c.Length-skip)
			clear(p[n : n+int(m)])
			n += int(m)
			return true
		}
		var data []byte
		if data, err = c.bytes(f.tree.ctx, f.tree.rd); err != nil {
			return false
		}
		f.keep(placed{at, data})
		n += copy(p[n:], data[skip:])
		return true
	})
	if err == nil {
		err = walked
	}
	if err == nil && n < len(p) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// lately returns the chunk read last if it has the byte at off.
func (f *File) lately(off int64) *placed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.last; off >= c.at && off-c.at < int64(len(c.data)) {
		return &c
	}
	return nil
}

func (f *File) keep(c placed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = c
}

// WriteTo writes the rest of the file to w. An error says so if what was written is not, in the end, what the source gave.
func (f *File) WriteTo(w io.Writer) (n int64, err error) {
	t, told := f.tree, func(m int64) { n += m }
	switch {
	case f.off > 0:
		return io.Copy(w, io.NewSectionReader(f, f.off, max(0, f.content.Size-f.off)))
	case f.node.stream != nil:
		err = copyStream(t.ctx, t.rd, f.node.stream, w, told)
	default:
		err = writeStream(t.ctx, t.rd, f.content.chunks(t.ctx, t.rd), w, told)
	}
	if err == nil {
		f.off, n = f.content.Size, f.content.Size // told hears of no holes
	}
	return n, err
}

func (f *File) failed(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.node.Path, Err: err}
}

// A dirHandle is an open directory of a Tree. Its entries are read with the first of them.
type dirHandle struct {
	tree *Tree
	node *Node
	read bool
	rest []fs.DirEntry
}

func (d *dirHandle) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *dirHandle) Close() error               { return nil }

func (d *dirHandle) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.Path, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (d *dirHandle) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		all, err := d.tree.children(d.node)
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: d.node.Path, Err: err}
		}
		d.read, d.rest = true, all
	}
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	out := d.rest[:min(n, len(d.rest))]
	d.rest = d.rest[len(out):]
	return out, nil
}
