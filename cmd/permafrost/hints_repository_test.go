package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/inspection"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot/backup"
)

// repositoryExamples has an error of each kind that chunk, repo, snapshot and keeper export; nil for one that is never told as it is.
func repositoryExamples() map[string]error {
	object := "packs/1f/1f40…"
	damage := &store.DamageError{Object: object, Err: errors.New("is missing")}
	ref := ledger.SnapshotRef{SnapshotInfo: ledger.SnapshotInfo{Date: "2026-06-27"}}
	told := func(c cause.Cause, text string) error { return &cause.Error{Cause: c, Err: errors.New(text)} }
	damaged := func(c cause.Cause, object, text string) error {
		return &cause.Error{Cause: c, Err: &store.DamageError{Object: object, Err: errors.New(text)}}
	}
	denied := func(r ledger.Right, why string, who ...string) error {
		return &ledger.NotAllowedError{Right: r, Why: why, Who: who}
	}
	return map[string]error{
		"repo.ErrNoRepository":     repo.ErrNoRepository,
		"repo.ErrRepositoryExists": repo.ErrRepositoryExists,
		"store.ErrNewerFormat":     store.ErrNewerFormat,
		"repo.ErrPruned":           repo.ErrPruned,
		"ledger.ErrNotAllowed":     ledger.ErrNotAllowed,
		"store.ErrNoSpace":         store.ErrNoSpace,
		"store.DamageError":        damage,
		"ledger.SnapshotError":     &ledger.SnapshotError{Ref: ref, Err: damage},
		"repo.ForeignKeyError":     &repo.ForeignKeyError{Key: store.Name{1}, Repository: store.Name{2}},
		"keys.MissingKeyError":     &keys.MissingKeyError{Need: "the owner key: the recovery file", For: "reading content"},
		"keys.NoKeyError":          &keys.NoKeyError{Err: fmt.Errorf("key file writer.key: %w", fs.ErrNotExist)},
		"lease.LockedError":        &lease.LockedError{By: "a snapshot of social.example by web1"},
		"ledger.RollbackError":     &ledger.RollbackError{Remembered: ledger.Head{Seq: 9}, Found: ledger.Head{Seq: 7}},
		"store.FalseReportError":   &store.FalseReportError{Object: object, Found: "there is no such object"},
		"machine.FileError":        &repo.StateFileError{Path: "/var/lib/permafrost/1f40/journal", Loses: "it holds nothing", Err: errors.New("locking: is a directory")},
		"cause.Error":              nil,
		"ledger.NotAllowedError":   nil,

		"cause.HiddenEntries":      told(cause.HiddenEntries, "listing the log: the storage leaves out more than 64 entries that are there"),
		"cause.JunkInLog":          told(cause.JunkInLog, "reading the log: behind entry 7 the storage has 64 objects and more that are no entries"),
		"cause.TakenNumbers":       told(cause.TakenNumbers, "publishing log entry 7: 8 times the storage said that the number is taken, and showed no entry there"),
		"cause.NoRoom":             told(cause.NoRoom, "no space left on the storage"),
		"cause.EmptyLog":           damaged(cause.EmptyLog, "log/", "the log is empty"),
		"cause.LostRoster":         damaged(cause.LostRoster, "log/0000000009", "the list of keys that it set is lost; the list of entry 7 is in use"),
		"cause.LostEpoch":          damaged(cause.LostEpoch, "log/0000000009", "the keys that it announced are lost, and others may still have the older ones"),
		"cause.LogDamaged":         &cause.Error{Cause: cause.LogDamaged, Err: fmt.Errorf("refusing to add to a damaged log: %w", damage)},
		"cause.FalseListing":       damaged(cause.FalseListing, "index/1f40…", `it lists pack 1f40 for "a.example", and index/2b7c lists it for "b.example": one of them is false`),
		"cause.HeadUnread":         told(cause.HeadUnread, "the newest log entry that this machine has seen can't be read: malformed"),
		"cause.Outrun":             &cause.Error{Cause: cause.Outrun, Err: &lease.LockedError{By: "others kept adding to the log"}},
		"cause.LogUnsound":         &cause.Error{Cause: cause.LogUnsound, Err: fmt.Errorf("refusing to prune with a damaged log: %w", damage)},
		"cause.IndexDamaged":       &cause.Error{Cause: cause.IndexDamaged, Err: fmt.Errorf("prune needs the whole index: %w", damage)},
		"cause.IndexMissing":       &cause.Error{Cause: cause.IndexMissing, Err: fmt.Errorf("refusing to prune: %w", damage)},
		"cause.ManifestMissing":    &cause.Error{Cause: cause.ManifestMissing, Err: fmt.Errorf("refusing to prune: %w", damage)},
		"cause.CopyUnread":         &cause.Error{Cause: cause.CopyUnread, Err: fmt.Errorf("refusing to prune: a copy that is to stay can't be read: %w", damage)},
		"cause.SnapshotLacks":      &cause.Error{Cause: cause.SnapshotLacks, Err: fmt.Errorf("refusing to prune: %w", &ledger.SnapshotError{Ref: ref, Err: damage})},
		"cause.SnapshotUntold":     &cause.Error{Cause: cause.SnapshotUntold, Err: fmt.Errorf("refusing to prune: %w", &ledger.SnapshotError{Ref: ref, Err: damage})},
		"cause.NameTaken":          told(cause.NameTaken, `the list of keys has a "web1" already`),
		"cause.NameAbsent":         told(cause.NameAbsent, `the list of keys has no "web1"`),
		"cause.Unannounced":        told(cause.Unannounced, "the key file has keys of epoch 3, which the log does not announce"),
		"cause.Rotated":            told(cause.Rotated, "another owner rotated the keys meanwhile"),
		"cause.KeyFileAbsent":      &cause.Error{Cause: cause.KeyFileAbsent, Err: errors.New("key file writer.key: no such file or directory")},
		"cause.KeyFileDirectory":   &cause.Error{Cause: cause.KeyFileDirectory, Err: errors.New("key file /etc/permafrost: is a directory")},
		"cause.KeyFileEmpty":       &cause.Error{Cause: cause.KeyFileEmpty, Err: errors.New("key file writer.key: is empty")},
		"cause.KeyFileEncrypted":   &cause.Error{Cause: cause.KeyFileEncrypted, Err: errors.New("key file writer.age: encrypted with age, but not with a passphrase"), Facts: []string{"writer.age"}},
		"cause.KeyFilePassphrase":  &cause.Error{Cause: cause.KeyFilePassphrase, Err: errors.New("replacing key file writer.age: it is encrypted with a passphrase"), Facts: []string{"writer.age"}},
		"cause.KeyFileNoKey":       &cause.Error{Cause: cause.KeyFileNoKey, Err: errors.New("key file notes.txt: line 1 is no key")},
		"cause.KeyFilePublic":      &cause.Error{Cause: cause.KeyFilePublic, Err: errors.New("key file id_ed25519.pub: line 1 is a public key")},
		"cause.KeyFileCut":         &cause.Error{Cause: cause.KeyFileCut, Err: errors.New("key file writer.key: line 9: malformed key")},
		"cause.KeyFileOldSSH":      &cause.Error{Cause: cause.KeyFileOldSSH, Err: errors.New("key file id_rsa: an encrypted SSH key in an old format, and its public key: no such file or directory"), Facts: []string{"id_rsa"}},
		"cause.KeyFileNote":        &cause.Error{Cause: cause.KeyFileNote, Err: errors.New("key file: line 3: neither a comment nor a key")},
		"cause.KeyFileDamaged":     &cause.Error{Cause: cause.KeyFileDamaged, Err: errors.New("key file: damaged: the checksum does not match")},
		"cause.KeyFileEdited":      &cause.Error{Cause: cause.KeyFileEdited, Err: errors.New("key file: an AGE-SECRET-KEY line is not part of the keyring")},
		"cause.KeyFileExists":      &cause.Error{Cause: cause.KeyFileExists, Err: errors.New("writing the key file recovery.key: file exists")},
		"cause.KeyFileShared":      &cause.Error{Cause: cause.KeyFileShared, Err: errors.New("writing the key file /srv/recovery.key: /srv can be written by others")},
		"cause.TooManyEpochs":      &cause.Error{Cause: cause.TooManyEpochs, Err: errors.New("a repository has at most 24 epochs of keys")},
		"cause.RecipientLines":     &cause.Error{Cause: cause.RecipientLines, Err: errors.New("more than one line was given as a recipient")},
		"cause.RecipientCut":       &cause.Error{Cause: cause.RecipientCut, Err: errors.New("malformed age recipient")},
		"cause.RecipientPrivate":   &cause.Error{Cause: cause.RecipientPrivate, Err: errors.New("a private key was given as a recipient")},
		"cause.RecipientSSH":       &cause.Error{Cause: cause.RecipientSSH, Err: errors.New("age can't encrypt to SSH keys of this type")},
		"cause.RecipientFile":      &cause.Error{Cause: cause.RecipientFile, Err: errors.New("a file's name was given as a recipient")},
		"cause.RecipientUnknown":   &cause.Error{Cause: cause.RecipientUnknown, Err: errors.New("not a recipient")},
		"cause.PluginAbsent":       &cause.Error{Cause: cause.PluginAbsent, Err: errors.New("wrapping a keyring: plugin not found"), Facts: []string{"yubikey"}},
		"cause.NoPacks":            &cause.Error{Cause: cause.NoPacks, Err: errors.New("there is not a single pack on the storage")},
		"cause.IndexNeeded":        &cause.Error{Cause: cause.IndexNeeded, Err: errors.New("this needs the whole index: index/1f40… is damaged: is missing")},
		"cause.IndexNewer":         &cause.Error{Cause: cause.IndexNewer, Err: errors.New("index/1f40…: newer format")},
		"cause.NoSnapshots":        &cause.Error{Cause: cause.NoSnapshots, Err: errors.New("there are no snapshots yet")},
		"cause.SeveralInstances":   &cause.Error{Cause: cause.SeveralInstances, Err: errors.New("the repository holds snapshots of several instances: a.example, b.example")},
		"cause.NoSnapshotName":     &cause.Error{Cause: cause.NoSnapshotName, Err: errors.New(`"yesterday" names no snapshot`)},
		"cause.NoSnapshotID":       &cause.Error{Cause: cause.NoSnapshotID, Err: errors.New("no snapshot's ID begins with dddd")},
		"cause.PolicyKeepsNothing": &cause.Error{Cause: cause.PolicyKeepsNothing, Err: errors.New("the policy keeps nothing")},
		"cause.PolicyRemovesAll":   &cause.Error{Cause: cause.PolicyRemovesAll, Err: errors.New("the policy would remove every snapshot of b.example")},
		"inspection.PartError":     &inspection.PartError{Part: "media/accounts/a.png", Err: damage},

		"ledger.RightAny":      denied(ledger.RightAny, "the list of keys does not have it"),
		"ledger.RightInstance": denied(ledger.RightInstance, "it is for a.example, and this is b.example"),
		"ledger.RightForget":   denied(ledger.RightForget, "its writer may not forget"),
		"ledger.RightPrune":    denied(ledger.RightPrune, "the list of keys does not let this writer prune"),
		"ledger.RightConfirm":  denied(ledger.RightConfirm, "its writer may not confirm", "web1"),

		"keeper.SuspectError":     &keeper.SuspectError{Snapshot: store.Name{0x99}, Text: "it has 1 media file (not counting the cache), where snapshot 1f40ab12 has 12,000"},
		"keeper.InitError":        &keeper.InitError{Made: true, Files: []string{"recovery.key", "writer.key"}, Err: errors.New("publishing log entry 0: connection lost")},
		"cause.FingerprintUnread": told(cause.FingerprintUnread, "the remembered fingerprint, /var/lib/permafrost/1f40/fingerprint, can't be read: malformed"),
		"repo.FingerprintError":   &repo.FingerprintError{Want: "aaaa-bbbb", Got: "cccc-dddd", File: "/var/lib/permafrost/1f40/fingerprint"},
		"keeper.KeyFileError":     &keeper.KeyFileError{Files: "writer.key", Err: &repo.ForeignKeyError{Key: store.Name{1}, Repository: store.Name{2}}},
		"keeper.NoWriterError":    &keeper.NoWriterError{Path: "/etc/permafrost/writer.key"},
		"keeper.ErrKeyText":       usage.Wrap(keeper.ErrKeyText),
		"keeper.UnrepairedError":  &keeper.UnrepairedError{Damaged: 2, Lacking: true, Unusable: 3},
		"keeper.LostError":        &keeper.LostError{Snapshots: 1, Parts: 2},
		"backup.PartError":        &backup.PartError{Part: "media", Err: errors.New("the exclude pattern \"x\" matches nothing")},
		"backup.FailedError":      &backup.FailedError{Component: "redis", Text: "redis failed: connection refused", Err: errors.New("connection refused")},
		"keeper.IncompleteError":  &keeper.IncompleteError{Snapshot: store.Name{0x99}, Failed: []string{"redis"}, Secrets: true},
		"keeper.LeftOutError":     &keeper.LeftOutError{Snapshot: store.Name{0x99}, Count: 2},
		"keeper.RetentionError":   &keeper.RetentionError{Snapshot: store.Name{0x99}, Err: errors.New("pruning: connection lost")},
		"keeper.AbsentError":      &keeper.AbsentError{Parts: []string{"redis"}},
		"keeper.RefusedError":     &keeper.RefusedError{Count: 2},
		"keeper.ErrNoMatch":       keeper.ErrNoMatch,
		"keeper.IDError":          &keeper.IDError{Err: errors.New("no snapshot's ID begins with latest")},
		"keeper.ErrNotSuspect":    fmt.Errorf("snapshot 99000000 %w", keeper.ErrNotSuspect),
		"keeper.ErrNotConfirmed":  fmt.Errorf("snapshot 99000000 %w", keeper.ErrNotConfirmed),
		"machine.ErrLocked":       nil,
		"blobs.ErrUnlisted":       nil,
		"blobs.ErrForeign":        nil,
		"logbook.ErrNewcomers":    nil,
		"wire.ErrTruncated":       nil,
		"syscall.EROFS":           syscall.EROFS,
	}
}

