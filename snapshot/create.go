package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"permafrost/chunk"
	"permafrost/internal/hint"
	"permafrost/repo"
	"permafrost/source"
	"permafrost/source/media"
	"permafrost/source/postgres"
	"permafrost/source/redis"
	"permafrost/source/secrets"
)

// CreateOptions say what goes into a snapshot and how it is labelled.
type CreateOptions struct {
	Date    string   // YYYY-MM-DD; "" is today
	Tags    []string // labels, for retention and for people
	Host    string   // "" asks the system
	Version string   // of permafrost

	Secrets  []string // files, directories and patterns beside .env.production
	KeyFiles []string // the repository's key files, as far as they are known: never stored
	Postgres postgres.Options
	Media    media.Options
	Replica  bool // dump the database from the configured replica

	// AllowEmptyMedia takes a media directory without a file for what it says, though the snapshot before had some.
	AllowEmptyMedia bool

	// Sequential dumps the database before the media are walked, not at the same time.
	Sequential bool

	// Where the services stand still: since when, and which. Resume is called once nothing needs them to any more,
	// which is before the database is dumped to its end. Where Create fails it may not have been called.
	StoppedFrom time.Time
	Units       []string
	Resume      func() error

	Progress Progress
	Warn     func(msg string)
}

// A Result is a snapshot that is committed.
type Result struct {
	Ref      repo.SnapshotRef
	Manifest *Manifest
}

// A creation is one run of Create.
type creation struct {
	CreateOptions
	repo *repo.Repo
	w    *repo.Writer
	in   *ingester
	inst *source.Instance
	m    *Manifest

	signatures *signatures
	thriftless sync.Once
}

// Create makes a snapshot of an instance: secrets first, then PostgreSQL's snapshot is exported, then Redis saved,
// and once these stand the database is dumped and the media are walked. So every file that the dump names is there,
// unless it was deleted in between. A component that fails fails the snapshot; nothing is committed then. Single media
// files that can't be read are left out, counted in the manifest's Media.LeftOut, and named by Warn.
func Create(ctx context.Context, r *repo.Repo, inst *source.Instance, o CreateOptions) (*Result, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	o.Progress = orNoProgress(o.Progress)
	m, err := newManifest(inst, &o)
	if err != nil {
		return nil, err
	}
	w, err := r.NewWriter(ctx, inst.Domain)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	c := &creation{CreateOptions: o, repo: r, w: w, in: &ingester{w: w}, inst: inst, m: m,
		signatures: newSignatures(r.CacheDir(), inst.Domain, w)}
	defer c.signatures.drop()
	o.Progress.Sending("upload", w.Traffic)
	if err := c.capture(ctx); err != nil {
		return nil, err
	}
	return c.commit(ctx)
}

// newManifest returns a manifest with all that is known before anything is read.
func newManifest(inst *source.Instance, o *CreateOptions) (*Manifest, error) {
	now := time.Now().UTC()
	m := &Manifest{Format: Format, Instance: inst.Domain, Date: o.Date, Created: now, Host: o.Host, Version: o.Version,
		Tags: o.Tags, Live: Text(inst.Dir), User: inst.OSUser, Warnings: slices.Clone(inst.Warnings)}
	if inst.WebDomain != inst.Domain {
		m.WebDomain = inst.WebDomain
	}
	if m.Date == "" {
		m.Date = time.Now().Format(time.DateOnly)
	}
	if _, err := time.Parse(time.DateOnly, m.Date); err != nil {
		return nil, fmt.Errorf("date %q is not like 2026-06-27", m.Date)
	}
	if m.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("asking for the host's name: %w", err)
		}
		m.Host = host
	}
	m.Boundary.Method = "ordered"
	if !o.StoppedFrom.IsZero() {
		from := o.StoppedFrom.UTC()
		m.Boundary.Method, m.Boundary.StoppedFrom, m.Boundary.Units = "stopped", &from, o.Units
	}
	return m, nil
}

