package media

import "permafrost/source"

// Causes why the media can't be read, or are not restored as they were.
const (
	CauseNoMedia      source.Cause = "media: no media"      // there is no such directory
	CauseNotDirectory source.Cause = "media: not directory" // it is a file, or lies below one
	CauseOfUser       source.Cause = "media: of user"       // Mastodon's user may not read them
	CauseDenied       source.Cause = "media: denied"        // the user of this process may not read them
	CauseNoProc       source.Cause = "media: no /proc"      // it is not mounted
	CauseUntrusted    source.Cause = "media: untrusted"     // what could give root's rights away is left out
)
