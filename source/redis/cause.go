package redis

import "permafrost/source"

// Causes why a Redis can't be connected to.
const (
	CauseNoServer      source.Cause = "redis: no server"      // nothing listens where the settings say
	CauseNoServerHere  source.Cause = "redis: no server here" // nothing listens where permafrost's own configuration says
	CauseSocketDenied  source.Cause = "redis: socket denied"  // the user may not use the socket
	CauseWrongUser     source.Cause = "redis: wrong user"     // user or password are wrong
	CauseWrongPassword source.Cause = "redis: wrong password" // the password is
	CauseNoPassword    source.Cause = "redis: no password"    // the server wants one
	CauseNoDatabase    source.Cause = "redis: no database"    // the server has fewer than the number says
	CauseAuthority     source.Cause = "redis: authority"      // the certificate is signed by an authority that is not known
	CauseNoTLS         source.Cause = "redis: no TLS"         // the server does not answer to TLS
	CauseHungUp        source.Cause = "redis: hung up"        // the server closes a connection without TLS
)

// Causes why the data can't be had.
const (
	CauseNoMaster   source.Cause = "redis: no master"   // it is a replica that has lost its master
	CauseNotAllowed source.Cause = "redis: not allowed" // the user lacks rights; the fact: what gives them, for redis-cli
	CauseRenamed    source.Cause = "redis: renamed"     // the server has renamed the commands
	CauseSpoolFull  source.Cause = "redis: spool full"  // more data wait for the storage than may
	CauseSpoolDisk  source.Cause = "redis: spool disk"  // the data that wait can't be written down
)

// Causes why a dump is not loaded into a server.
const (
	CauseNewerDump source.Cause = "redis: newer dump" // the server can't read it
	CauseReplaced  source.Cause = "redis: replaced"   // the server would lose what the dump lacks
)
