package postgres

import "permafrost/source"

// Causes why a database can't be connected to.
const (
	CauseNoServer      source.Cause = "postgres: no server" // nothing answers there
	CauseNoTLS         source.Cause = "postgres: no TLS"    // the server offers none, and the sslmode asks for it
	CauseWrongPassword source.Cause = "postgres: wrong password"
	CauseNotAdmitted   source.Cause = "postgres: not admitted"  // pg_hba.conf does not let the user in as that role
	CauseNamelessUser  source.Cause = "postgres: nameless user" // likewise, of a user without a name on this host; the fact: its number
	CauseNoDatabase    source.Cause = "postgres: no database"   // the server has none of that name
	CauseNoConnection  source.Cause = "postgres: no connection" // all that the server allows are taken
	CauseNotReady      source.Cause = "postgres: not ready"     // it starts, or stops
	CauseParameter     source.Cause = "postgres: parameter"     // a setting of the role, the database or the server does not fit this connection
	CauseNoRight       source.Cause = "postgres: no right"      // the role may not connect
)

// Causes of what else goes wrong with a server.
const (
	CausePooler      source.Cause = "postgres: pooler"       // a connection pooler answers for it
	CauseNotMastodon source.Cause = "postgres: not Mastodon" // the database lacks Mastodon's tables
	CauseFileDenied  source.Cause = "postgres: file denied"  // Mastodon's user may not read a file that the settings name
)

// Causes why a program can't be run.
const (
	CauseNoTools      source.Cause = "postgres: no tools"       // it is not installed for the server's version, the fact
	CauseNoToolsThere source.Cause = "postgres: no tools there" // likewise, in the directory that the options name
	CauseToolsOutside source.Cause = "postgres: tools outside"  // the options name a directory of this host, whose programs don't reach the container
	CauseStrangeTools source.Cause = "postgres: strange tools"  // others may change it
)

// Causes why a dump fails.
const (
	CauseLocked       source.Cause = "postgres: locked"        // somebody held a lock for too long
	CauseHalted       source.Cause = "postgres: halted"        // a program did nothing for too long
	CauseStopped      source.Cause = "postgres: stopped"       // the server was stopped or restarted
	CauseSnapshotLost source.Cause = "postgres: snapshot lost" // the server does not know the exported snapshot
	CauseConflict     source.Cause = "postgres: conflict"      // a replica dropped rows that the dump needed
	CauseUnreadable   source.Cause = "postgres: unreadable"    // the role may not read everything; the fact: the role, as SQL names it
	CauseRowsHidden   source.Cause = "postgres: rows hidden"   // the role may not see every row; the fact: likewise
	CauseDamaged      source.Cause = "postgres: damaged"       // the database is; the fact: its name
)

// A ConnectError says that a database can't be connected to. What it wraps has a cause where one is known.
type ConnectError struct {
	Elsewhere bool // permafrost's own configuration says where the database is
	Pooler    bool // a connection pooler may have answered
	Err       error
}

func (e *ConnectError) Error() string { return e.Err.Error() }
func (e *ConnectError) Unwrap() error { return e.Err }
