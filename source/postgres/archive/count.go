package archive

import (
	"bytes"
	"errors"
	"fmt"
)

const (
	blockData    = 1
	blockObjects = 3

	dataEnd  = "\\.\n\n\n" // how a table's data end
	endLines = 3           // of dataEnd

	maxTables = 10_000 // that are counted; of further ones the dump is not
)

// A Table is what a dump holds of one table.
type Table struct {
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"` // of its data as the dump has them, the end mark aside

	// Where its data begin in the dump. A dump that went through a pipe does not say so itself.
	Offset int64 `json:"offset,omitempty"`
}

// A Counter counts what a dump holds of each table, from the archive's data as they pass. It keeps a few bytes of them. What it
// does not understand ends the counting, and nothing else.
type Counter struct {
	names   map[int]string // TableName of tables, by the ID of the entry of their data
	intSize int
	tables  map[string]Table
	objects int64 // bytes of large objects
	err     error

	pos   int64 // of the next byte in the dump
	state countState
	part  []byte // of a number that is not whole yet
	left  int    // bytes of the chunk at hand
	block int64  // where the block at hand begins
	name  string // of the table at hand
	table Table
	lines int64
	tail  [len(dataEnd)]byte // the last bytes of the table at hand
}

// A countState says what comes next, where no chunk is at hand.
type countState byte

const (
	atBlock  countState = iota // a block's kind
	atTable                    // the ID of a table's block
	atChunk                    // length of a chunk of a table
	atBlobs                    // the ID of a block of large objects
	atObject                   // OID of a large object
	atPiece                    // length of a chunk of a large object
)

// Counter returns a counter of the archive's data, which begin at a position of the dump. An error says why they can't be counted.
func (a *Archive) Counter(at int64) (*Counter, error) {
	switch {
	case a.Note != "":
		return nil, errors.New("the table of contents was not read")
	case a.tables == nil:
		return nil, fmt.Errorf("there are more than %d tables, or a name is none", maxTables)
	}
	return &Counter{names: a.tables, intSize: a.intSize, tables: make(map[string]Table, len(a.tables)), pos: at}, nil
}

// Count takes the next bytes.
func (c *Counter) Count(b []byte) {
	for len(b) > 0 && c.err == nil {
		if c.left > 0 {
			n := min(c.left, len(b))
			c.chunk(b[:n])
			c.left -= n
			c.pos += int64(n)
			b = b[n:]
			continue
		}
		need := 1
		if c.state != atBlock {
			need += c.intSize
		}
		if len(c.part) == 0 && len(b) >= need {
			c.number(b[:need])
			c.pos += int64(need)
			b = b[need:]
			continue
		}
		n := min(need-len(c.part), len(b))
		c.part = append(c.part, b[:n]...)
		c.pos += int64(n)
		b = b[n:]
		if len(c.part) == need {
			c.number(c.part)
			c.part = c.part[:0]
		}
	}
}

// chunk counts a part of a chunk.
func (c *Counter) chunk(b []byte) {
	if c.state == atPiece {
		c.objects += int64(len(b))
		return
	}
	c.table.Bytes += int64(len(b))
	c.lines += int64(bytes.Count(b, newline))
	if n := len(c.tail); len(b) >= n {
		copy(c.tail[:], b[len(b)-n:])
	} else {
		copy(c.tail[:], c.tail[len(b):])
		copy(c.tail[n-len(b):], b)
	}
}

var newline = []byte{'\n'}

// number takes what stands between chunks: an int, or the kind of a block.
func (c *Counter) number(b []byte) {
	if c.state == atBlock {
		c.block = c.pos
		switch b[0] {
		case blockData:
			c.state = atTable
		case blockObjects:
			c.state = atBlobs
		default:
			c.fail(fmt.Errorf("a block of the kind %d", b[0]))
		}
		return
	}
	n, ok := intOf(b)
	if !ok || n < 0 {
		c.fail(errors.New("a number is out of range"))
		return
	}
	switch c.state {
	case atTable:
		c.name, c.table, c.lines, c.tail = c.names[n], Table{}, 0, [len(dataEnd)]byte{}
		c.state = atChunk
	case atChunk:
		if c.left = n; n == 0 {
			c.finish()
		}
	case atBlobs:
		c.state = atObject
	case atObject:
		if c.state = atPiece; n == 0 {
			c.state = atBlock
		}
	case atPiece:
		if c.left = n; n == 0 {
			c.state = atObject
		}
	}
}

// finish takes the table that has ended.
func (c *Counter) finish() {
	c.state = atBlock
	if c.name == "" {
		return
	}
	if _, twice := c.tables[c.name]; twice || string(c.tail[:]) != dataEnd || c.lines < endLines {
		c.fail(fmt.Errorf("the data of %.100q do not end as a table's do", c.name))
		return
	}
	c.tables[c.name] = Table{Rows: c.lines - endLines, Bytes: c.table.Bytes - int64(len(dataEnd)), Offset: c.block}
}

func (c *Counter) fail(err error) { c.err = err }

// Counted returns what the dump holds of each table, by its name as quote.TableName writes it, and the bytes of its large objects,
// once the dump has ended. An error says why that is nothing.
func (c *Counter) Counted() (tables map[string]Table, objects int64, err error) {
	switch {
	case c.err != nil:
		return nil, 0, c.err
	case c.state != atBlock || len(c.part) > 0:
		return nil, 0, errors.New("the last block has no end")
	case len(c.tables) < len(c.names):
		return nil, 0, fmt.Errorf("the data of %d tables are missing", len(c.names)-len(c.tables))
	}
	return c.tables, c.objects, nil
}
