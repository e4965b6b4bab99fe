package main

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/snapshot"
	"permafrost/snapshot/backup"
	"permafrost/source"
	"permafrost/source/deploy"
)

const defaultLive = "/home/mastodon/live"

const userUsage = "`name` or number of the user Mastodon runs as (default: the owner of its directory)"

func snapshotCommand(a *app) *cobra.Command {
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
			n := report.New(a.ui)
			defer n.Close()
			taken, err := keeper.Take(cmd.Context(), r.Repo, inst, takeOptions(a, &flags), n)
			if taken != nil {
				n.Tell(taken)
			}
			return err
		},
	}
	flags.flags(cmd.Flags())
	return cmd
}

// snapshotFlags say what goes into a snapshot.
type snapshotFlags struct {
	live      string
	user      string // whom Mastodon runs as
	addresses source.Addresses
	date      value.Date
	o         backup.Options

	deployment deploy.Options
}

func (s *snapshotFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&s.live, "live", defaultLive, "Mastodon's `directory`")
	f.StringVar(&s.user, "user", "", userUsage)
	f.StringVar(&s.deployment.Engine, "compose-engine", "", "`command` of the container engine, or none (default: docker and podman, if they are installed)")
	f.StringVar(&s.deployment.Project, "compose-project", "", "`name` of the Compose project that the instance runs in (default: that of the live directory)")
	f.Var(&s.date, "date", "the night that the snapshot is of (default: today)")
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
	addressFlags(f, &s.addresses, &s.o.Postgres, &s.o.Redis)
}

// check finds what can't be meant.
func (s *snapshotFlags) check() error {
	if err := s.date.NotAhead(time.Now()); err != nil {
		return err
	}
	if err := snapshot.CheckComponents(s.o.Skip); err != nil {
		return usage.Errorf("--skip: %w", err)
	}
	if slices.Contains(s.o.Skip, "postgres") && slices.Contains(s.o.Skip, "media") {
		return hint.Wrap(usage.Errorf("--skip: nothing is left to store: a snapshot needs the database or the media"), "take postgres or media out of --skip, or of skip in the configuration")
	}
	for _, dir := range s.o.Media.Follow {
		if !filepath.IsAbs(dir) {
			return usage.Errorf("--follow: %q is not an absolute path: write it from / on", dir)
		}
	}
	if s.o.Replica && s.addresses.Postgres != (source.PostgresAddress{}) {
		return usage.Errorf("--replica can't be used with an address in [postgres] or --postgres-…: that address may be the replica's own")
	}
	return nil
}

// load reads the settings of the instance that the flags name, and finds out how it runs.
func (s *snapshotFlags) load(ctx context.Context) (*source.Instance, error) {
	found, err := deploy.Find(ctx, s.live, s.deployment)
	if err != nil {
		return nil, err
	}
	at := s.addresses
	at.Environment = found.Environment()
	inst, err := source.Load(s.live, s.user, at)
	if err != nil {
		return nil, withHint(err, "say where Mastodon is installed with --live DIR")
	}
	return inst, found.Attach(ctx, inst)
}

// takeOptions returns how the flags want a snapshot to be made.
func takeOptions(a *app, flags *snapshotFlags) keeper.TakeOptions {
	o := keeper.TakeOptions{Options: flags.o, Patience: a.retryLock}
	o.Date, o.Version = string(flags.date), readBuildInfo().Version
	o.KeyFiles = append([]string{a.writerKey}, a.identities...)
	o.Redis.SpoolFile = spoolFile(a.stateDir)
	return o
}