// capture reads the components in the order that keeps them consistent.
func (c *creation) capture(ctx context.Context) error {
	if err := c.secrets(ctx); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	db := c.inst.Database
	if c.Replica {
		if c.inst.Replica == nil {
			return errors.New("postgres: .env.production names no replica")
		}
		db = *c.inst.Replica
	}
	o := c.Postgres
	o.User = c.inst.User
	server, err := postgres.Connect(ctx, db, o)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer server.Close()
	snap, err := server.Export(ctx)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	defer snap.Close()
	b := &c.m.Boundary
	b.Snapshot, b.LSN, b.Time = snap.ID, snap.LSN, snap.Time.UTC()
	if err := c.redises(ctx); err != nil {
		return err
	}
	b.Redis = time.Now().UTC()

	g, gctx := errgroup.WithContext(ctx)
	if c.Sequential {
		g.SetLimit(1)
	}
	g.Go(func() error {
		if err := c.dump(gctx, db, server, snap); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		if err := c.media(gctx); err != nil {
			return fmt.Errorf("media: %w", err)
		}
		return c.resume()
	})
	return g.Wait()
}

// resume lets the services start again, if they were stopped.
func (c *creation) resume() error {
	if c.m.Boundary.StoppedFrom == nil {
		return nil
	}
	now := time.Now().UTC()
	c.m.Boundary.StoppedTo = &now
	if c.Resume == nil {
		return nil
	}
	return c.Resume()
}

// secrets stores the settings and the files beside them.
func (c *creation) secrets(ctx context.Context) error {
	c.Progress.Start("secrets", -1)
	defer c.Progress.Done("secrets")
	files, err := secrets.Collect(c.inst, secrets.Options{Names: c.Secrets, Keys: c.KeyFiles, IsKey: repo.IsKeyFile,
		Warn: func(msg string) { c.Warn("secrets: " + msg) }})
	if err != nil {
		return err
	}
	c.m.Secrets.State = Captured
	for _, f := range files {
		rec := newRecipeWriter(c.in.sink(ctx), rootExtents)
		if err := c.in.split(ctx, repo.Secrets, chunk.NewSplitter(bytes.NewReader(f.Data), c.w.Polynomial(), chunk.Stream), rec); err != nil {
			return err
		}
		recipe, err := rec.finish()
		if err != nil {
			return err
		}
		c.m.Secrets.Files = append(c.m.Secrets.Files, SecretFile{
			Path: Text(f.Path), Mode: f.Mode, UID: f.UID, GID: f.GID, MTime: f.MTime,
			Stream: Stream{Size: recipe.Size, SHA256: sha256.Sum256(f.Data), Recipe: recipe},
		})
		c.Progress.Add("secrets", 1, recipe.Size)
	}
	return nil
}

// redises stores the data of the base Redis, and of Sidekiq's where it has one.
func (c *creation) redises(ctx context.Context) error {
	c.Progress.Start("redis", -1)
	defer c.Progress.Done("redis")
	if err := c.redis(ctx, "redis", c.inst.Redis, &c.m.Redis); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	if c.inst.Sidekiq == nil {
		return nil
	}
	c.m.Sidekiq = new(Redis)
	if err := c.redis(ctx, "sidekiq", *c.inst.Sidekiq, c.m.Sidekiq); err != nil {
		return fmt.Errorf("sidekiq's redis: %w", err)
	}
	return nil
}

func (c *creation) redis(ctx context.Context, stream string, settings source.Redis, out *Redis) error {
	server, err := redis.Connect(ctx, settings, c.inst.User)
	if err != nil {
		return err
	}
	defer server.Close()
	d, err := server.Dump(ctx)
	if err != nil {
		return err
	}
	if out.Stream, err = c.stream(ctx, repo.Redis, stream, d, &out.Cost); err != nil {
		return err
	}
	out.State, out.Server, out.Dump = Captured, server.Facts(), d.Facts()
	return nil
}

// dump stores the database.
func (c *creation) dump(ctx context.Context, db source.Database, server *postgres.Server, snap *postgres.Snapshot) error {
	facts := server.Facts()
	c.Progress.Start("postgres", -1)
	defer c.Progress.Done("postgres")
	d, err := snap.Dump(ctx)
	if err != nil {
		return err
	}
	p := &c.m.Postgres
	if p.Stream, err = c.stream(ctx, repo.Postgres, "postgres", d, &p.Cost); err != nil {
		return err
	}
	p.State, p.Database, p.User, p.Server, p.Dump = Captured, db.Name, db.User, facts, d.Facts()
	return nil
}

