package hints

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

const liarHint = "don't rely on this storage: look at the server's log and its free space; OpenSSH's server is known to work"

// repositoryRules are the hints for what can go wrong with a repository, and with the verbs on it.
func repositoryRules() []rule {
	return []rule{
		is(repo.ErrNoRepository, "check the repository's address; `permafrost init` makes a new one"),
		is(repo.ErrRepositoryExists, "choose another place, or use that repository with its own keys"),
		is(store.ErrNewerFormat, "update permafrost on this machine"),
		as(func(*store.FalseReportError) string { return liarHint }),
		as(rollbackHint),
		as(stateFileHint),

		because(cause.HiddenEntries, liarHint),
		because(cause.JunkInLog, "look who may write to the storage: somebody fills the log with junk"),
		because(cause.TakenNumbers, "look who may write to the storage: either somebody fills the log with junk, or the server's answers are wrong"),
		because(cause.NoRoom, "free some MiB on the storage by other means, then run `permafrost prune`: deleting needs space for a log entry"),

		because(cause.EmptyLog, "delete the repository's config file and run `permafrost init` again, if it was interrupted"),
		because(cause.LostRoster, "remove whoever should not be in `permafrost key list` (`permafrost key remove`), then `permafrost key rotate`; use the owner key"),
		because(cause.LostEpoch, "run `permafrost key rotate` with the newest recovery file"),
		as(logDamagedHint),
		because(cause.FalseListing, "check with the owner key to learn which: -i RECOVERY-FILE"),
		because(cause.HeadUnread, "use --accept-head if you trust the storage: it writes this file again, which reveals a storage that was rolled back"),

		because(cause.FingerprintUnread, fingerprintOnce),
		as(fingerprintHint),
		as(keyFileHint),
		as(unrepairedHint),
		as(lostHint),
		is(keeper.ErrKeyText, "give the name of a file, and replace this key: other processes could read it"),
		as(func(*keeper.NoWriterError) string { return noWriterHint }),
		as(func(*keys.MissingKeyError) string { return "give the recovery file: -i RECOVERY-FILE" }),

		because(cause.LogUnsound, "run `permafrost check`"),
		because(cause.IndexDamaged, "run `permafrost check`, then `permafrost repair index` with the owner key"),
		because(cause.IndexMissing, "rebuild the index with the owner key: `permafrost repair index`"),
		because(cause.ManifestMissing, "forget that snapshot, which is lost without its manifest: `permafrost check` names it"),
		because(cause.CopyUnread, "run `permafrost check --read-data`"),
		because(cause.SnapshotLacks, "run `permafrost check`, then `permafrost repair` with the owner key; --accept-lost then goes on without what is lost"),
		because(cause.SnapshotUntold, "run `permafrost repair`, or forget the snapshot: it is not known what it needs, or that is not lost"),
		because(cause.Outrun, "run it at a quieter time"),

		because(cause.NameTaken, "choose another --name, or `permafrost key remove` it first"),
		because(cause.NameAbsent, "`permafrost key list` shows the names"),
		because(cause.Rotated, "run it again if that was not you"),
		because(cause.Unannounced, "run `permafrost key rotate --accept-head` if a rotation was interrupted; otherwise distrust the storage: an older log lists removed writers"),

		withheld(ledger.RightAny, "make a new key with `permafrost key add writer`: this one may have been removed"),
		withheld(ledger.RightInstance, "make a key for a further instance with `permafrost key add writer`"),
		withheld(ledger.RightForget, "forget with the owner key: -i RECOVERY-FILE"),
		as(confirmHint),
		withheld(ledger.RightPrune, "prune with the owner key: -i RECOVERY-FILE"),

		as(initHint),
		as(suspectHint),
		as(func(e *keeper.IncompleteError) string {
			return "the warning above says why; `permafrost show " + e.Snapshot.Short() + "` says it again"
		}),
		as(func(*keeper.RefusedError) string {
			return "choose a --target on another file system, and restore these again there"
		}),
		is(keeper.ErrNotSuspect, "`permafrost snapshots` marks those that do"),
		as(func(*keeper.IDError) string { return "give an ID: `permafrost snapshots` lists them" }),
	}
}

