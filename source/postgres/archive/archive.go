// Package archive reads dumps in pg_dump's custom format: what a dump's beginning says of it, and, as the dump passes, what it
// holds of each table. It starts no program and reaches no server.
//
// A dump is whatever its server makes of it, so nothing in it is believed: what is read is bounded, and what is not understood is
// an error or told, and never guessed.
//
// pg_dump's custom format begins with a header and a table of contents; the data of tables follows:
//
//	"PGDMP", version (3 bytes), size of an int (1), size of an offset (1), format (1)
//	compression: an int; from 1.15 on one byte, the algorithm
//	seven ints: second, minute, hour, day, month, year, daylight saving
//	strings: database, server's version, pg_dump's version
//	int: number of entries, and for each:
//	  ints: ID, whether it has data
//	  strings: catalog's OID, object's OID, tag, description
//	  int: section
//	  strings: definition, drop statement, copy statement, namespace, tablespace, access method
//	  int: relation kind, from 1.16 on
//	  strings: owner, "false"; the IDs it depends on, until an absent string
//	  offset of the data: a byte and then the offset's bytes
//
// An int is a sign byte and then its bytes, the lowest first. A string is an int, its length (negative for an
// absent string), and its bytes. PostgreSQL 12 to 15 write version 1.14, 16 writes 1.15, 17 and 18 1.16.
//
// Behind that lie the data, in blocks:
//
//	a byte: 1 for a table, 3 for large objects
//	int: ID of the entry
//	of a table: chunks, each an int, its length, and so many bytes; an int 0 ends them
//	of large objects: for each an int, its OID, and chunks as those of a table; an int 0 ends them
//
// A table's data are those of COPY: one line a row, since a line's end within a value is written as \n. Behind them pg_dump
// writes "\.", and two empty lines. So the rows are the lines less three.
package archive

import (
	"bufio"
	"errors"
	"fmt"

	"permafrost/internal/hint"
	"permafrost/source/postgres/quote"
)

const (
	magic  = "PGDMP"
	custom = 1
	oldest = 1<<8 | 14
	newest = 1<<8 | 16

	maxKeptString = 1 << 10 // of strings that are kept: versions, names, descriptions
	maxEntries    = 1 << 24
	maxKinds      = 1 << 10 // PostgreSQL knows some sixty descriptions
)

// MaxHead bounds how much of a dump is read for its table of contents, in bytes. Mastodon's takes half a megabyte.
const MaxHead = 16 << 20

// An Archive is what a dump's beginning tells.
type Archive struct {
	Version  string // 1.14.0
	Database string
	Server   string         // its version
	Dumper   string         // pg_dump's version
	Entries  int            // in the table of contents
	Kinds    map[string]int // entries by description: TABLE, TABLE DATA, INDEX ...
	Note     string         // why Entries and Kinds are missing, where they are

	tables  map[int]string // names by the ID of the entry of the table's data; nil where there are too many
	intSize int            // bytes of an int, its sign aside
}

// Read reads header and table of contents, and nothing behind them except what r buffers. Of an
// archive version that it does not know it reads the header as far as the version, and says so in Note.
func Read(r *bufio.Reader) (Archive, error) { return (&reader{r: r}).read() }

func (d *reader) read() (Archive, error) {
	var a Archive
	head := d.bytes(len(magic) + 6)
	if d.err != nil || string(head[:len(magic)]) != magic {
		return a, hint.Join(errors.New("not an archive in pg_dump's custom format"), d.err)
	}
	major, minor, rev := head[5], head[6], head[7]
	a.Version = fmt.Sprintf("%d.%d.%d", major, minor, rev)
	v := int(major)<<8 | int(minor)
	if v < oldest || v > newest {
		a.Note = "archive version " + a.Version + " is unknown to this permafrost: its table of contents was not read"
		return a, nil
	}
	d.intSize, d.offSize = int(head[8]), int(head[9])
	if d.intSize < 1 || d.intSize > 8 || d.offSize < 1 || d.offSize > 8 || head[10] != custom {
		return a, fmt.Errorf("archive with ints of %d bytes, offsets of %d bytes and format %d", head[8], head[9], head[10])
	}
	if v >= 1<<8|15 {
		d.bytes(1)
	} else {
		d.int()
	}
	for range 7 {
		d.int()
	}
	a.Database, a.Server, a.Dumper = d.string(), d.string(), d.string()
	n := d.int()
	if d.err == nil && (n < 0 || n > maxEntries) {
		d.err = fmt.Errorf("%d entries", n)
	}
	a.Kinds, a.tables, a.intSize = make(map[string]int), make(map[int]string), d.intSize
	for ; a.Entries < n && d.err == nil; a.Entries++ {
		e := d.entry(v)
		if a.Kinds[e.Kind]++; len(a.Kinds) > maxKinds {
			d.err = fmt.Errorf("more than %d kinds of entries", maxKinds)
		}
		if e.data && e.Kind == "TABLE DATA" {
			a.add(&e)
		}
		if d.visit != nil && d.err == nil {
			d.visit(&e)
		}
	}
	if d.err != nil {
		return a, fmt.Errorf("reading the dump's table of contents: entry %d of %d: %w", a.Entries, n, d.err)
	}
	return a, nil
}

// add notes a table whose data the archive holds.
func (a *Archive) add(e *Entry) {
	if a.tables == nil || len(a.tables) == maxTables || e.Schema == "" || e.Tag == "" {
		a.tables = nil
		return
	}
	a.tables[e.ID] = quote.TableName(e.Schema, e.Tag)
}

// An Entry is what is kept of an entry of the table of contents.
type Entry struct {
	ID          int
	Kind        string // its description
	Tag, Schema string // "" where they are too long to be names
	Owner       string
	Definition  string // of SQL, where Contents keep those of its kind

	data    bool   // it has data
	defined [2]int // where the definition is in the archive, its length in front of it included
	offset  int    // where the offset of its data is
}

// entry reads one entry.
func (d *reader) entry(version int) (e Entry) {
	if e.ID = d.int(); d.err == nil && e.ID <= 0 {
		d.err = fmt.Errorf("an entry has the ID %d", e.ID)
	}
	e.data = d.int() != 0
	d.skip(2)
	e.Tag = d.name()
	e.Kind = d.string()
	d.int()
	e.defined[0] = d.pos
	if d.keeps != nil && d.keeps(e.Kind) {
		e.Definition = d.text()
	} else {
		d.skipString()
	}
	e.defined[1] = d.pos
	d.skip(2)
	e.Schema = d.name()
	d.skip(2)
	if version >= 1<<8|16 {
		d.int()
	}
	e.Owner = d.name()
	d.skipString()
	for d.err == nil && d.skipString() {
	}
	e.offset = d.pos
	d.bytes(1 + d.offSize)
	return e
}
