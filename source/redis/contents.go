package redis

import (
	"bufio"
	"io"
	"strings"
)

// Contents are what an RDB says of itself and of its keys.
type Contents struct {
	Magic    string // REDIS or VALKEY
	Version  int
	Checksum bool // it has one, which is right; else its maker was told to make none

	// Databases holds those with keys, by number. It is nil where a value is of a kind that Uncounted names: the RDB is whole,
	// and only its server knows what is in it.
	Databases map[int]*Database
	Uncounted string
}

// A Database is one of a server's numbered databases.
type Database struct {
	Keys    int64 // all
	Expires int64 // of them those that expire

	kinds map[string]*kind
}

// A kind is all keys with the same text before the first colon: feed, or timeline.
type kind struct {
	stays int64 // how many of them never expire
}

const (
	maxKinds = 10_000 // in all databases; those beyond it are one kind in each, with the name ""
	maxKind  = 200    // bytes of a kind's name that are read
)

// ReadRDB reads a whole RDB and returns what is in it. Its errors are those of CheckRDB, and those of r.
func ReadRDB(r io.Reader) (*Contents, error) {
	whole := &checked{r: r}
	p := &rdbParser{r: bufio.NewReaderSize(whole, 256<<10), databases: make(map[int]*Database)}
	unread := p.read()
	if _, err := io.Copy(io.Discard, p.r); err != nil {
		return nil, err
	}
	c := &Contents{Magic: strings.TrimRight(string(whole.head[:]), "0123456789"), Checksum: whole.checksummed(), Databases: p.databases}
	c.Version, _ = whole.version()
	if unread != nil {
		c.Databases, c.Uncounted = nil, unread.Error()
	}
	return c, nil
}
