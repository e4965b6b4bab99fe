package postgres

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"permafrost/internal/hint"
)

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

const (
	archiveMagic  = "PGDMP"
	archiveCustom = 1
	oldestArchive = 1<<8 | 14
	newestArchive = 1<<8 | 16

	maxKeptString = 1 << 10 // of strings that are kept: versions, names, descriptions
	maxEntries    = 1 << 24
	maxKinds      = 1 << 10 // PostgreSQL knows some sixty descriptions
)

// An archive is what a dump's beginning tells.
type archive struct {
	version  string // 1.14.0
	database string
	server   string         // its version
	dumper   string         // pg_dump's version
	entries  int            // in the table of contents
	kinds    map[string]int // entries by description: TABLE, TABLE DATA, INDEX ...
	tables   map[int]string // TableName by the ID of the entry of its data; nil where there are too many
	intSize  int            // bytes of an int, its sign aside
	note     string         // why entries and kinds are missing, where they are
}

// readArchive reads header and table of contents, and nothing behind them except what r buffers. Of an
// archive version that it does not know it reads the header as far as the version, and says so in note.
func readArchive(r *bufio.Reader) (archive, error) { return (&archiveReader{r: r}).read() }

func (d *archiveReader) read() (archive, error) {
	var a archive
	head := d.bytes(len(archiveMagic) + 6)
	if d.err != nil || string(head[:len(archiveMagic)]) != archiveMagic {
		return a, hint.Join(errors.New("not an archive in pg_dump's custom format"), d.err)
	}
	major, minor, rev := head[5], head[6], head[7]
	a.version = fmt.Sprintf("%d.%d.%d", major, minor, rev)
	v := int(major)<<8 | int(minor)
	if v < oldestArchive || v > newestArchive {
		a.note = "archive version " + a.version + " is unknown to this permafrost: its table of contents was not read"
		return a, nil
	}
	d.intSize, d.offSize = int(head[8]), int(head[9])
	if d.intSize < 1 || d.intSize > 8 || d.offSize < 1 || d.offSize > 8 || head[10] != archiveCustom {
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
	a.database, a.server, a.dumper = d.string(), d.string(), d.string()
	n := d.int()
	if d.err == nil && (n < 0 || n > maxEntries) {
		d.err = fmt.Errorf("%d entries", n)
	}
	a.kinds, a.tables, a.intSize = make(map[string]int), make(map[int]string), d.intSize
	for ; a.entries < n && d.err == nil; a.entries++ {
		e := d.entry(v)
		if a.kinds[e.kind]++; len(a.kinds) > maxKinds {
			d.err = fmt.Errorf("more than %d kinds of entries", maxKinds)
		}
		if e.data && e.kind == "TABLE DATA" {
			a.add(&e)
		}
		if d.visit != nil && d.err == nil {
			d.visit(&e)
		}
	}
	if d.err != nil {
		return a, fmt.Errorf("reading the dump's table of contents: entry %d of %d: %w", a.entries, n, d.err)
	}
	return a, nil
}

// add notes a table whose data the archive holds.
func (a *archive) add(e *archiveEntry) {
	if a.tables == nil || len(a.tables) == maxTables || e.schema == "" || e.tag == "" {
		a.tables = nil
		return
	}
	a.tables[e.id] = TableName(e.schema, e.tag)
}

// An archiveReader reads the parts of an archive. After its first error everything it returns is zero.
type archiveReader struct {
	r                *bufio.Reader
	intSize, offSize int
	pos              int // bytes that were read
	err              error

	keeps func(kind string) bool // whose definitions are kept; nil for none
	visit func(*archiveEntry)    // is given each entry; may be nil
}

// An archiveEntry is what is kept of an entry of the table of contents.
type archiveEntry struct {
	id          int
	data        bool   // it has data
	kind        string // its description
	tag, schema string // "" where they are too long to be names
	owner       string

	definition string // of SQL, of a kind that is kept
	defined    [2]int // where the definition is in the archive, its length in front of it included
	offset     int    // where the offset of its data is
}

// entry reads one entry.
func (d *archiveReader) entry(version int) (e archiveEntry) {
	if e.id = d.int(); d.err == nil && e.id <= 0 {
		d.err = fmt.Errorf("an entry has the ID %d", e.id)
	}
	e.data = d.int() != 0
	d.skip(2)
	e.tag = d.name()
	e.kind = d.string()
	d.int()
	e.defined[0] = d.pos
	if d.keeps != nil && d.keeps(e.kind) {
		e.definition = d.text()
	} else {
		d.skipString()
	}
	e.defined[1] = d.pos
	d.skip(2)
	e.schema = d.name()
	d.skip(2)
	if version >= 1<<8|16 {
		d.int()
	}
	e.owner = d.name()
	d.skipString()
	for d.err == nil && d.skipString() {
	}
	e.offset = d.pos
	d.bytes(1 + d.offSize)
	return e
}

// bytes returns the next n bytes, n being small; they are valid until the next call.
func (d *archiveReader) bytes(n int) []byte {
	if d.err != nil {
		return nil
	}
	b, err := d.r.Peek(n)
	if err != nil {
		d.err = unexpected(err)
		return nil
	}
	d.r.Discard(n)
	d.pos += n
	return b
}

func (d *archiveReader) int() int {
	b := d.bytes(1 + d.intSize)
	if d.err != nil {
		return 0
	}
	n, ok := archiveInt(b)
	if !ok {
		d.err = errors.New("an integer is out of range")
	}
	return n
}

// archiveInt returns the int that b is: a sign byte and then its bytes, the lowest first.
func archiveInt(b []byte) (n int, ok bool) {
	var u uint64
	for i := len(b) - 1; i > 0; i-- {
		u = u<<8 | uint64(b[i])
	}
	if u > math.MaxInt32 {
		return 0, false
	}
	if n = int(u); b[0] != 0 {
		n = -n
	}
	return n, true
}

// string reads a string that is kept; an absent one is "".
func (d *archiveReader) string() string {
	n := d.int()
	if d.err == nil && n > maxKeptString {
		d.err = fmt.Errorf("a name of %d bytes", n)
	}
	if d.err != nil || n < 0 {
		return ""
	}
	return string(d.bytes(n))
}

// maxDefinition bounds a definition that is kept, in bytes.
const maxDefinition = 1 << 20

// text reads a string that is kept, and passes over one that is longer than any that can be meant.
func (d *archiveReader) text() string {
	n := d.int()
	if d.err != nil || n < 0 {
		return ""
	}
	if n > maxDefinition {
		d.discard(n)
		return ""
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.err = unexpected(err)
		return ""
	}
	d.pos += n
	return string(b)
}

// maxIdentifier bounds a name in bytes. PostgreSQL's own have 63 unless it was built otherwise.
const maxIdentifier = 255

// name reads a string that is kept where it can be a table's or a schema's name, and passes over any other.
func (d *archiveReader) name() string {
	n := d.int()
	if d.err != nil || n < 0 {
		return ""
	}
	if n > maxIdentifier {
		d.discard(n)
		return ""
	}
	b := d.bytes(n)
	if bytes.IndexByte(b, 0) >= 0 {
		return ""
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// skip passes over n strings.
func (d *archiveReader) skip(n int) {
	for range n {
		d.skipString()
	}
}

// skipString passes over a string and reports whether there was one.
func (d *archiveReader) skipString() bool {
	n := d.int()
	if d.err != nil || n < 0 {
		return false
	}
	d.discard(n)
	return true
}

func (d *archiveReader) discard(n int) {
	k, err := d.r.Discard(n)
	d.pos += k
	if err != nil {
		d.err = unexpected(err)
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
