package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/snapshot"
	"permafrost/snapshot/restore"
	"permafrost/source/media"
)

// restoreFlags say what is restored, and where.
type restoreFlags struct {
	pick selection
	date value.Date
	spec string // names the snapshot
	head value.Head
	dry  bool
	o    restore.Options
}

func restoreCommand(a *app) *cobra.Command {
	var flags restoreFlags
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "write a snapshot's files into a directory",
		Long: `Restore writes a snapshot into a directory: env.production, secrets/, the database
as a dump, redis-dump.rdb and public-system/, with SHA256SUMS. Every byte is verified
as it is written. RESTORE.md has the steps from there to the running instance;
restore.sh runs them.

Run the same command again to go on after an interruption. Files that are whole stay,
and a dump goes on where it stopped. A finished restore is compared
again: dumps by their SHA-256, media by size and time (or content: --overwrite always).

A directory with other content is refused without --overwrite, --delete or --force. With
one of these, files that the snapshot does not have stay, and files that differ are
replaced. Media of the same size and time count as the same. --delete removes media that
the snapshot does not have. It keeps what the snapshot left out, and what this restore
leaves out. --dry-run lists what would be written, kept and deleted.

The target may refuse a file because of its name or kind. Such a file is named and left
out: exit code 3. --include and --exclude choose media: see permafrost help patterns.

As root, it writes with root's rights only if root alone decides which directory the
target is. If one other user decides that, everything is written with that user's rights
and belongs to that user. RESTORE.md then holds no commands. The same is true for an
existing public-system/ of another user.

A stolen host could have stored dangerous media. These are left out and counted: setuid
and setgid bits, devices, links out of the tree, and attributes of root.
Files of root become the media owner's. Use --trust-media if you know that all of them are yours.

It needs the owner key: the recovery file, or an identity that was added with
permafrost key add owner.`,
		Example: `  permafrost restore -i permafrost-recovery.key --date 2026-06-27 --target /srv/restore
  permafrost restore -i permafrost-recovery.key --snapshot latest --component postgres --target /srv/restore
  permafrost restore -i permafrost-recovery.key --snapshot latest --component media --include 'accounts/**' --target /srv/restore
  permafrost restore -i permafrost-recovery.key --snapshot latest --target /srv/restore --delete --dry-run`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			return restoreSnapshot(cmd.Context(), a, &flags)
		},
	}
	flags.flags(cmd)
	return cmd
}

func (r *restoreFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&r.date, "date", "restore the newest snapshot of this date, preferably one with all components")
	f.StringVar(&r.spec, "snapshot", "", "restore the `snapshot` of this name")
	f.StringVar(&r.o.Target, "target", "", "`directory` to write into")
	f.StringArrayVar(&r.o.Components, "component", nil, "restore only this `component`: secrets, postgres, redis or media; repeatable")
	f.Var((*value.Overwrite)(&r.o.Overwrite), "overwrite", "replace existing files that differ: always, if-changed or never")
	f.BoolVar(&r.o.Delete, "delete", false, "remove media that the snapshot does not have")
	f.BoolVar(&r.dry, "dry-run", false, "list what would be written, kept and deleted, and write nothing")
	f.StringArrayVar(&r.o.Include, "include", nil, "restore only media that this `pattern` matches (help patterns); repeatable")
	f.StringArrayVar(&r.o.Exclude, "exclude", nil, "`pattern` of media to leave out (help patterns); repeatable")
	f.BoolVar(&r.o.Force, "force", false, "write into a directory that is not empty, or that seems to have too little space")
	f.BoolVar(&r.o.NumericIDs, "numeric-ids", false, "give media their owners by number, not by name")
	f.BoolVar(&r.o.TrustMedia, "trust-media", false, "restore media with setuid bits, devices, capabilities, root's files and links that lead out")
	f.Var(&r.head, "head", "a log `head` that check printed earlier: fail if the log does not contain it")
	r.pick.flags(cmd)
}

