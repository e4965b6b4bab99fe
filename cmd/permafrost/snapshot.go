package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
	"permafrost/source"
	"permafrost/source/deploy"
)

const defaultLive = "/home/mastodon/live"

const userUsage = "`name` or number of the user Mastodon runs as (default: the owner of its directory)"

func (a *app) snapshotCommand() *cobra.Command {
	var flags snapshotFlags
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "make a snapshot",
		Long: `Snapshot stores the instance's secrets, database, Redis and media, as they are now. It
reads .env.production in the live directory. The services may run. The state of the
database is fixed first, so every media file that it names is in the snapshot too.

A component that fails is named, the others are stored, and the exit code is 5. With
--strict nothing is stored then. Nothing is stored if neither the database nor the media
could be read. Media files that can't be read are left out and named: exit code 3. A
snapshot with less than half of what an earlier one had is kept: exit code 4.`,
		Example: `  permafrost snapshot
  permafrost snapshot --tag before-upgrade --live /srv/mastodon/live
  permafrost snapshot --skip redis
  permafrost snapshot --date 2026-06-27 --no-cache-media --json`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, r, err := a.openInstance(cmd.Context(), &flags)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = a.snapshot(cmd.Context(), r, inst, &flags)
			return err
		},
	}
	flags.flags(cmd.Flags())
	return cmd
}

// snapshotFlags say what goes into a snapshot.
type snapshotFlags struct {
	live string
	user string // whom Mastodon runs as
	at   source.Addresses
	on   date
	o    snapshot.CreateOptions

	deployment deploy.Options
}

func (s *snapshotFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&s.live, "live", defaultLive, "Mastodon's `directory`")
	f.StringVar(&s.user, "user", "", userUsage)
	f.StringVar(&s.deployment.Engine, "compose-engine", "", "`command` of the container engine, or none (default: docker and podman, if they are installed)")
	f.StringVar(&s.deployment.Project, "compose-project", "", "`name` of the Compose project that the instance runs in (default: that of the live directory)")
	f.Var(&s.on, "date", "the night that the snapshot is of (default: today)")
	f.StringArrayVar(&s.o.Tags, "tag", nil, "label the snapshot with this `tag`; repeatable")
	f.StringArrayVar(&s.o.Secrets, "secret", nil, "`file`, directory or pattern to store among the secrets; repeatable")
	f.StringSliceVar(&s.o.Skip, "skip", nil, "leave out this `component`: secrets, postgres, redis or media; repeatable")
	f.BoolVar(&s.o.Strict, "strict", false, "commit nothing if a component fails")
	f.StringArrayVar(&s.o.Media.Excludes, "exclude", nil, "`pattern` of media to leave out (help patterns); repeatable")
	f.BoolVar(&s.o.Media.NoCache, "no-cache-media", false, "leave out media that can be fetched again from other servers")
	f.StringArrayVar(&s.o.Media.Follow, "follow", nil, "follow links out of the media into this `directory`; repeatable")
	f.BoolVar(&s.o.IgnoreCTime, "ignore-ctime", false, "find changed media without looking at their ctime")
	f.BoolVar(&s.o.IgnoreInode, "ignore-inode", false, "find changed media without looking at their inode number")
	f.BoolVar(&s.o.AllowEmptyMedia, "allow-empty-media", false, "accept a media directory without any file")
	f.BoolVar(&s.o.Replica, "replica", false, "dump the database from the configured replica")
	addressFlags(f, &s.at, &s.o.Postgres, &s.o.Redis)
}

// check finds what can't be meant.
func (s *snapshotFlags) check() error {
	if err := s.on.notAhead(time.Now()); err != nil {
		return err
	}
	if err := snapshot.CheckComponents(s.o.Skip); err != nil {
		return usagef("--skip: %w", err)
	}
	if slices.Contains(s.o.Skip, "postgres") && slices.Contains(s.o.Skip, "media") {
		return hint.Wrap(usagef("--skip: nothing is left to store: a snapshot needs the database or the media"), "take postgres or media out of --skip, or of skip in the configuration")
	}
	for _, dir := range s.o.Media.Follow {
		if !filepath.IsAbs(dir) {
			return usagef("--follow: %q is not a whole path: write it from / on", dir)
		}
	}
	if s.o.Replica && s.at.Postgres != (source.PostgresAddress{}) {
		return usagef("--replica can't be used with an address in [postgres] or --postgres-…: that address may be the replica's own")
	}
	return nil
}

// load reads the settings of the instance that the flags name, and finds out how it runs.
func (s *snapshotFlags) load(ctx context.Context) (*source.Instance, error) {
	found, err := deploy.Find(ctx, s.live, s.deployment)
	if err != nil {
		return nil, err
	}
	at := s.at
	at.Environment = found.Environment()
	inst, err := source.LoadAt(s.live, s.user, at)
	if err != nil {
		return nil, withHint(err, "say where Mastodon is installed with --live DIR")
	}
	return inst, found.Attach(ctx, inst)
}

