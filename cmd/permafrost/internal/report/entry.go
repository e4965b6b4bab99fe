package report

import (
	"fmt"
	"io/fs"

	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/source"
)

// entryText returns an entry as ls shows it.
func entryText(l *keeper.Entry, long bool) string {
	name := escape.Name(string(l.Path))
	if !long {
		return name
	}
	if l.Target != "" {
		name += " -> " + escape.Name(string(l.Target))
	}
	if l.Link != "" {
		name += " = " + escape.Name(string(l.Link))
	}
	return fmt.Sprintf("%s %5d %5d %12d %s %s", modeText(l.Type, l.Mode), l.UID, l.GID, l.Size, units.Time(l.MTime), name)
}

// modeText returns a mode the way ls -l shows it.
func modeText(typ string, mode uint32) string {
	m := []byte(fs.FileMode(mode & 0o777).String())
	m[0] = typ[0]
	if typ == string(source.File) {
		m[0] = '-'
	}
	for _, s := range []struct {
		bit   uint32
		index int
		mark  byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if mode&s.bit == 0 {
			continue
		}
		if m[s.index] == '-' {
			s.mark -= 'a' - 'A'
		}
		m[s.index] = s.mark
	}
	return string(m)
}
