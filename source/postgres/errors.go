package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"permafrost/source"
)

// errPooler tells that a pooler answers in the server's place.
func errPooler(db source.Database) error {
	return source.Because(CausePooler, fmt.Errorf("a connection pooler answers for the %v, not PostgreSQL itself", db))
}

// connectCauses are the causes by the SQLSTATE of a server that turns a client away.
var connectCauses = map[string]source.Cause{
	"28P01": CauseWrongPassword,
	"28000": CauseNotAdmitted,
	"3D000": CauseNoDatabase,
	"53300": CauseNoConnection,
	"57P03": CauseNotReady,
	"22023": CauseParameter,
	"42501": CauseNoRight,
}

// explainConnect turns what pgx says of a failed connection into a ConnectError, one line without the password.
func (s *Server) explainConnect(ctx context.Context, err error) error {
	db := s.db
	why := source.Reason{Cause: CauseNoServer}
	var pgErr *pgconn.PgError
	var opErr *net.OpError
	var dnsErr *net.DNSError
	var reach *source.ReachError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("connecting to the %v: %w", db, ctx.Err())
	case errors.As(err, &pgErr):
		if isPooler(pgErr) {
			return errPooler(db)
		}
		err, why.Cause = pgErr, connectCauses[pgErr.Code]
		if u := s.opts.User; pgErr.Code == "28000" && u != nil && u.Name == "" {
			why = source.Reason{Cause: CauseNamelessUser, Facts: []string{u.String()}}
		}
	case errors.As(err, &reach):
		err, why = reach, source.Reason{} // it has its own
	case strings.Contains(err.Error(), "server refused TLS connection"):
		err, why.Cause = errors.New("the server offers no TLS"), CauseNoTLS
	case errors.As(err, &dnsErr):
		if err = dnsErr; db.NoAddress != nil {
			why = *db.NoAddress
		}
	case errors.As(err, &opErr):
		err = opErr
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		err = errors.New("no answer in time")
	}
	err = fmt.Errorf("connecting to the %v: %w", db, err)
	if why.Cause != "" {
		err = why.Of(err)
	}
	return &ConnectError{db.Elsewhere, db.Pooler, err}
}

// isPooler recognizes refusals that PgBouncer words, and PostgreSQL does not.
func isPooler(err *pgconn.PgError) bool {
	return err.Code == "08P01" && (strings.Contains(err.Message, "unsupported startup parameter") ||
		strings.Contains(err.Message, "no such database") || strings.Contains(err.Message, "no such user")) ||
		strings.Contains(strings.ToLower(err.Message), "pgbouncer")
}

// dumpCauses are the causes by what pg_dump or pg_restore says when it fails.
var dumpCauses = []struct {
	says  string
	cause source.Cause
}{
	{"conflict with recovery", CauseConflict},
	{"permission denied", CauseUnreadable},
	{"row-level security", CauseRowsHidden},
	{"invalid snapshot identifier", CauseSnapshotLost},
	{"terminating connection due to administrator command", CauseStopped},
	{"server closed the connection unexpectedly", CauseStopped},
	{"canceling statement due to statement timeout", CauseLocked},
	{"missing chunk number", CauseDamaged},
	{"invalid page in block", CauseDamaged},
	{"could not read block", CauseDamaged},
}

// explainDump gives the cause to what a child said, if there is one.
func explainDump(err error, db source.Database) error {
	for _, c := range dumpCauses {
		if !strings.Contains(err.Error(), c.says) {
			continue
		}
		switch c.cause {
		case CauseUnreadable, CauseRowsHidden:
			return source.Because(c.cause, err, pgx.Identifier{db.User}.Sanitize())
		case CauseDamaged:
			return source.Because(c.cause, err, db.Name)
		}
		return source.Because(c.cause, err)
	}
	return err
}
