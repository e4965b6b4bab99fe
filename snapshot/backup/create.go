package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/source"
	"permafrost/source/media"
	"permafrost/source/postgres"
	"permafrost/source/redis"
)

// Options say what goes into a snapshot and how it is labelled.
type Options struct {
	Date    string   // YYYY-MM-DD; "" is today
	Tags    []string // labels, for retention and for people
	Version string   // of permafrost

	Secrets  []string // files, directories and patterns beside .env.production
	KeyFiles []string // the repository's key files, as far as they are known: never stored
	Postgres postgres.Options
	Redis    redis.Options
	Media    media.Options
	Replica  bool // dump the database from the configured replica

	Skip   []string // components to leave out, of secrets, postgres, redis and media: the administrator's own word
	Strict bool     // commit nothing where a component fails

	// IgnoreCTime and IgnoreInode leave these out of what tells that a file of the media is unchanged.
	IgnoreCTime, IgnoreInode bool

	// AllowEmptyMedia takes a media directory without a file for what it says, though the snapshot before had some.
	AllowEmptyMedia bool

	Progress snapshot.Progress
	Warn     func(error) // hears what goes wrong and ends nothing, one call at a time; errors.As finds a cause
}

// A Result is a snapshot that is committed.
type Result struct {
	Ref      ledger.SnapshotRef
	Manifest *snapshot.Manifest
	Failures []Failure // of components, which the snapshot is kept without
}

// A Failure is why a part of an instance could not be read.
type Failure struct {
	Part string // as snapshot.Dump takes it
	Err  error
}

// A creation is one run of Create.
type creation struct {
	Options
	repo *repo.Repo
	w    *repo.Writer
	in   *ingester
	inst *source.Instance
	m    *snapshot.Manifest

	sketches   *sketches
	thriftless sync.Once

	mu       sync.Mutex
	failures []Failure
}

// Create makes a snapshot of an instance: secrets first, then PostgreSQL's snapshot is exported, then Redis saved,
// and once these stand the database is dumped and the media are walked. So every file that the dump names is there,
// unless it was deleted in between.
//
// What can be saved is saved: a component that fails is recorded as failed, named by Warn, and the others are committed.
// Nothing is committed where neither the database nor media could be read; where Strict is set and anything fails; where the
// storage fails; and where ctx ends. Errors of reading have the causes of the packages below source, and of this one. Single media files that can't be read are left out, counted in the manifest's
// Media.LeftOut, and named by Warn.
func Create(ctx context.Context, r *repo.Repo, inst *source.Instance, o Options) (*Result, error) {
	o.Warn = snapshot.OneByOne(o.Warn)
	o.Progress = cmp.Or[snapshot.Progress](o.Progress, snapshot.NoProgress{})
	if err := o.check(inst); err != nil {
		return nil, err
	}
	m, err := newManifest(inst, &o)
	if err != nil {
		return nil, err
	}
	w, err := r.NewWriter(ctx, inst.Domain)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	c := &creation{Options: o, repo: r, w: w, in: &ingester{w: storing{w}}, inst: inst, m: m,
		sketches: newSketches(r.CacheDir(), inst.Domain, w)}
	defer c.sketches.drop()
	c.keys(ctx)
	for _, w := range m.Warnings {
		c.Warn(errors.New(w))
	}
	o.Progress.Sending("upload", w.Traffic)
	if err := c.capture(ctx); err != nil {
		return nil, err
	}
	return c.commit(ctx)
}

// check returns an error where the options leave nothing to make a snapshot of.
func (o *Options) check(inst *source.Instance) error {
	if err := snapshot.CheckComponents(o.Skip); err != nil {
		return fmt.Errorf("components to skip: %w", err)
	}
	if o.Replica && inst.Replica == nil {
		return errors.New("postgres: .env.production names no replica")
	}
	noMedia := slices.Contains(o.Skip, "media") || inst.Media.External != nil
	if slices.Contains(o.Skip, "postgres") && noMedia {
		return source.Because(CauseNothingLeft, errors.New("nothing is left to store: a snapshot needs the database, or media that are not in object storage"))
	}
	return nil
}

// newManifest returns a manifest with all that is known before anything is read.
func newManifest(inst *source.Instance, o *Options) (*snapshot.Manifest, error) {
	now := time.Now().UTC()
	m := &snapshot.Manifest{Format: snapshot.Format, Instance: inst.Domain, Date: o.Date, Created: now, Version: o.Version,
		Tags: o.Tags, Live: snapshot.Text(inst.Dir), User: inst.OSUser, Deployment: inst.Deployment, Warnings: slices.Clone(inst.Warnings)}
	var err error
	if m.Mastodon, err = inst.Version(); err != nil {
		m.Warnings = append(m.Warnings, err.Error())
	}
	if inst.WebDomain != inst.Domain {
		m.WebDomain = inst.WebDomain
	}
	if m.Date == "" {
		m.Date = time.Now().Format(time.DateOnly)
	}
	if _, err := time.Parse(time.DateOnly, m.Date); err != nil {
		return nil, fmt.Errorf("date %q is not like 2026-06-27", m.Date)
	}
	if m.Host, err = os.Hostname(); err != nil {
		return nil, fmt.Errorf("asking for the host's name: %w", err)
	}
	return m, nil
}

// commit publishes the snapshot.
func (c *creation) commit(ctx context.Context) (*Result, error) {
	c.m.Finished = time.Now().UTC()
	if err := c.w.Flush(); err != nil {
		return nil, fmt.Errorf("storing the snapshot: %w", err)
	}
	c.Progress.Done("upload")
	c.Progress.Start("commit", -1)
	defer c.Progress.Done("commit")
	stats := c.w.Stats()
	sizes := c.m.Sizes()
	for comp, to := range map[repo.Component]*snapshot.Cost{repo.Secrets: &c.m.Secrets.Cost, repo.Postgres: &c.m.Postgres.Cost,
		repo.Redis: &c.m.Redis.Cost, repo.Media: &c.m.Media.Cost, repo.Meta: &c.m.MetaCost} {
		s := stats[comp]
		to.Logical, to.Fresh, to.Stored = sizes[comp.String()], s.Fresh, s.Stored
	}
	c.m.MetaCost.Logical = stats[repo.Meta].Logical
	data, err := c.m.Encode()
	if err != nil {
		return nil, err
	}
	info := c.m.Info()
	for _, s := range stats {
		info.Stored += s.Stored
	}
	ref, err := c.w.Commit(ctx, data, info)
	if err != nil {
		return nil, fmt.Errorf("committing the snapshot: %w", err)
	}
	if err := c.sketches.keep(ref.ID); err != nil {
		c.Warn(err)
	}
	return &Result{ref, c.m, c.failures}, nil
}
