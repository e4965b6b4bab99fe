package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"permafrost/repo/store"
	"permafrost/snapshot/stream"
)

// A File is an open file of a Tree that has content. Besides what fs.File says it is an io.ReaderAt, which may be called from
// several goroutines at once; an io.Seeker; and an io.WriterTo, which is the fast way to all of it. Every byte is verified
// before it is given out. A stream's SHA-256 is looked at by WriteTo alone.
type File struct {
	tree    *Tree
	node    *Node
	content *stream.Recipe
	at      *stream.ReaderAt
	off     int64 // of Read
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
	return &File{tree: t, node: n, content: &e.Content, at: stream.NewReaderAt(t.ctx, t.rd, &e.Content)}, nil
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

// ReadAt implements io.ReaderAt. Errors but io.EOF are fs.PathErrors; they wrap a store.DamageError, as a rule, where what is stored is
// not what it was.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.failed("read", fs.ErrInvalid)
	}
	n, err := f.at.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = f.failed("read", err)
	}
	return n, err
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
		err = stream.Write(t.ctx, t.rd, f.content.Chunks(t.ctx, t.rd), w, told)
	}
	if err == nil {
		f.off, n = f.content.Size, f.content.Size // told hears of no holes
	}
	return n, err
}

// copyStream writes a stream to w. An error says so if what was written is not, in the end, what the source gave.
func copyStream(ctx context.Context, rd stream.Blobs, s *Stream, w io.Writer, told func(int64)) error {
	h := sha256.New()
	if err := stream.Write(ctx, rd, s.Recipe.Chunks(ctx, rd), io.MultiWriter(w, h), told); err != nil {
		return err
	}
	return s.Verify(SHA256(h.Sum(nil)))
}

// Verify returns a store.DamageError unless sum, that of what came back, is what the source gave.
func (s *Stream) Verify(sum SHA256) error {
	if sum != s.SHA256 {
		return &store.DamageError{Object: "stream", Err: fmt.Errorf("its SHA-256 is %v, and was %v", sum, s.SHA256)}
	}
	return nil
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
