package restore

import "permafrost/source"

// Causes why nothing is restored into a directory.
const (
	CauseTargetShared source.Cause = "restore: target shared" // others decide about a directory that the target is in
	CauseTargetUnmade source.Cause = "restore: target unmade" // it can't be made or opened
	CauseTargetBusy   source.Cause = "restore: target busy"   // another process restores into it
	CauseTargetFull   source.Cause = "restore: target full"   // it is not empty
	CauseTargetState  source.Cause = "restore: target state"  // it holds a restore's file of which that can't be read
	CauseTargetOther  source.Cause = "restore: target other"  // it holds an unfinished restore of another snapshot; the fact: that one's ID
	CauseMediaShared  source.Cause = "restore: media shared"  // others may write into the media that are there
	CauseMediaThere   source.Cause = "restore: media there"   // the media that are there can't be written into
	CauseNoRoom       source.Cause = "restore: no room"       // the snapshot needs more than the file system has
	CauseNoDelete     source.Cause = "restore: no delete"     // it is not known which files the host had
)

// Causes why a restore ended that had begun, or is not all of it.
const (
	CauseNoSpace     source.Cause = "restore: no space"    // the file system is full
	CauseInterrupted source.Cause = "restore: interrupted" // something else: it goes on when it is begun again
	CauseElsewhere   source.Cause = "restore: elsewhere"   // the snapshot lacks a part; the facts: another's ID and date, and the component
)
