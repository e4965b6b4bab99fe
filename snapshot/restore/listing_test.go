package restore

import (
	"encoding/binary"

	"permafrost/snapshot"
	"permafrost/source"
)

// An entryWriter writes the entries of a listing's leaf as the page on formats has them, whatever they say: a ListingWriter would take
// only some of them.
type entryWriter struct {
	path         string
	mtime, inode int64
	combinations map[string]int
}

func (w *entryWriter) append(b []byte, e *snapshot.Entry) []byte {
	dev := uint64(0)
	if e.Type == source.File {
		dev = e.Dev
	}
	combination := []byte{byte(e.Type)}
	for _, n := range []uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID), dev} {
		combination = binary.AppendUvarint(combination, n)
	}
	number, known := w.combinations[string(combination)]
	if !known {
		number = len(w.combinations)
		if w.combinations == nil {
			w.combinations = make(map[string]int)
		}
		w.combinations[string(combination)] = number
	}
	id, whole := e.Content.Blob()
	form := 0
	switch {
	case e.Type != source.File:
	case e.Link != "":
		form = 3
	case e.Size > 0 && whole:
		form = 1
	case e.Size > 0:
		form = 2
	}
	head := uint64(number)<<4 | uint64(form)<<2
	if len(e.Xattrs) > 0 {
		head |= 2
	}
	if e.Type == source.File && e.CTime == e.MTime {
		head |= 1
	}
	b = binary.AppendUvarint(b, head)
	if !known {
		b = append(b, combination...)
	}
	b = suffix(b, w.path, e.Path)
	b = binary.AppendVarint(b, e.MTime-w.mtime)
	w.path, w.mtime = e.Path, e.MTime
	switch e.Type {
	case source.File:
		if e.CTime != e.MTime {
			b = binary.AppendVarint(b, e.CTime-e.MTime)
		}
		b = binary.AppendVarint(b, int64(e.Inode)-w.inode)
		w.inode = int64(e.Inode)
		if form > 0 {
			b = binary.AppendUvarint(b, uint64(e.Size))
		}
		switch form {
		case 1:
			b = append(b, id[:]...)
		case 2:
			b = text(append(b, byte(e.Content.Depth)), string(e.Content.Root))
		case 3:
			b = suffix(b, e.Path, e.Link)
		}
	case source.Symlink:
		b = text(b, e.Target)
	case source.Block, source.Char:
		b = binary.AppendUvarint(b, e.Rdev)
	}
	if len(e.Xattrs) > 0 {
		b = binary.AppendUvarint(b, uint64(len(e.Xattrs)))
		for _, x := range e.Xattrs {
			b = text(text(b, x.Name), string(x.Value))
		}
	}
	return b
}

// text appends a text behind its length.
func text(b []byte, s string) []byte { return append(binary.AppendUvarint(b, uint64(len(s))), s...) }

// suffix appends a text by what differs from the one before.
func suffix(b []byte, before, s string) []byte {
	n := 0
	for n < min(len(before), len(s)) && before[n] == s[n] {
		n++
	}
	return text(binary.AppendUvarint(b, uint64(n)), s[n:])
}
