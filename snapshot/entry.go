package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"permafrost/chunk"
	"permafrost/internal/wire"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

const (
	maxTarget = 4 << 10       // bytes of a symlink's target: Linux's own limit
	maxXattrs = 256 << 10     // bytes of an entry's extended attributes, names and values
	maxAttrs  = maxXattrs / 8 // their number
	maxCombos = leafMax
	maxTop    = 16 << 10 // bytes of an entry's recipe root

	// maxEntry is room for the encoding of any entry. The lengths of an attribute's name and value take 2 bytes; more than that
	// only where they are 128 or more, of which there is no room for many.
	maxEntry = 2*blobtree.MaxPath + maxTarget + maxXattrs + 3*maxAttrs + maxTop + 4<<10
)

// An Entry is a file of the media tree as a snapshot keeps it: Nlink and Alloc are not kept, and CTime, Dev and
// Inode of regular files alone.
type Entry struct {
	source.Entry
	Content stream.Recipe // of a File that is no Link
	Link    string        // of a File that is a hard link: the path of the inode's first name, which sorts before
}

// A combo is what many entries have in common.
type combo struct {
	typ            source.Type
	mode, uid, gid uint32
	dev            uint64
}

// types are those of files, as a listing writes them.
const types = "fdlpsbc"

// The forms of a file's content.
const (
	formEmpty = iota
	formBlob
	formRecipe
	formLink
)

// An entryCoder is what the encoding of an entry depends on: the entries before it in its leaf.
type entryCoder struct {
	path   string
	mtime  int64
	inode  uint64
	combos []combo
}

func (e *entryCoder) reset() { *e = entryCoder{combos: e.combos[:0]} }

// combo returns the number of c, and whether it is a new one, which is entered.
func (e *entryCoder) combo(c combo) (int, bool) {
	for i := range e.combos {
		if e.combos[i] == c {
			return i, false
		}
	}
	e.combos = append(e.combos, c)
	return len(e.combos) - 1, true
}

// append encodes x behind b.
func (e *entryCoder) append(b []byte, x *Entry) []byte {
	c := combo{typ: x.Type, mode: x.Mode, uid: x.UID, gid: x.GID}
	form, id := formEmpty, chunk.ID{}
	if x.Type == source.File {
		c.dev = x.Dev
		form, id = x.form()
	}
	n, fresh := e.combo(c)
	head := uint64(n)<<4 | uint64(form)<<2
	if len(x.Xattrs) > 0 {
		head |= 2
	}
	if x.Type == source.File && x.CTime == x.MTime {
		head |= 1
	}
	b = binary.AppendUvarint(b, head)
	if fresh {
		b = append(b, byte(c.typ))
		b = binary.AppendUvarint(b, uint64(c.mode))
		b = binary.AppendUvarint(b, uint64(c.uid))
		b = binary.AppendUvarint(b, uint64(c.gid))
		b = binary.AppendUvarint(b, c.dev)
	}
	b = blobtree.AppendSuffix(b, e.path, x.Path)
	b = binary.AppendVarint(b, x.MTime-e.mtime)
	e.path, e.mtime = x.Path, x.MTime
	switch x.Type {
	case source.File:
		if x.CTime != x.MTime {
			b = binary.AppendVarint(b, x.CTime-x.MTime)
		}
		b = binary.AppendVarint(b, int64(x.Inode-e.inode))
		e.inode = x.Inode
		b = appendContent(b, x, form, id)
	case source.Symlink:
		b = binary.AppendUvarint(b, uint64(len(x.Target)))
		b = append(b, x.Target...)
	case source.Block, source.Char:
		b = binary.AppendUvarint(b, x.Rdev)
	}
	if len(x.Xattrs) > 0 {
		b = appendXattrs(b, x.Xattrs)
	}
	return b
}

