package postgres

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Offsets of data, as an archive's entries have them: a byte that says what follows.
const (
	offsetUnknown = 1 // the data are found by reading all before them
	offsetKnown   = 2
)

// TOC returns a dump's beginning, up to the end of its table of contents: an archive by itself, without data. It serves
// `pg_restore --section=pre-data` and `--section=post-data`, also with several jobs, where the whole dump need not be at hand.
// The dump is in pg_dump's custom format; it is read no further than its data, but for what a buffer takes, and no more than
// 16 MiB of it.
//
// No data are where the archive says they are, so that it says of none where it is. Followed by the data, the archive is whole
// again for a pg_restore that reads it from a pipe.
func TOC(r io.Reader) ([]byte, error) {
	var head bytes.Buffer
	limited := &io.LimitedReader{R: r, N: maxHead}
	var offsets []int
	d := &archiveReader{r: bufio.NewReader(io.TeeReader(limited, &head)), visit: func(e *archiveEntry) { offsets = append(offsets, e.offset) }}
	a, err := d.read()
	switch {
	case err != nil && limited.N == 0:
		return nil, fmt.Errorf("the dump's table of contents takes more than %d MiB", maxHead>>20)
	case err != nil:
		return nil, err
	case a.note != "":
		return nil, errors.New(a.note)
	}
	toc := head.Bytes()[:d.pos]
	for _, at := range offsets {
		if toc[at] == offsetKnown {
			clear(toc[at+1 : at+1+d.offSize])
			toc[at] = offsetUnknown
		}
	}
	return slices.Clone(toc), nil
}

// withOffsets returns a table of contents that says where the data of tables are, as pg_dump writes it to a file, and whether it
// says so of all of them. pg_restore with several jobs then reads no data twice, and begins with the largest tables and their indexes.
func withOffsets(toc []byte, tables map[string]Table) ([]byte, bool) {
	toc, all := slices.Clone(toc), true
	d := &archiveReader{r: bufio.NewReader(bytes.NewReader(toc))}
	d.visit = func(e *archiveEntry) {
		if !e.data || e.kind != "TABLE DATA" {
			return
		}
		t := tables[TableName(e.schema, e.tag)]
		if t.Offset < int64(len(toc)) || d.offSize > 8 {
			all = false
			return
		}
		toc[e.offset] = offsetKnown
		for i := range d.offSize {
			toc[e.offset+1+i] = byte(t.Offset >> (8 * i))
		}
	}
	_, err := d.read()
	return toc, all && err == nil
}

// contents are what a table of contents tells that steps of a restore need.
type contents struct {
	archive
	kept     []archiveEntry // of the kinds that keptKinds has
	schemas  []string       // of what is in the dump, public in front and then by name
	owners   []string       // of what is in the dump, by name
	owned    []archiveEntry // those whose owner is their own, not that of a table
	grants   []archiveEntry // on what is in the dump, with their definitions
	path     *archiveEntry  // the one that sets the search path; nil where there is none
	intBytes int
}

// keptKinds are those whose definitions are looked at.
var keptKinds = []string{"DATABASE", "DATABASE PROPERTIES", "COMMENT", "ACL", "DEFAULT ACL", "EXTENSION"}

// ownedKinds are those that pg_restore gives an owner.
var ownedKinds = []string{"AGGREGATE", "BLOB", "BLOB METADATA", "COLLATION", "CONVERSION", "DOMAIN", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE",
	"FUNCTION", "MATERIALIZED VIEW", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "PROCEDURE", "PUBLICATION", "SCHEMA", "SEQUENCE",
	"SERVER", "STATISTICS", "TABLE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TYPE", "VIEW"}

// readContents reads a table of contents.
func readContents(toc []byte) (*contents, error) {
	c := new(contents)
	schemas, owners := make(map[string]bool), make(map[string]bool)
	d := &archiveReader{r: bufio.NewReader(bytes.NewReader(toc)), keeps: func(kind string) bool { return slices.Contains(keptKinds, kind) }}
	d.visit = func(e *archiveEntry) {
		switch {
		case e.kind == "SEARCHPATH":
			c.path = &archiveEntry{defined: e.defined}
		case e.kind == "EXTENSION", slices.Contains(keptKinds, e.kind) && aboutDatabase(e):
			c.kept = append(c.kept, *e)
		case e.kind == "ACL", e.kind == "DEFAULT ACL":
			c.grants = append(c.grants, *e)
		case slices.Contains(ownedKinds, e.kind):
			c.owned = append(c.owned, *e)
		}
		if e.kind == "SCHEMA" {
			schemas[e.tag] = true
		}
		schemas[e.schema], owners[e.owner] = true, true
	}
	var err error
	if c.archive, err = d.read(); err != nil {
		return nil, err
	}
	if c.note != "" {
		return nil, errors.New(c.note)
	}
	c.intBytes = 1 + d.intSize
	c.schemas, c.owners = sortedNames(schemas), sortedNames(owners)
	return c, nil
}

// aboutDatabase reports whether an entry is about the database as such.
func aboutDatabase(e *archiveEntry) bool {
	return strings.HasPrefix(e.kind, "DATABASE") || strings.HasPrefix(e.tag, "DATABASE ")
}

// sortedNames returns those of the names that are a user's own. What was no text, as of a database in another encoding, is no name.
func sortedNames(set map[string]bool) (names []string) {
	for name := range set {
		if name != "" && name != "public" && name != "information_schema" && !strings.HasPrefix(name, "pg_") &&
			!strings.ContainsRune(name, utf8.RuneError) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if set["public"] {
		names = slices.Insert(names, 0, "public")
	}
	return names
}

// searchPath returns a value for search_path that has all schemas of the dump.
func (c *contents) searchPath() string {
	names := make([]string, len(c.schemas))
	for i, s := range c.schemas {
		names[i] = identifier(s)
	}
	return strings.Join(names, ", ")
}

// withPath returns the table of contents so that pg_restore looks for names in all schemas of the dump. It looks for none
// otherwise, and what is defined by an unqualified name can't be made, as a function's body may hold.
func (c *contents) withPath(toc []byte) []byte {
	if c.path == nil || len(c.schemas) == 0 {
		return toc
	}
	text := "SELECT pg_catalog.set_config('search_path', " + literal(c.searchPath()) + ", false);\n"
	size := make([]byte, c.intBytes)
	for i, n := 1, len(text); i < len(size); i, n = i+1, n>>8 {
		size[i] = byte(n)
	}
	return slices.Concat(toc[:c.path.defined[0]], size, []byte(text), toc[c.path.defined[1]:])
}
