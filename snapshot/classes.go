package snapshot

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"permafrost/repo/ledger"

	"permafrost/source/media"
)

const (
	maxClasses   = 32     // of a snapshot's media, in its manifest and in the log
	maxSeen      = 10_000 // that are counted meanwhile
	maxClassName = 64     // bytes
)

// mastodons are the directories below public/system that Mastodon makes. These are kept before all others.
var mastodons = []string{"accounts", "backups", "custom_emojis", "imports", "media_attachments", "preview_cards", "site_uploads"}

// Count counts a file that is listed: each name of a hard link, but its bytes once.
func (m *Media) Count(e *Entry) {
	size := e.Size
	if e.Link != "" {
		size = 0
	}
	m.Files++
	m.Size += size
	if media.Cached(e.Path) {
		m.CacheFiles++
		m.CacheSize += size
		return
	}
	m.classify(e.Path, size)
}

// LeaveOut counts a file that is missing from the snapshot, and names it where it is one of the first.
func (m *Media) LeaveOut(path string, err error) {
	m.LeftOut++
	if len(m.Left) < maxLeftOut {
		m.Left = append(m.Left, LeftOut{Text(path), Reason(err)})
	}
}

// classify counts a file by the directory below the root that it is in.
func (m *Media) classify(path string, size int64) {
	name, _, below := strings.Cut(path, "/")
	if !below || len(name) > maxClassName || !utf8.ValidString(name) || strings.Contains(name, "\x00") {
		return
	}
	c, known := m.Classes[name]
	if !known && len(m.Classes) >= maxSeen && !slices.Contains(mastodons, name) {
		return
	}
	if m.Classes == nil {
		m.Classes = make(map[string]ledger.Class)
	}
	m.Classes[name] = ledger.Class{Files: c.Files + 1, Size: c.Size + size}
}

// TrimClasses keeps, once all files are counted, Mastodon's own classes, and of the others those with the most files: as many as a
// manifest may have.
func (m *Media) TrimClasses() {
	names := slices.SortedFunc(maps.Keys(m.Classes), func(a, b string) int {
		known := func(name string) int { return -map[bool]int{true: 1}[slices.Contains(mastodons, name)] }
		return cmp.Or(cmp.Compare(known(a), known(b)), cmp.Compare(m.Classes[b].Files, m.Classes[a].Files), cmp.Compare(a, b))
	})
	for _, name := range names[min(len(names), maxClasses):] {
		delete(m.Classes, name)
	}
}

// checkClasses returns an error for what no tree can hold.
func (m *Media) checkClasses() error {
	files, size := m.Files-m.CacheFiles, m.Size-m.CacheSize
	for name, c := range m.Classes {
		if name == "" || len(name) > maxClassName || c.Files < 0 || c.Size < 0 || c.Files > files || c.Size > size {
			return errors.New("impossible counts of a class")
		}
		files, size = files-c.Files, size-c.Size
	}
	if len(m.Classes) > maxClasses || m.Local < 0 || m.Local > 0 && m.State != External || m.Reread < 0 {
		return errors.New("impossible classes, or counts of local files")
	}
	return nil
}
