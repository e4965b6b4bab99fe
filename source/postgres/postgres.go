// Package postgres reads a consistent dump of a PostgreSQL database.
//
// Facts and the exported snapshot come over a connection of this package's own. The dump is the work of the
// server's own pg_dump, in the custom format, uncompressed (so that it deduplicates), the whole database as it
// is, streamed and never on disk. While it passes, its table of contents is read, and a pg_restore reads all of it: that proves
// its framing, and that it is complete. A letter that was changed inside a row it does not notice.
//
// No password is ever in an argument, in an environment, or on a disk: pg_dump gets it as a PGPASSFILE that
// is an unnamed file in memory. Linux only.
//
// A process of root does all this as the user that Mastodon runs as: peer authentication, client certificates and
// ~/.pgpass work as they do for Mastodon itself, and what that user may not read is not read. Each file
// is read by this package, as that user and within bounds; pgx is given copies in memory. Neither the environment
// nor root's home takes part. The children have a session of their own, so that root's terminal is not theirs.
//
// Nothing that a server says or does not say takes more memory of this process than twice archive.MaxHead, or holds a run for good.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// Options change how a dump is made. The zero value is right where the process runs as Mastodon's own user.
type Options struct {
	User   *hostfs.User // who to be, for a process of root: Instance.User; nil for oneself
	BinDir string       // directory of pg_dump and pg_restore; "" looks for the best one
	Stderr io.Writer    // receives what pg_dump and pg_restore say, whole lines; may be nil
	Warn   func(string) // is told what an administrator should know; may be nil

	// LockWait is how long a lock of somebody else's in the database is waited for: 15 minutes unless set.
	LockWait time.Duration
}

// A Server is a PostgreSQL database that can be dumped.
type Server struct {
	db     source.Database
	opts   Options
	config *pgx.ConnConfig
	facts  Facts
	tools  tools
	pass   *os.File // PGPASSFILE of the children; nil without a password
	stderr io.Writer
	warn   func(string)

	session string // how the connections of this Server are called on the server: nobody else's are

	login   login
	silence time.Duration // of children
}

const (
	// answerTime bounds the questions to a server that has let us in, but for the facts.
	answerTime = 2 * time.Minute

	// factsTime bounds the gathering of facts. The size of a database is added up file by file.
	factsTime = 10 * time.Minute
)

// Connect reaches the database, gathers its facts and finds the programs that can dump it. A connection
// pooler is refused: behind one, a snapshot ends before pg_dump can join it.
func Connect(ctx context.Context, db source.Database, o Options) (*Server, error) {
	session, err := newSession()
	if err != nil {
		return nil, err
	}
	s := &Server{db: db, opts: o, stderr: io.Discard, warn: o.Warn, session: session}
	s.silence = max(silence, s.lockWait()+time.Minute)
	if s.warn == nil {
		s.warn = func(string) {}
	}
	if o.Stderr != nil {
		s.stderr = &lockedWriter{w: o.Stderr}
	}
	if err := s.connect(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) connect(ctx context.Context) (err error) {
	if s.config, err = s.connConfig(); err != nil {
		return err
	}
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	err = s.watched(ctx, func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, factsTime+s.lockWait())
		defer cancel()
		if err = s.warnOfDamage(ctx, conn); err == nil {
			s.facts, err = readFacts(ctx, conn)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("reading facts of the %v: %w", s.db, err)
	}
	s.facts.Host, s.facts.Port, s.facts.Login = s.db.Host, s.db.Port, s.login.get()
	if err := s.chooseTools(ctx); err != nil {
		return err
	}
	if s.db.Container != nil {
		if err = s.endOrphans(ctx); err != nil {
			return fmt.Errorf("looking for earlier dumps of the %v: %w", s.db, err)
		}
	}
	// One that pgx has found in ~/.pgpass is meant for pg_dump too.
	s.pass, err = passFile(s.config.Password, s.opts.User)
	return err
}

// Facts returns what the server said when Connect reached it.
func (s *Server) Facts() Facts { return s.facts }

// Close releases what the Server holds. Close its snapshots and dumps first.
func (s *Server) Close() error {
	if s.pass == nil {
		return nil
	}
	return s.pass.Close()
}

// open connects, and makes sure that the server itself answers.
func (s *Server) open(ctx context.Context) (*pgx.Conn, error) {
	octx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(octx, s.config)
	if err != nil {
		return nil, s.explainConnect(ctx, err)
	}
	if err := s.checkDirect(octx, conn); err != nil {
		closeConn(conn)
		return nil, err
	}
	if err := settle(octx, conn); err != nil {
		closeConn(conn)
		return nil, s.explainConnect(ctx, err)
	}
	return conn, nil
}

// checkDirect refuses a connection pooler. The process number that a client is told when it connects is the
// server process's own, also through tunnels and forwarded ports; a pooler invents one, since it has no
// server process for the client yet.
func (s *Server) checkDirect(ctx context.Context, conn *pgx.Conn) error {
	var pid uint32
	if err := conn.QueryRow(ctx, "select pg_catalog.pg_backend_pid()").Scan(&pid); err != nil {
		return s.explainConnect(ctx, err)
	}
	if pid != conn.PgConn().PID() {
		return errPooler(s.db)
	}
	return nil
}

// closeConn says goodbye, for a moment.
func closeConn(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return conn.Close(ctx)
}

// A Snapshot is one state of the database that several connections can look at. It holds a transaction
// open on the server until Close.
type Snapshot struct {
	ID   string    // as pg_export_snapshot names it
	LSN  string    // position in the write-ahead log, at or just behind that state
	Time time.Time // of the server's clock

	s    *Server
	conn *pgx.Conn
}

// Export fixes the state that Dump is going to read, on a connection of its own.
func (s *Server) Export(ctx context.Context) (*Snapshot, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{s: s, conn: conn}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err = conn.Exec(ctx, "begin isolation level repeatable read read only"); err == nil {
		err = conn.QueryRow(ctx, "select pg_export_snapshot(), ("+currentLSN+")::text, statement_timestamp()").Scan(&snap.ID, &snap.LSN, &snap.Time)
	}
	if err == nil && !snapshotID.MatchString(snap.ID) {
		err = fmt.Errorf("%.100q is not a snapshot's name", snap.ID)
	}
	if err != nil {
		closeConn(conn)
		return nil, fmt.Errorf("exporting a snapshot of the %v: %w", s.db, err)
	}
	return snap, nil
}

// snapshotID is what PostgreSQL names exported snapshots like. The name becomes an argument of pg_dump.
var snapshotID = regexp.MustCompile(`^[0-9A-Fa-f-]{1,64}$`)

// Close ends the transaction. Dumps that are under way go on.
func (snap *Snapshot) Close() error { return closeConn(snap.conn) }

// lockedWriter lets two children write to one writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// errClosed is what reading a closed Dump returns.
var errClosed = errors.New("the dump is closed")
