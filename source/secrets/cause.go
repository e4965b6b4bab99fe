package secrets

import "permafrost/source"

// Causes why the files that were asked for can't be collected.
const (
	CauseNoName    source.Cause = "secrets: no name"   // a name is empty
	CauseNoMatch   source.Cause = "secrets: no match"  // a pattern matches no file
	CauseTooMuch   source.Cause = "secrets: too much"  // the files are more than secrets ever are
	CauseUntrusted source.Cause = "secrets: untrusted" // others may put something else in a file's place
	CauseOfUser    source.Cause = "secrets: of user"   // a user who owns a part of the path may not read the file
)