// form returns how the content of a file is written, and the blob of formBlob.
func (x *Entry) form() (int, chunk.ID) {
	if x.Link != "" {
		return formLink, chunk.ID{}
	}
	if x.Size == 0 {
		return formEmpty, chunk.ID{}
	}
	if id, ok := x.Content.Blob(); ok {
		return formBlob, id
	}
	return formRecipe, chunk.ID{}
}

// appendContent encodes the size and content of a file.
func appendContent(b []byte, x *Entry, form int, id chunk.ID) []byte {
	if form == formEmpty {
		return b
	}
	b = binary.AppendUvarint(b, uint64(x.Size))
	switch form {
	case formBlob:
		b = append(b, id[:]...)
	case formRecipe:
		b = append(b, byte(x.Content.Depth))
		b = binary.AppendUvarint(b, uint64(len(x.Content.Root)))
		b = append(b, x.Content.Root...)
	case formLink:
		b = blobtree.AppendSuffix(b, x.Path, x.Link)
	}
	return b
}

func appendXattrs(b []byte, xs []source.Xattr) []byte {
	b = binary.AppendUvarint(b, uint64(len(xs)))
	for _, a := range xs {
		b = binary.AppendUvarint(b, uint64(len(a.Name)))
		b = append(b, a.Name...)
		b = binary.AppendUvarint(b, uint64(len(a.Value)))
		b = append(b, a.Value...)
	}
	return b
}

// read reads what append wrote, and fails for what append would have written otherwise.
func (e *entryCoder) read(r *wire.Reader) *Entry {
	x := new(Entry)
	head := r.Uvarint(maxCombos<<4 | 15)
	c := e.readCombo(r, int(head>>4))
	x.Type, x.Mode, x.UID, x.GID, x.Dev = c.typ, c.mode, c.uid, c.gid, c.dev
	x.Path = blobtree.ReadSuffix(r, e.path, blobtree.MaxPath)
	x.MTime = e.mtime + r.Varint()
	if r.Err() == nil && (!validPath(x.Path) || e.path != "" && source.ComparePaths(e.path, x.Path) >= 0) {
		r.Fail(errors.New("path is impossible or out of order"))
	}
	e.path, e.mtime = x.Path, x.MTime
	form, same := int(head>>2&3), head&1 == 1
	if x.Type != source.File && (form != formEmpty || same) {
		r.Fail(errors.New("content where none belongs"))
	}
	switch x.Type {
	case source.File:
		x.CTime = x.MTime
		if !same {
			d := r.Varint()
			x.CTime += d
			if d == 0 {
				r.Fail(errors.New("needless number"))
			}
		}
		x.Inode = e.inode + uint64(r.Varint())
		e.inode = x.Inode
		readContent(r, x, form)
	case source.Symlink:
		x.Target = string(r.Bytes(r.Count(maxTarget, 1)))
	case source.Block, source.Char:
		x.Rdev = r.Uvarint(1<<64 - 1)
	}
	if head&2 != 0 {
		x.Xattrs = readXattrs(r)
	}
	return x
}

// readCombo returns combo n, which follows if it is new.
func (e *entryCoder) readCombo(r *wire.Reader, n int) combo {
	if n < len(e.combos) {
		return e.combos[n]
	}
	var c combo
	c.typ = source.Type(r.Byte())
	c.mode = uint32(r.Uvarint(07777))
	c.uid = uint32(r.Uvarint(1<<32 - 1))
	c.gid = uint32(r.Uvarint(1<<32 - 1))
	c.dev = r.Uvarint(1<<64 - 1)
	if r.Err() == nil && !strings.ContainsRune(types, rune(c.typ)) {
		r.Fail(fmt.Errorf("unknown type %q", c.typ))
	}
	if r.Err() == nil && c.typ != source.File && c.dev != 0 {
		r.Fail(errors.New("device where none belongs"))
	}
	if m, fresh := e.combo(c); r.Err() == nil && (m != n || !fresh) {
		r.Fail(errors.New("combination out of order"))
	}
	return c
}