// stream stores a byte stream of a component.
func (c *creation) stream(ctx context.Context, comp repo.Component, name string, src io.ReadCloser, cost *Cost) (Stream, error) {
	near, err := c.signatures.levelTwo(name, c.previousID())
	if err != nil {
		c.thriftless.Do(func() {
			c.Warn(fmt.Sprintf("%s: this night stores more than it would need: what the last one was is not in the cache: %v", name, plain(err)))
		})
	}
	defer near.close()
	s, wasted, err := c.in.stream(ctx, comp, src, near, func(n int64) { c.Progress.Add(comp.String(), 0, n) })
	if err == nil && s.Size == 0 {
		err = errors.New("the dump is empty")
	}
	cost.Wasted += wasted
	c.Progress.Add(comp.String(), 1, 0)
	return s, err
}

// plain returns an error without the path that it names.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// previousID returns the newest snapshot of the instance, or zero.
func (c *creation) previousID() repo.Name {
	for _, ref := range slices.Backward(c.repo.Snapshots()) {
		if ref.Instance == c.inst.Domain {
			return ref.ID
		}
	}
	return repo.Name{}
}

// media stores the media tree, or where the media are.
func (c *creation) media(ctx context.Context) error {
	out := &c.m.Media
	if x := c.inst.Media.External; x != nil {
		*out = Media{State: External, External: &Bucket{x.Kind, x.Bucket, x.Endpoint, x.Region, x.Prefix}}
		return nil
	}
	c.Progress.Start("media", -1)
	defer c.Progress.Done("media")
	o := c.Media
	if o.User == nil {
		o.User = c.inst.User
	}
	t, err := media.Open(c.inst.Media.Root, o)
	if err != nil {
		return err
	}
	defer t.Close()
	previous := c.previous(ctx)
	rd, err := c.repo.NewReader(ctx, c.inst.Domain)
	if err != nil {
		return err
	}
	from, denied := time.Now().UTC(), 0
	mc := &capture{in: c.in, tree: t, rd: rd, length: rd.Length, previous: previous,
		told: func(files, bytes int64) { c.Progress.Add("media", files, bytes) },
		warn: func(path string, err error) {
			if errors.Is(err, fs.ErrPermission) {
				denied++
			}
			c.Warn(fmt.Sprintf("media: %s was left out: %s", path, reason(err)))
		},
		note: func(err error) { c.Warn(fmt.Sprintf("media: every file is read again: %v", err)) },
	}
	if *out, err = mc.run(ctx); err != nil {
		return err
	}
	if u := t.User(); u != nil && denied > 0 {
		c.Warn(fmt.Sprintf("media: %v may not read %d of these. Media are read with that user's rights: chown -R %d %s",
			u, denied, u.UID, t.Root()))
	}
	for _, pattern := range t.Idle() {
		c.Warn(fmt.Sprintf("media: the exclude pattern %q matches nothing", pattern))
	}
	c.m.Boundary.MediaFrom, c.m.Boundary.MediaTo = from, time.Now().UTC()
	out.Root = Text(c.inst.Media.Root)
	out.NoCache = c.Media.NoCache
	for _, x := range c.Media.Excludes {
		out.Excludes = append(out.Excludes, Text(x))
	}
	c.m.Users, c.m.Groups = t.Owners()
	if out.Files == 0 && previous != nil && previous.Media.Files > 0 && !c.AllowEmptyMedia {
		return hint.Wrap(fmt.Errorf("%s holds no file, and on %s it had %d", c.inst.Media.Root, previous.Date, previous.Media.Files),
			"is a disk not mounted? If the directory is really meant to be empty, use --allow-empty-media")
	}
	return nil
}

// previous returns the newest snapshot of the instance, or nil. It only saves time: one that can't be read is no
// reason to fail.
func (c *creation) previous(ctx context.Context) *Manifest {
	refs := c.repo.Snapshots()
	for i := len(refs) - 1; i >= 0; i-- {
		if refs[i].Instance != c.inst.Domain {
			continue
		}
		m, err := Load(ctx, c.repo, refs[i])
		if err != nil {
			c.Warn(fmt.Sprintf("media: every file is read again: the snapshot of %s: %v", refs[i].Date, err))
			return nil
		}
		if m.Media.State == Captured {
			return m
		}
	}
	return nil
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
	sizes := c.m.sizes()
	for comp, to := range map[repo.Component]*Cost{repo.Secrets: &c.m.Secrets.Cost, repo.Postgres: &c.m.Postgres.Cost,
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
	if err := c.signatures.keep(ref.ID); err != nil {
		c.Warn(err.Error())
	}
	return &Result{ref, c.m}, nil
}
