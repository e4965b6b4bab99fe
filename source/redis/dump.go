package redis

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"
)

// The ways to get an RDB.
const (
	bgsave      = "bgsave"
	replication = "replication"
	lastSave    = "last save"
)

// headSize is how much of an RDB is looked at for its time, in bytes: its metadata takes about 150.
const headSize = 1024

// A Dump is one RDB, read as a stream. The state that it holds is that of the moment before Dump returned
// it, or little earlier. Read gives io.EOF only after a whole RDB: its magic, its end mark and its checksum
// are proven. Any other error is final; what was read before it is not to be used.
type Dump struct {
	server *Server
	ctx    context.Context
	close  func() error
	rdb    *checked
	facts  DumpFacts
	done   bool
}

// DumpFacts tell how an RDB was had.
type DumpFacts struct {
	Method     string    `json:"method"`        // bgsave, replication or last save
	Why        string    `json:"why,omitempty"` // why not by bgsave
	Time       time.Time `json:"time,omitzero"` // of its state, by the server's clock, to the second
	RDBVersion int       `json:"rdb_version"`   // an older Redis than the one that made it may refuse it
	Size       int64     `json:"size"`          // bytes
	Checksum   bool      `json:"checksum"`      // false: Redis made none (rdbchecksum no)
}

// Dump returns the data set of all databases, and gathers the facts anew. ctx ends the dump, and where that
// happens before Dump returns, the server's connection too.
//
// Read it without long pauses: Redis may keep a child process and memory until it is read, and drop the
// connection after a minute in which nothing was.
func (s *Server) Dump(ctx context.Context) (*Dump, error) {
	d, err := s.dump(ctx)
	if err != nil {
		return nil, fmt.Errorf("dumping %s: %w", s.conf, explain(s.conf, err))
	}
	return d, nil
}

func (s *Server) dump(ctx context.Context) (*Dump, error) {
	defer guard(ctx, s.client)()
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	d, why := s.save(ctx)
	if why == nil {
		return d, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d, err := s.replicate(ctx)
	if err != nil {
		return s.otherwise(ctx, why, err)
	}
	d.facts.Why = redact(s.conf, why).Error()
	return d, nil
}

// newDump returns a Dump that reads r and ends with closer. It has read the RDB's first bytes.
func (s *Server) newDump(ctx context.Context, method string, r io.Reader, closer func() error) (*Dump, error) {
	buf := bufio.NewReaderSize(r, 64<<10)
	head, err := buf.Peek(headSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return &Dump{
		server: s, ctx: ctx, close: closer,
		rdb:   &checked{r: buf},
		facts: DumpFacts{Method: method, Time: rdbTime(head)},
	}, nil
}

// Read implements io.Reader.
func (d *Dump) Read(p []byte) (int, error) {
	if d.ctx.Err() != nil {
		return 0, context.Cause(d.ctx)
	}
	n, err := d.rdb.Read(p)
	if err == nil || err == io.EOF {
		d.done = err == io.EOF
		return n, err
	}
	if d.ctx.Err() != nil {
		err = context.Cause(d.ctx)
	}
	return n, fmt.Errorf("reading the data set of %s: %w", d.server.conf, explain(d.server.conf, err))
}

// Close ends the dump, read or not.
func (d *Dump) Close() error { return d.close() }

// Facts returns how the RDB was had. Version, size and checksum are known after io.EOF.
func (d *Dump) Facts() DumpFacts {
	f := d.facts
	if d.done {
		f.RDBVersion, _ = d.rdb.version()
		f.Size, f.Checksum = d.rdb.size, d.rdb.checksummed()
	}
	return f
}