// readContent reads the size and content of a file.
func readContent(r *wire.Reader, x *Entry, form int) {
	if form == formEmpty {
		return
	}
	x.Size = int64(r.Uvarint(blobtree.MaxWeight))
	switch form {
	case formBlob:
		var id chunk.ID
		copy(id[:], r.Bytes(chunk.Size))
		if x.Size == 0 || x.Size > chunk.MaxSize || id.IsZero() {
			r.Fail(errors.New("impossible blob"))
			return
		}
		x.Content = stream.Whole(id, x.Size)
	case formRecipe:
		x.Content.Size = x.Size
		x.Content.Depth = int(r.Byte())
		x.Content.Root = append([]byte(nil), r.Bytes(r.Count(maxTop, 1))...)
		if r.Err() != nil {
			return
		}
		if err := x.Content.Check(); err != nil {
			r.Fail(err)
		} else if f, _ := x.form(); f != formRecipe {
			r.Fail(errors.New("needless recipe"))
		}
	case formLink:
		x.Link = blobtree.ReadSuffix(r, x.Path, blobtree.MaxPath)
		if r.Err() == nil && (!validPath(x.Link) || source.ComparePaths(x.Link, x.Path) >= 0) {
			r.Fail(errors.New("hard link to an impossible path"))
		}
	}
}

func readXattrs(r *wire.Reader) []source.Xattr {
	xs := make([]source.Xattr, r.Count(maxAttrs, 2))
	total := 0
	for i := range xs {
		xs[i].Name = string(r.Bytes(r.Count(maxXattrs, 1)))
		xs[i].Value = append([]byte{}, r.Bytes(r.Count(maxXattrs, 1))...)
		total += len(xs[i].Name) + len(xs[i].Value)
		if xs[i].Name == "" || total > maxXattrs {
			r.Fail(errors.New("impossible extended attribute"))
		}
		if r.Err() != nil {
			return nil
		}
	}
	if len(xs) == 0 {
		r.Fail(errors.New("no extended attributes"))
	}
	return xs
}

// validPath reports whether p is a path below the root of a tree, or "." for the root itself.
func validPath(p string) bool {
	if p == "." {
		return true
	}
	if p == "" || len(p) > blobtree.MaxPath || strings.IndexByte(p, 0) >= 0 {
		return false
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return true
}

// CheckAttributes returns an error where the listing has no room or no form for the entry, whatever its content.
func (x *Entry) CheckAttributes() error {
	attrs, unnamed := 0, false
	for _, a := range x.Xattrs {
		attrs += len(a.Name) + len(a.Value)
		unnamed = unnamed || a.Name == ""
	}
	switch {
	case !validPath(x.Path):
		return fmt.Errorf("path of %d bytes is impossible", len(x.Path))
	case len(x.Target) > maxTarget:
		return fmt.Errorf("symbolic link's target of %d bytes is longer than %d", len(x.Target), maxTarget)
	case attrs > maxXattrs || len(x.Xattrs) > maxAttrs:
		return fmt.Errorf("extended attributes of %d bytes are more than %d", attrs, maxXattrs)
	case unnamed:
		return errors.New("an extended attribute has no name")
	case x.Size < 0 || x.Size > blobtree.MaxWeight:
		return fmt.Errorf("a file of %d bytes is larger than a snapshot can hold", x.Size)
	case !strings.ContainsRune(types, rune(x.Type)) || x.Mode > 07777:
		return fmt.Errorf("type %q, mode %o: impossible", byte(x.Type), x.Mode)
	}
	return nil
}

// check returns an error for an entry that can't be listed.
func (x *Entry) check() error {
	if err := x.CheckAttributes(); err != nil {
		return err
	}
	switch {
	case x.Type == source.File && x.Link == "" && x.Content.Size != x.Size:
		return fmt.Errorf("file of %d bytes with a content of %d", x.Size, x.Content.Size)
	case len(x.Content.Root) > maxTop:
		return fmt.Errorf("content's root has %d bytes", len(x.Content.Root))
	}
	return nil
}
