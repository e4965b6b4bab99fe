package hints

import (
	"permafrost/snapshot"
	"permafrost/snapshot/backup"
	"permafrost/snapshot/restore"
	"permafrost/source"
)

// snapshotRules are the hints for what can go wrong in making, reading and restoring a snapshot.
func snapshotRules() []rule {
	return []rule{
		hosts(snapshot.CauseElsewhere, "take it from snapshot {1} of {2}: --snapshot {1}"),
		hosts(snapshot.CauseNowhere, "leave it out: no other snapshot of {1} has it either"),
		hosts(snapshot.CauseNoSidekiq, "take `redis`, which has Sidekiq's queues too"),
		hosts(snapshot.CauseSeveralSecrets, "give the whole path"),

		hosts(backup.CauseNothingLeft, "take postgres or media off the list of components to skip (--skip)"),
		hosts(backup.CauseEmptyMedia, "check that the media's file system is mounted. If the directory is really empty, use --allow-empty-media"),

		hosts(restore.CauseTargetShared, "choose a --target below a directory that only root can write, such as /root/restore"),
		hosts(restore.CauseTargetUnmade, "name a directory that can be made or is empty: --target"),
		hosts(restore.CauseTargetBusy, "wait until that has ended, or name another --target"),
		hosts(restore.CauseTargetFull, "name a directory that does not exist yet. Or use --overwrite if-changed, which leaves its other files as they are"),
		hosts(restore.CauseTargetState, "remove that file if you know what is in the directory, or name another --target"),
		hosts(restore.CauseTargetOther, "finish that restore with --snapshot {1}, or name another --target"),
		hosts(restore.CauseMediaShared, "chown it to the media's owner, and let nobody else write into it; or leave the media out with --component"),
		hosts(restore.CauseMediaThere, "move it away, or leave the media out with --component"),
		hosts(restore.CauseNoRoom, "choose another --target, or single parts with --component; --force tries it anyway"),
		hosts(restore.CauseNoDelete, "restore without --delete"),

		hosts(restore.CauseNoSpace, "free space and run the same command again: it goes on where it stopped. Or choose another --target"),
		as(interruptedHint),
		hosts(restore.CauseElsewhere, "restore it from snapshot {1} of {2} too: --snapshot {1} --component {3}, and another --target"),
	}
}

// interruptedHint leaves the word to what went wrong, where that has a hint of its own.
func interruptedHint(e *source.CauseError) string {
	if e.Cause != restore.CauseInterrupted || For(e.Err) != "" {
		return ""
	}
	return "correct that, and run the same command again: it goes on where it stopped"
}