// snapshot makes a snapshot of an instance and tells what it holds. Where it is committed its result is returned, beside the
// error that says what is wrong with it.
func (a *app) snapshot(ctx context.Context, r *opened, inst *source.Instance, flags *snapshotFlags) (*snapshot.Result, error) {
	begin := time.Now()
	p := newProgress(a.ui)
	defer p.Close()
	p.guess = lastSizes(ctx, r, inst.Domain)
	o := flags.o
	o.Date, o.Version, o.Progress = string(flags.on), readBuildInfo().Version, p
	o.KeyFiles = append([]string{a.writerKey}, a.identities...)
	o.Warn = func(err error) {
		text := err.Error()
		if h := hintFor(err); h != "" {
			text += " (" + h + ")"
		}
		a.ui.Warn("%s", text)
	}
	o.Postgres.Warn, o.Redis.SpoolFile = func(msg string) { a.ui.Warn("%s", msg) }, a.spoolFile()
	var res *snapshot.Result
	err := a.patiently(ctx, func() (err error) {
		res, err = snapshot.Create(ctx, r.Repo, inst, o)
		return err
	})
	p.Close()
	if err != nil {
		return nil, err
	}
	return res, a.tellSnapshot(r, res, time.Since(begin))
}

// lastSizes returns how large each component was in the instance's newest snapshot, as far as that can be told.
func lastSizes(ctx context.Context, r *opened, instance string) map[string]int64 {
	pick := keeper.Selection{Instance: instance}
	ref, err := retain.Find(pick.Of(r.Snapshots()), nil, "latest", retain.Wish{})
	if err != nil {
		return nil
	}
	m, err := snapshot.Load(ctx, r.Repo, ref.SnapshotRef)
	if err != nil {
		return nil // the first one, or one that can't be read: what comes of that is told elsewhere
	}
	sizes := map[string]int64{"postgres": m.Postgres.Size, "media": m.Media.Size}
	for name, rd := range m.Redises {
		sizes[name] = rd.Size
	}
	return sizes
}

// tellSnapshot tells what a snapshot holds and cost.
func (a *app) tellSnapshot(r *opened, res *snapshot.Result, took time.Duration) error {
	ref, m := &res.Ref, res.Manifest
	a.ui.Done("snapshot %s of %s is committed", ref.ID.Short(), printable(ref.Instance))
	log := r.Chronicle(ref.Instance)
	verdict := retain.Judge(&log).Of(ref.ID)
	a.ui.JSON(keeper.Taken{
		Snapshot: keeper.NewSnapshot(ref), Doubts: keeper.Doubts(verdict), Seconds: keeper.Seconds(took), Head: r.Head().String(),
	})
	if !a.ui.quiet {
		a.ui.Lines(components(m))
	}
	a.ui.Report("snapshot %s of %s, %s: %v, of which %v were stored, in %s", ref.ID.Short(), printable(ref.Instance), ref.Date,
		size(ref.Size), size(ref.Stored), units.Duration(took))
	a.tellHead(r)
	var looks error
	if s := keeper.Suspicion(ref, verdict); s != nil {
		looks = s
	}
	return hint.Join(lacking(res), looks, partial(res))
}

// lacking returns an error that names the components which failed or are incomplete, or nil.
func lacking(res *snapshot.Result) error {
	if len(res.Failures) == 0 {
		return nil
	}
	var failed, texts []string
	if res.Manifest.Secrets.State == snapshot.Incomplete {
		texts = append(texts, "with incomplete secrets")
	}
	for _, f := range res.Failures {
		if f.Part != "secrets" || res.Manifest.Secrets.State == snapshot.Failed {
			failed = append(failed, f.Part)
		}
	}
	if len(failed) > 0 {
		texts = append(texts, "without "+strings.Join(failed, ", ")+", which failed")
	}
	err := fmt.Errorf("snapshot %s is kept %s", res.Ref.ID.Short(), strings.Join(texts, " and "))
	return &incompleteError{hint.Wrap(err, "the warning above says why; `permafrost show "+res.Ref.ID.Short()+"` says it again")}
}

// partial returns an error that counts the files which were left out, or nil.
func partial(res *snapshot.Result) error {
	ref, m := &res.Ref, res.Manifest
	if m.Media.LeftOut == 0 {
		return nil
	}
	return &partialError{fmt.Errorf("snapshot %s is kept without %s; the warnings above name them", ref.ID.Short(),
		units.Plural(int64(m.Media.LeftOut), "file, directory or link of the media", "files, directories or links of the media"))}
}

const lockPoll = 2 * time.Second // how often a lock is tried that is held

// patiently does f again while others hold a lock, as long as --retry-lock says; and once more where a prune removed
// what it referenced, which a second run does not meet.
func (a *app) patiently(ctx context.Context, f func() error) error {
	deadline, pruned, told := time.Now().Add(a.retryLock), false, ""
	for {
		err := f()
		var locked *repo.LockedError
		switch {
		case errors.Is(err, repo.ErrPruned) && !pruned:
			pruned = true
			a.ui.Say("%v: once more", err)
			continue
		case !errors.As(err, &locked) || !time.Now().Before(deadline):
			return err
		}
		if text := err.Error(); text != told {
			told = text
			a.ui.Say("waiting for up to %s: %v", units.Duration(time.Until(deadline)), err)
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
