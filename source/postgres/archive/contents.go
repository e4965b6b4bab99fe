package archive

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// Contents are what a table of contents tells that steps of a restore need.
type Contents struct {
	Archive
	Kept    []Entry  // extensions, and what is about the database as such, with their definitions
	Schemas []string // of what is in the dump, public in front and then by name
	Owners  []string // of what is in the dump, by name
	Owned   []Entry  // those whose owner is their own, not that of a table
	Grants  []Entry  // on what is in the dump, with their definitions

	path     *Entry // the one that sets the search path; nil where there is none
	intBytes int
}

// keptKinds are those whose definitions are looked at.
var keptKinds = []string{"DATABASE", "DATABASE PROPERTIES", "COMMENT", "ACL", "DEFAULT ACL", "EXTENSION"}

// ownedKinds are those that pg_restore gives an owner.
var ownedKinds = []string{"AGGREGATE", "BLOB", "BLOB METADATA", "COLLATION", "CONVERSION", "DOMAIN", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "FOREIGN TABLE",
	"FUNCTION", "MATERIALIZED VIEW", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURAL LANGUAGE", "PROCEDURE", "PUBLICATION", "SCHEMA", "SEQUENCE",
	"SERVER", "STATISTICS", "TABLE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TYPE", "VIEW"}

// ReadContents reads a table of contents, as TOC returns it.
func ReadContents(toc []byte) (*Contents, error) {
	c := new(Contents)
	schemas, owners := make(map[string]bool), make(map[string]bool)
	d := &reader{r: bufio.NewReader(bytes.NewReader(toc)), keeps: func(kind string) bool { return slices.Contains(keptKinds, kind) }}
	d.visit = func(e *Entry) {
		switch {
		case e.Kind == "SEARCHPATH":
			c.path = &Entry{defined: e.defined}
		case e.Kind == "EXTENSION", slices.Contains(keptKinds, e.Kind) && aboutDatabase(e):
			c.Kept = append(c.Kept, *e)
		case e.Kind == "ACL", e.Kind == "DEFAULT ACL":
			c.Grants = append(c.Grants, *e)
		case slices.Contains(ownedKinds, e.Kind):
			c.Owned = append(c.Owned, *e)
		}
		if e.Kind == "SCHEMA" {
			schemas[e.Tag] = true
		}
		schemas[e.Schema], owners[e.Owner] = true, true
	}
	var err error
	if c.Archive, err = d.read(); err != nil {
		return nil, err
	}
	if c.Note != "" {
		return nil, errors.New(c.Note)
	}
	c.intBytes = 1 + d.intSize
	c.Schemas, c.Owners = sortedNames(schemas), sortedNames(owners)
	return c, nil
}

// aboutDatabase reports whether an entry is about the database as such.
func aboutDatabase(e *Entry) bool {
	return strings.HasPrefix(e.Kind, "DATABASE") || strings.HasPrefix(e.Tag, "DATABASE ")
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

// WithPath returns the table of contents with another statement in the place of the one that sets the search path: pg_restore
// looks for names where the statement says. Without such a place the table of contents is returned as it is.
func (c *Contents) WithPath(toc []byte, statement string) []byte {
	if c.path == nil {
		return toc
	}
	size := make([]byte, c.intBytes)
	for i, n := 1, len(statement); i < len(size); i, n = i+1, n>>8 {
		size[i] = byte(n)
	}
	return slices.Concat(toc[:c.path.defined[0]], size, []byte(statement), toc[c.path.defined[1]:])
}