const (
	fingerprintOnce = "give it once with --fingerprint; the recovery file and the writer file show it"
	noWriterHint    = "say -i RECOVERY-FILE or --writer-key FILE. `permafrost key add writer --name NAME --key-file FILE -i RECOVERY-FILE` replaces a lost writer file. " +
		"`permafrost init` makes a new repository with keys of its own"
)

func fingerprintHint(e *repo.FingerprintError) string {
	switch {
	case e.Want == "":
		return fingerprintOnce
	case e.File != "":
		return "this is another repository, or its storage has other keys than before; or " + e.File + " is damaged: --fingerprint writes it again"
	}
	return "this is another repository, or its storage has other keys than before"
}

func unrepairedHint(e *keeper.UnrepairedError) string {
	switch {
	case e.Damaged > 0:
		return "`permafrost repair packs` saves what is whole in them; until then nothing uses them"
	case e.Lacking:
		return "`permafrost repair packs`, and a new snapshot, may bring some of it back; repair the index again after that"
	}
	return ""
}

func lostHint(e *keeper.LostError) string {
	return only(e.Snapshots > 0, "make a snapshot: it stores lost content again if the host still has it. Then `permafrost repair index` lists what came back; "+
		"`permafrost prune --accept-lost` goes on without the rest")
}

func keyFileHint(e *keeper.KeyFileError) string {
	if foreign := (*repo.ForeignKeyError)(nil); errors.As(e.Err, &foreign) {
		return "give this repository's own key file with -i or --writer-key, or the other repository's address with -r"
	}
	return "give a key that `permafrost key list` names, or the recovery file"
}

func rollbackHint(e *ledger.RollbackError) string {
	if e.Since {
		return "look at the storage first: it shows a different log each time"
	}
	return "look at the storage first; --accept-head goes on with what is there, if its loss is known and accepted"
}

func stateFileHint(e *repo.StateFileError) string {
	if errors.Is(e.Err, fs.ErrPermission) || errors.Is(e.Err, syscall.EROFS) {
		return "run it as the owner of that directory, or name another directory with --state-dir"
	}
	return "move " + e.Path + " away and run it again: " + e.Loses
}

// logDamagedHint leaves the word to what is damaged, where that has a hint of its own.
func logDamagedHint(e *cause.Error) string {
	var inner *cause.Error
	if e.Cause != cause.LogDamaged || errors.As(e.Err, &inner) {
		return ""
	}
	return "look at the storage first; `permafrost repair index -i RECOVERY-FILE --accept-head` accepts the loss and goes on"
}

func confirmHint(e *ledger.NotAllowedError) string {
	switch {
	case e.Right != ledger.RightConfirm:
		return ""
	case len(e.Who) == 0:
		return "this needs the owner key (-i RECOVERY-FILE)"
	}
	return "this needs the owner key (-i RECOVERY-FILE), or the key of " + strings.Join(e.Who, " or ")
}

// initHint leaves the word to what went wrong, where that has a hint of its own.
func initHint(e *keeper.InitError) string {
	switch {
	case For(e.Err) != "":
		return ""
	case e.Made:
		return "the repository may have been made in part; its keys are in " + strings.Join(e.Files, " and ")
	case errors.Is(e.Err, fs.ErrNotExist), errors.Is(e.Err, fs.ErrPermission):
		return "choose a directory that this user may make and write to"
	}
	return ""
}

func suspectHint(e *keeper.SuspectError) string {
	return fmt.Sprintf("`permafrost confirm %[1]s` if the instance really is like that; if not, find out why, and `permafrost forget %[1]s`", e.Snapshot.Short())
}
