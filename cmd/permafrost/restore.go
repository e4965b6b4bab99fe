package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"permafrost/internal/hint"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
)

func (a *app) restoreCommand() *cobra.Command {
	var (
		pick selection
		on   date
		spec string
		head headFlag
		o    snapshot.RestoreOptions
	)
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "write a snapshot's files into a directory",
		Long: `Restore writes a snapshot into a directory: env.production, secrets/, the database
as a dump, redis-dump.rdb and public-system/, with SHA256SUMS and RESTORE.md, which
holds the exact next commands for that instance. Every byte is verified as it is
written.

Run as root, it writes with root's rights only where root alone decides which
directory the target is. Where one other user does, everything is written with that
user's rights and belongs to that user; RESTORE.md then holds no commands.

Whoever could once write snapshots chose what media are like. So they come without
what a media tree has no use for, and what was left out is counted: setuid and
setgid bits of files, devices, extended attributes that root alone can set, and
symbolic links that lead out of the tree; files of root become the media owner's.
Use --trust-media where you know that they are yours.

It takes the owner key: the recovery file, or an identity that was added with
permafrost key add owner.`,
		Example: `  permafrost restore -i permafrost-recovery.key --date 2026-06-27 --target /srv/restore
  permafrost restore -i permafrost-recovery.key --snapshot latest --component postgres --target /srv/restore`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case on != "" && spec != "":
				return usagef("--date and --snapshot exclude each other")
			case on != "":
				spec = string(on)
			case spec == "":
				return hint.Wrap(usagef("restore needs to know which snapshot"), "say --date 2026-06-27 or --snapshot latest")
			}
			if o.Target == "" {
				return hint.Wrap(usagef("restore needs to know where to write"), "say --target DIR: an empty directory, or one to be made")
			}
			if err := snapshot.CheckComponents(o.Components); err != nil {
				return usagef("--component: %w", err)
			}
			r, err := a.openAt(cmd.Context(), contentKey, head.head)
			if err != nil {
				return err
			}
			defer r.Close()
			wish := retain.Wish{Whole: len(o.Components) == 0}
			for _, c := range o.Components {
				wish.Components = append(wish.Components, retain.Component(c))
			}
			ref, err := a.find(r, &pick, spec, wish)
			if err != nil {
				return err
			}
			o.Begin = func() {
				a.ui.Say("restoring snapshot %s of %s, %s, taken %s", ref.ID.Short(), printable(ref.Instance), printable(ref.Date), formatTime(ref.Time))
			}
			begin := time.Now()
			p := newProgress(a.ui)
			defer p.Close()
			o.Progress, o.Warn = p, func(msg string) { a.ui.Warn("%s", msg) }
			res, err := snapshot.Restore(cmd.Context(), r.Repo, ref, o)
			p.Close()
			if err != nil {
				return err
			}
			a.ui.Done("everything that the snapshot has is restored into %s", printable(o.Target))
			a.tellRestore(&o, res, time.Since(begin))
			return incomplete(res)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&on, "date", "restore the newest snapshot of this date, one with all components before one without")
	f.StringVar(&spec, "snapshot", "", "restore the `snapshot` of this name")
	f.StringVar(&o.Target, "target", "", "`directory` to write into")
	f.StringArrayVar(&o.Components, "component", nil, "restore only this `component`: secrets, postgres, redis or media; repeatable")
	f.BoolVar(&o.Force, "force", false, "write into a directory that is not empty")
	f.BoolVar(&o.NumericIDs, "numeric-ids", false, "give media their owners by number, not by name")
	f.BoolVar(&o.TrustMedia, "trust-media", false, "restore media with setuid bits, devices, capabilities, root's files and links that lead out")
	f.Var(&head, "head", "log `head` that check printed earlier, which must be part of the log")
	pick.flags(cmd)
	return cmd
}

// tellRestore tells what was restored and how to go on.
func (a *app) tellRestore(o *snapshot.RestoreOptions, res *snapshot.RestoreResult, took time.Duration) {
	a.ui.JSON("summary", struct {
		Target  string  `json:"target"`
		Files   int64   `json:"files"`
		Bytes   int64   `json:"bytes"`
		Seconds float64 `json:"seconds"`
	}{o.Target, res.Files, res.Bytes, took.Round(time.Millisecond).Seconds()})
	a.ui.Report("restored %v into %s, %s of media among it, in %s", size(res.Bytes), printable(o.Target),
		plural(res.Files, "file", "files"), formatDuration(took))
	if res.Owner != "" {
		a.ui.Warn("run nothing from %s as root: %s can change it. To set Mastodon up anew restore into a directory that only root can write, such as /root/restore",
			printable(o.Target), printable(res.Owner))
		return
	}
	a.ui.Say("how to go on: %s", printable(o.Target+"/RESTORE.md"))
}

// incomplete returns an error where a component that was wanted had failed, or was incomplete, when the snapshot was made.
func incomplete(res *snapshot.RestoreResult) error {
	var parts []string
	for _, a := range res.Absent {
		if a.State != snapshot.Skipped {
			parts = append(parts, a.Part)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return &partialError{fmt.Errorf("%s not restored, or not all of it: the snapshot does not have it", strings.Join(parts, ", "))}
}

func (a *app) dumpCommand() *cobra.Command {
	var pick selection
	cmd := &cobra.Command{
		Use:   "dump SNAP postgres|redis|sidekiq|secrets|media/PATH",
		Short: "write one part of a snapshot to standard output",
		Long: `Dump writes one part of a snapshot to standard output: the database as pg_restore
takes it, Redis' data as an RDB file, secrets (.env.production) or secrets/PATH, or a
file of the media, under the names that ls lists. It takes the owner key.

Whether a stream is whole is known at its end: use the output only where the exit
code is 0.`,
		Example: `  permafrost dump -i permafrost-recovery.key latest postgres > mastodon.dump
  permafrost dump -i permafrost-recovery.key 2026-06-27 secrets`,
		Args: args("a snapshot, and the name of a part", 2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.ui.terminal() && args[1] != "secrets" {
				return hint.Wrap(usagef("dump does not write a file's bytes to a terminal"), "redirect standard output: > FILE")
			}
			r, err := a.open(cmd.Context(), contentKey)
			if err != nil {
				return err
			}
			defer r.Close()
			_, m, err := a.manifest(cmd.Context(), r, &pick, args[0], wishFor(args[1]))
			if err != nil {
				return err
			}
			out := a.ui.Raw()
			if args[1] == "secrets" {
				out = a.ui.Text()
			}
			return snapshot.Dump(cmd.Context(), r.Repo, m, args[1], out)
		},
	}
	pick.flags(cmd)
	return cmd
}
