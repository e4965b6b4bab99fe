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

	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/source"
)

// errPooler tells that a pooler answers in the server's place.
func errPooler(db source.Database) error {
	return hint.Wrap(fmt.Errorf("a connection pooler answers for the %v, not PostgreSQL itself", db),
		"give PostgreSQL's own address: port = 5432 (and host, if it differs) below [postgres] in permafrost.toml, or --postgres-port 5432. Mastodon's settings stay as they are")
}

// connectHints say what to do about an SQLSTATE of a server that turns a client away.
var connectHints = map[string]string{
	"28P01": "compare DB_PASS (or DATABASE_URL) in .env.production with the role's password in PostgreSQL",
	"28000": "pg_hba.conf lets this user in as somebody else or not at all; for peer authentication run permafrost as root or as Mastodon's own user",
	"3D000": "compare DB_NAME (or DATABASE_URL) in .env.production with the list of `psql -l`",
	"53300": "every connection that PostgreSQL allows is taken: raise max_connections, or try again at a calmer hour",
	"57P03": "PostgreSQL is starting or stopping: try again in a moment",
	"22023": "the role, the database or the server has a parameter that this connection can't have: the error names it",
	"42501": "the role lacks a right: it should own the database",
}

// ownHints stand in for those of connectHints where permafrost's own configuration says where the database is.
var ownHints = map[string]string{
	"28P01": "compare user and password_file below [postgres] in permafrost.toml, and DB_PASS (or DATABASE_URL) in .env.production where they are not set, with the role in PostgreSQL",
	"3D000": "compare dbname below [postgres] in permafrost.toml, or DB_NAME (or DATABASE_URL) in .env.production, with the list of `psql -l`",
}

// explainConnect turns what pgx says of a failed connection into one line without the password, and adds
// the likely remedy.
func (s *Server) explainConnect(ctx context.Context, err error) error {
	db := s.db
	advice := "is PostgreSQL running, and are DB_HOST and DB_PORT (or DATABASE_URL) in .env.production right?"
	if db.Elsewhere {
		advice = "is PostgreSQL running, and are host and port below [postgres] in permafrost.toml right?"
	}
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
		err, advice = pgErr, connectHints[pgErr.Code]
		if own := ownHints[pgErr.Code]; db.Elsewhere && own != "" {
			advice = own
		}
		if u := s.opts.User; pgErr.Code == "28000" && u != nil && u.Name == "" {
			advice = fmt.Sprintf("for peer authentication this host must have a name for %v: make that user, or name Mastodon's user with --user", u)
		}
	case errors.As(err, &reach):
		err, advice = reach, hint.Of(reach)
	case strings.Contains(err.Error(), "server refused TLS connection"):
		err, advice = errors.New("the server offers no TLS"), "turn TLS on there (ssl = on in postgresql.conf). If the network is trusted, choose another sslmode: below [postgres] in permafrost.toml, or DB_SSLMODE in .env.production"
	case errors.As(err, &dnsErr):
		if err = dnsErr; db.Advice != "" {
			advice = db.Advice
		}
	case errors.As(err, &opErr):
		err = opErr
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		err = errors.New("no answer in time")
	}
	if db.Pooler && advice != "" {
		advice += "; if this is PgBouncer, name PostgreSQL's own port below [postgres] in permafrost.toml"
	}
	err = fmt.Errorf("connecting to the %v: %w", db, err)
	if advice == "" {
		return err
	}
	return hint.Wrap(err, advice)
}

// isPooler recognizes refusals that PgBouncer words, and PostgreSQL does not.
func isPooler(err *pgconn.PgError) bool {
	return err.Code == "08P01" && (strings.Contains(err.Message, "unsupported startup parameter") ||
		strings.Contains(err.Message, "no such database") || strings.Contains(err.Message, "no such user")) ||
		strings.Contains(strings.ToLower(err.Message), "pgbouncer")
}

// dumpHints say what to do about something that pg_dump or pg_restore says when it fails.
var dumpHints = []struct{ says, hint string }{
	{"conflict with recovery", "the replica dropped rows that the dump still needed: set hot_standby_feedback = on there, or dump the primary"},
	{"permission denied", "let the role read everything, as a superuser: grant pg_read_all_data to ROLE (version 14 and later), or make it own them"},
	{"row-level security", "let the role read all rows, as a superuser: alter role ROLE bypassrls"},
	{"invalid snapshot identifier", "the exported snapshot is gone: was the server restarted, or is there a connection pooler in between?"},
	{"terminating connection due to administrator command", "PostgreSQL was stopped or restarted meanwhile: run it again"},
	{"server closed the connection unexpectedly", "PostgreSQL was stopped or restarted meanwhile: run it again"},
	{"canceling statement due to statement timeout", lockHint},
	{"missing chunk number", damagedHint},
	{"invalid page in block", damagedHint},
	{"could not read block", damagedHint},
}

const damagedHint = "the database is damaged: keep the older snapshots, and see how far it goes: pg_amcheck --heapallindexed DATABASE"

// withDumpHint adds the hint for what a child said, if there is one. ROLE and DATABASE in it become those of db.
func withDumpHint(err error, db source.Database) error {
	names := strings.NewReplacer("ROLE", pgx.Identifier{db.User}.Sanitize(), "DATABASE", escape.Shell(db.Name))
	for _, h := range dumpHints {
		if strings.Contains(err.Error(), h.says) {
			return hint.Wrap(err, names.Replace(h.hint))
		}
	}
	return err
}