// check finds what can't be meant.
func (r *restoreFlags) check() error {
	switch {
	case r.date != "" && r.spec != "":
		return usage.Errorf("--date and --snapshot exclude each other")
	case r.date != "":
		r.spec = string(r.date)
	case r.spec == "":
		return hint.Wrap(usage.Errorf("restore needs to know which snapshot"), "say --date 2026-06-27 or --snapshot latest")
	}
	if r.o.Target == "" {
		return hint.Wrap(usage.Errorf("restore needs to know where to write"), "say --target DIR: an empty directory, or one to be made")
	}
	if err := snapshot.CheckComponents(r.o.Components); err != nil {
		return usage.Errorf("--component: %w", err)
	}
	if err := restore.CheckPatterns(r.o.Include, r.o.Exclude); err != nil {
		return usage.Errorf("%w", err)
	}
	return nil
}

// restoreSnapshot restores a snapshot, or tells what that would do.
func restoreSnapshot(ctx context.Context, a *app, flags *restoreFlags) error {
	r, err := a.openAt(ctx, keeper.ContentKey, flags.head.Head)
	if err != nil {
		return err
	}
	defer r.Close()
	o := keeper.RestoreOptions{Choice: flags.pick.choice(flags.spec), Options: flags.o, DryRun: flags.dry}
	o.Texts = restore.Texts(ownPath())
	n := report.New(a.ui)
	defer n.Close()
	res, err := keeper.Restore(ctx, r.Repo, o, n)
	n.Close()
	switch {
	case res == nil:
		if n.Begun() && ctx.Err() != nil {
			a.ui.Say("run the same command again: it goes on where it stopped")
		}
	case flags.dry:
		tellDryRun(a.ui, res)
	default:
		a.ui.Done("everything that the snapshot has is restored into %s", escape.Name(o.Target))
		tellRestore(a.ui, res)
	}
	return err
}

// tellDryRun tells what a restore would do in all.
func tellDryRun(ui *console.Console, r *keeper.Restored) {
	ui.JSON(r)
	ui.Say("would write %v, %s of media among it; keep %v; delete %s. Nothing was changed",
		units.Bytes(r.Bytes), units.Plural(r.Files, "file", "files"), units.Bytes(r.KeptBytes), units.Plural(r.Deleted, "file", "files"))
}

// tellRestore tells what was restored and how to go on.
func tellRestore(ui *console.Console, r *keeper.Restored) {
	ui.JSON(r)
	ui.Report("restored %v into %s, %s of media among it, in %s", units.Bytes(r.Bytes), escape.Name(r.Target),
		units.Plural(r.Files, "file", "files"), units.Seconds(r.Seconds))
	if r.KeptBytes > 0 || r.KeptFiles > 0 {
		ui.Report("%v were there already, %s of media among it", units.Bytes(r.KeptBytes), units.Plural(r.KeptFiles, "file", "files"))
	}
	if r.Deleted > 0 {
		ui.Report("removed %s of media that the snapshot does not have", units.Plural(r.Deleted, "file", "files"))
	}
	tellOwners(ui, r.Owners)
	if r.Owner != "" {
		ui.Warn("run nothing from %s as root: %s can change it. To set up Mastodon again, restore into a directory that only root can write, such as /root/restore",
			escape.Name(r.Target), escape.Name(r.Owner))
		return
	}
	ui.Say("how to go on: read %s", escape.Name(filepath.Join(r.Target, restore.GuideName)))
}

// ownPath returns the path of this program, "" where it is not known.
func ownPath() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	return path
}

// tellOwners tells who should have media and has not.
func tellOwners(ui *console.Console, owners []media.Owner) {
	const most = 5
	for i, o := range owners {
		if i == most {
			ui.Warn("%d more owners were not restored", len(owners)-most)
			break
		}
		ui.Warn("%s of media should belong to %s:%s", units.Plural(o.Files, "file", "files"), ownerName(o.User, o.UID), ownerName(o.Group, o.GID))
	}
}

// ownerName is a user's or a group's name, or the number where there is none.
func ownerName(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return escape.Name(name)
}
