package backup

import "permafrost/source"

// Causes why an instance is not stored.
const (
	CauseNothingLeft source.Cause = "backup: nothing left" // what is to be skipped leaves neither the database nor media
	CauseEmptyMedia  source.Cause = "backup: empty media"  // the media directory has no file, and had some before
)