// repositoryHintless are those that have no hint by their kind, and why.
func repositoryHintless() map[string]string {
	return map[string]string{
		"repo.ErrPruned":         "the command runs once more by itself",
		"ledger.ErrNotAllowed":   "a NotAllowedError says more",
		"store.DamageError":      "it depends on the command",
		"inspection.PartError":   "it depends on the command",
		"keeper.LeftOutError":    "the warnings say what to do",
		"keeper.RetentionError":  "the error that it has says what to do",
		"backup.PartError":       "it depends on what is wrong",
		"backup.FailedError":     "it depends on what failed",
		"keeper.AbsentError":     "another snapshot may have it",
		"keeper.ErrNoMatch":      "there is nothing to do",
		"ledger.SnapshotError":   "it depends on the command",
		"repo.ForeignKeyError":   "a KeyFileError says more",
		"keys.NoKeyError":        "it is given where the file is read",
		"lease.LockedError":      "it says who is at work; --retry-lock waits",
		"cause.Error":            "its cause has one",
		"ledger.NotAllowedError": "its right has one",
		"keeper.ErrNotConfirmed": "there is nothing to do",
		"machine.ErrLocked":      "it becomes a LockedError",
		"blobs.ErrUnlisted":      "a DamageError stands around it",
		"blobs.ErrForeign":       "a DamageError stands around it",
		"logbook.ErrNewcomers":   "a prune or a repair begins anew",
		"wire.ErrTruncated":      "it never stands alone",
	}
}
