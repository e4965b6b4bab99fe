package snapshot

import (
	"io/fs"
	"path"
	"time"

	"permafrost/source"
)

// A Node is a file of a Tree. It is the fs.FileInfo and the fs.DirEntry of itself.
type Node struct {
	Path  string // in the Tree: "postgres", "media/accounts/a.png"
	Entry *Entry // its type, mode, owner and content; of media as the listing has it, with paths below media

	mtime  time.Time
	stream *Stream // that it is; nil for media and directories
}

// Name returns the last element of the path.
func (n *Node) Name() string { return path.Base(n.Path) }

// Size returns a file's bytes, 0 for all else.
func (n *Node) Size() int64 { return n.Entry.Size }

// ModTime returns when the file was last changed; of a dump, when the state that it has was fixed. It is zero where that is
// not known.
func (n *Node) ModTime() time.Time { return n.mtime }

// IsDir reports whether the node is a directory.
func (n *Node) IsDir() bool { return n.Entry.Type == source.Dir }

// Sys returns the node.
func (n *Node) Sys() any { return n }

// Type returns the bits of Mode that tell the type.
func (n *Node) Type() fs.FileMode { return n.Mode().Type() }

// Info returns the node, and no error.
func (n *Node) Info() (fs.FileInfo, error) { return n, nil }

// Mode returns type and permissions.
func (n *Node) Mode() fs.FileMode {
	mode := fs.FileMode(n.Entry.Mode & 0o777)
	switch n.Entry.Type {
	case source.Dir:
		mode |= fs.ModeDir
	case source.Symlink:
		mode |= fs.ModeSymlink
	case source.FIFO:
		mode |= fs.ModeNamedPipe
	case source.Socket:
		mode |= fs.ModeSocket
	case source.Block:
		mode |= fs.ModeDevice
	case source.Char:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if n.Entry.Mode&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if n.Entry.Mode&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if n.Entry.Mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// mediaNode is the node of an entry of the listing.
func mediaNode(e *Entry) *Node {
	name := mediaTop
	if e.Path != "." {
		name += "/" + e.Path
	}
	return &Node{Path: name, Entry: e, mtime: time.Unix(0, e.MTime).UTC()}
}

// streamNode is the node of a stream, with the attributes of e.
func streamNode(name string, e source.Entry, mtime time.Time, s *Stream) *Node {
	e.Path, e.Type, e.Size = name, source.File, s.Size
	return &Node{Path: name, Entry: &Entry{Entry: e, Content: s.Recipe}, mtime: mtime, stream: s}
}

// dirNode is the node of a directory that only the names of others tell of.
func dirNode(name string) *Node {
	return &Node{Path: name, Entry: &Entry{Entry: source.Entry{Path: name, Type: source.Dir, Mode: 0o755}}}
}
