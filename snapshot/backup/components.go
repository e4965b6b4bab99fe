package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"permafrost/chunk"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/postgres"
	"permafrost/source/redis"
	"permafrost/source/secrets"
)

// capture reads the components in the order that keeps them consistent.
func (c *creation) capture(ctx context.Context) error {
	m, b := c.m, &c.m.Boundary
	if err := c.part(ctx, "secrets", &m.Secrets.State, &m.Secrets.Reason, c.secrets); err != nil {
		return err
	}
	b.Time = time.Now().UTC()
	db := new(database)
	defer func() { db.close() }()
	err := c.part(ctx, "postgres", &m.Postgres.State, &m.Postgres.Reason, func(ctx context.Context) error { return c.export(ctx, db) })
	if err != nil {
		return err
	}
	if db.snap == nil && !c.wantsMedia() {
		return c.nothing()
	}
	if err := c.redises(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	if db.snap != nil {
		g.Go(func() error {
			return c.part(gctx, "postgres", &m.Postgres.State, &m.Postgres.Reason, func(ctx context.Context) error { return c.dump(ctx, db) })
		})
	}
	g.Go(func() error { return c.part(gctx, "media", &m.Media.State, &m.Media.Reason, c.media) })
	if err := g.Wait(); err != nil {
		return err
	}
	if m.Postgres.State != snapshot.Captured && m.Media.State != snapshot.Captured {
		return c.nothing()
	}
	return nil
}

// wantsMedia reports whether there are media to store.
func (c *creation) wantsMedia() bool {
	return c.inst.Media.External == nil && !slices.Contains(c.Skip, "media")
}

// nothing returns why there is nothing to commit.
func (c *creation) nothing() error {
	errs := make([]error, len(c.failures))
	for i, f := range c.failures {
		errs[i] = f.Err
	}
	return fmt.Errorf("nothing was committed: neither the database nor the media could be read: %w", hint.Join(errs...))
}

// part reads a part of the instance, unless a setting skips it. One that fails is noted, and the snapshot is made without it;
// an error is returned where that is no remedy.
func (c *creation) part(ctx context.Context, name string, state *snapshot.State, reason *string, read func(context.Context) error) error {
	if slices.Contains(c.Skip, name) {
		*state = snapshot.Skipped
		return nil
	}
	err := read(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", name, err)
	if storage := (*storageError)(nil); c.Strict || ctx.Err() != nil || errors.As(err, &storage) {
		return err
	}
	text := name + " failed"
	if *state == snapshot.Incomplete {
		text = name + " are incomplete"
	} else {
		*state = snapshot.Failed
	}
	*reason = escape.Cut(escape.Line(strings.TrimPrefix(err.Error(), name+": ")), snapshot.MaxReason)
	c.mu.Lock()
	c.failures = append(c.failures, Failure{name, err})
	c.mu.Unlock()
	c.Warn(&FailedError{name, text + ": " + *reason, err})
	return nil
}

// warn tells what deserves attention about a part of the instance, as dump takes it.
func (c *creation) warn(part, format string, args ...any) {
	c.Warn(&PartError{part, fmt.Errorf(format, args...)})
}

// A PartError says which part of an instance it is about.
type PartError struct {
	Part string // as snapshot.Dump takes it
	Err  error
}

func (e *PartError) Error() string { return e.Part + ": " + e.Err.Error() }
func (e *PartError) Unwrap() error { return e.Err }

// A FailedError says in a line why a component failed, or is incomplete.
type FailedError struct {
	Component string
	Text      string // all of it
	Err       error
}

func (e *FailedError) Error() string { return e.Text }
func (e *FailedError) Unwrap() error { return e.Err }

// A storageError is a failure of the repository, and of no component.
type storageError struct{ err error }

func (e *storageError) Error() string { return e.err.Error() }
func (e *storageError) Unwrap() error { return e.err }

func storageFailed(err error) error {
	if err == nil {
		return nil
	}
	return &storageError{err}
}

// storing is a blobWriter whose errors are a storageError.
type storing struct{ blobWriter }

func (s storing) Has(ctx context.Context, id chunk.ID, length int) (bool, error) {
	ok, err := s.blobWriter.Has(ctx, id, length)
	return ok, storageFailed(err)
}

func (s storing) Add(ctx context.Context, c repo.Component, id chunk.ID, data []byte) (bool, error) {
	fresh, err := s.blobWriter.Add(ctx, c, id, data)
	return fresh, storageFailed(err)
}

// secrets stores the settings and the files beside them.
func (c *creation) secrets(ctx context.Context) error {
	c.Progress.Start("secrets", -1)
	defer c.Progress.Done("secrets")
	o := secrets.Options{Names: c.Secrets, Keys: c.KeyFiles, IsKey: keys.IsFile, Warn: func(msg string) { c.warn("secrets", "%s", msg) }}
	files, missed := secrets.Collect(c.inst, o)
	if missed != nil {
		// One file that can't be read is no reason to be without the settings.
		o.Names = nil
		var err error
		if files, err = secrets.Collect(c.inst, o); err != nil {
			return err
		}
	}
	if err := c.storeSecrets(ctx, files); err != nil {
		c.m.Secrets.Files = nil
		return err
	}
	c.m.Secrets.State = snapshot.Captured
	if missed != nil {
		c.m.Secrets.State = snapshot.Incomplete
	}
	return missed
}

func (c *creation) storeSecrets(ctx context.Context, files []secrets.File) error {
	for _, f := range files {
		rec := stream.NewWriter(c.in.sink(ctx), stream.InManifest)
		if err := c.in.split(ctx, repo.Secrets, chunk.NewSplitter(bytes.NewReader(f.Data), c.w.Polynomial(), chunk.Stream), rec); err != nil {
			return err
		}
		recipe, err := rec.Finish()
		if err != nil {
			return err
		}
		c.m.Secrets.Files = append(c.m.Secrets.Files, snapshot.SecretFile{
			Path: snapshot.Text(f.Path), Mode: f.Mode, UID: f.UID, GID: f.GID, MTime: f.MTime,
			Stream: snapshot.Stream{Size: recipe.Size, SHA256: sha256.Sum256(f.Data), Recipe: recipe},
		})
		c.Progress.Add("secrets", 1, recipe.Size)
	}
	return nil
}

// redises stores the data of the base Redis, and of Sidekiq's where it has one.
func (c *creation) redises(ctx context.Context) error {
	c.Progress.Start("redis", -1)
	defer c.Progress.Done("redis")
	m := c.m
	read := func(name string, from source.Redis, out *snapshot.Redis) error {
		return c.part(ctx, name, &out.State, &out.Reason, func(ctx context.Context) error { return c.redis(ctx, name, from, out) })
	}
	if err := read("redis", c.inst.Redis, &m.Redis); err != nil || m.Redis.State == snapshot.Skipped {
		return err
	}
	if c.inst.Sidekiq != nil {
		m.Sidekiq = new(snapshot.Redis)
		if err := read("sidekiq", *c.inst.Sidekiq, m.Sidekiq); err != nil {
			return err
		}
	}
	m.Boundary.Redis = time.Now().UTC()
	return nil
}

func (c *creation) redis(ctx context.Context, stream string, settings source.Redis, out *snapshot.Redis) error {
	o := c.Redis
	o.User, o.Warn = c.inst.User, func(msg string) { c.warn(stream, "%s", msg) }
	server, err := redis.Connect(ctx, settings, o)
	if err != nil {
		return err
	}
	defer server.Close()
	d, err := server.Dump(ctx)
	if err != nil {
		return err
	}
	s, err := c.stream(ctx, repo.Redis, stream, d, &out.Cost)
	if err != nil {
		return err
	}
	out.State, out.Stream, out.Server, out.Dump = snapshot.Captured, s, server.Facts(), d.Facts()
	return nil
}

// A database is one that is connected to, and the state of it that is dumped.
type database struct {
	source.Database
	server *postgres.Server
	snap   *postgres.Snapshot // nil where there is none
}

func (db *database) close() {
	if db.snap != nil {
		db.snap.Close()
	}
	if db.server != nil {
		db.server.Close()
	}
}

// export connects to the database and fixes the state that is dumped.
func (c *creation) export(ctx context.Context, db *database) (err error) {
	db.Database = c.inst.Database
	if c.Replica {
		db.Database = *c.inst.Replica
	}
	o := c.Postgres
	o.User = c.inst.User
	if db.server, err = postgres.Connect(ctx, db.Database, o); err != nil {
		return err
	}
	facts := db.server.Facts()
	if err = facts.CheckMastodon(); err != nil {
		return err
	}
	if db.snap, err = db.server.Export(ctx); err != nil {
		return err
	}
	b := &c.m.Boundary
	b.Snapshot, b.LSN, b.Time = db.snap.ID, db.snap.LSN, db.snap.Time.UTC()
	return nil
}

// dump stores the database.
func (c *creation) dump(ctx context.Context, db *database) error {
	facts := db.server.Facts()
	c.Progress.Start("postgres", -1)
	defer c.Progress.Done("postgres")
	d, err := db.snap.Dump(ctx)
	if err != nil {
		return err
	}
	p := &c.m.Postgres
	s, err := c.stream(ctx, repo.Postgres, "postgres", d, &p.Cost)
	if err != nil {
		return err
	}
	p.State, p.Stream, p.Database, p.User, p.Server, p.Dump = snapshot.Captured, s, db.Name, db.User, facts, d.Facts()
	return nil
}

// stream stores a byte stream of a component.
func (c *creation) stream(ctx context.Context, comp repo.Component, name string, src io.ReadCloser, cost *snapshot.Cost) (snapshot.Stream, error) {
	near, err := c.sketches.levelTwo(name, c.previousID(ctx, name))
	if err != nil {
		c.thriftless.Do(func() {
			c.warn(name, "this snapshot is larger than usual: the cache has no sketch of the last one: %v", plain(err))
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

// previousID returns the newest snapshot of the instance that this key made and that has a stream, or zero.
func (c *creation) previousID(ctx context.Context, stream string) store.Name {
	for _, ref := range slices.Backward(c.repo.Snapshots()) {
		if ref.Instance == c.inst.Domain && c.repo.IsOwn(ref) && hasStream(ctx, c.repo, &ref, stream) {
			return ref.ID
		}
	}
	return store.Name{}
}

// hasStream reports whether a snapshot has a stream, as far as can be told.
func hasStream(ctx context.Context, r *repo.Repo, ref *ledger.SnapshotRef, stream string) bool {
	h := &ref.Holding
	switch {
	case stream == "postgres":
		return h.Postgres.State == snapshot.Captured
	case h.Redis != snapshot.Failed:
		return h.Redis == snapshot.Captured
	}
	// The log does not say which of the servers failed.
	m, err := snapshot.Load(ctx, r, *ref)
	if err != nil {
		return false
	}
	for name, x := range m.Redises {
		if name == stream {
			return x.State == snapshot.Captured
		}
	}
	return false
}
