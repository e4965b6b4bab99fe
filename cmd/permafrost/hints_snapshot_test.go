package main

import (
	"permafrost/snapshot"
	"permafrost/snapshot/backup"
	"permafrost/snapshot/restore"
)

// snapshotExamples has an error of each kind that snapshot and the packages below it export.
func snapshotExamples() map[string]error {
	return map[string]error{
		"snapshot.CauseElsewhere":      hosted(snapshot.CauseElsewhere, "the snapshot has no redis: it failed: connection refused", "1f40ab12", "2026-06-26"),
		"snapshot.CauseNowhere":        hosted(snapshot.CauseNowhere, "the snapshot has no redis: it was skipped by a setting", "social.example"),
		"snapshot.CauseNoSidekiq":      hosted(snapshot.CauseNoSidekiq, "the snapshot has no Redis of Sidekiq's own"),
		"snapshot.CauseSeveralSecrets": hosted(snapshot.CauseSeveralSecrets, `the snapshot has 2 secrets named "site.conf"`),

		"backup.CauseNothingLeft": hosted(backup.CauseNothingLeft, "nothing is left to store: a snapshot needs the database, or media that are not in object storage"),
		"backup.CauseEmptyMedia":  hosted(backup.CauseEmptyMedia, "/home/mastodon/live/public/system holds no file, and on 2026-06-26 it had 120000"),

		"restore.CauseTargetShared": hosted(restore.CauseTargetShared, "opening the target directory: /srv/restore: users other than its owner may write /srv"),
		"restore.CauseTargetUnmade": hosted(restore.CauseTargetUnmade, "opening the target directory: mkdir /proc/restore: permission denied"),
		"restore.CauseTargetBusy":   hosted(restore.CauseTargetBusy, "another process restores into /root/restore"),
		"restore.CauseTargetFull":   hosted(restore.CauseTargetFull, "/root/restore is not empty"),
		"restore.CauseTargetState":  hosted(restore.CauseTargetState, ".permafrost-restore in /root/restore can't be read: it is not of this version of permafrost"),
		"restore.CauseTargetOther": hosted(restore.CauseTargetOther, "/root/restore holds an unfinished restore of snapshot 1f40ab12 of 2026-06-26, and this is snapshot 99000000",
			"1f40ab12"),
		"restore.CauseMediaShared": hosted(restore.CauseMediaShared, "/root/restore holds public-system already: users other than its owner may write it"),
		"restore.CauseMediaThere":  hosted(restore.CauseMediaThere, "/root/restore holds public-system already: it is not a directory"),
		"restore.CauseNoRoom":      hosted(restore.CauseNoRoom, "/root/restore has 120.0 MiB free, and the snapshot needs 4096.0 MiB"),
		"restore.CauseNoDelete":    hosted(restore.CauseNoDelete, "120 files could not be read for the snapshot, which does not name them all: they might be deleted"),
		"restore.CauseNoSpace":     hosted(restore.CauseNoSpace, "restoring 2026-06-27 of social.example: media: no space left on device: /root/restore has 0.0 MiB free"),
		"restore.CauseInterrupted": hosted(restore.CauseInterrupted, "restoring 2026-06-27 of social.example: media: input/output error"),
		"restore.CauseElsewhere": hosted(restore.CauseElsewhere, "this snapshot has no redis, or not all of it: it failed: connection refused",
			"1f40ab12", "2026-06-26", "redis"),
	}
}
