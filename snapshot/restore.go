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
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"permafrost/internal/durable"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/repo"
)

// The names of what Restore writes.
const (
	envName     = "env.production"
	secretsDir  = "secrets"
	mediaDir    = "public-system"
	redisName   = "redis-dump.rdb"
	sidekiqName = "sidekiq-redis-dump.rdb"
	sumsName    = "SHA256SUMS"
	guideName   = "RESTORE.md"
)

// RestoreOptions say what to restore, and where.
type RestoreOptions struct {
	Target     string   // directory; made if it is absent
	Components []string // of secrets, postgres, redis and media; none: all that the snapshot has
	Force      bool     // write into a directory that is not empty
	NumericIDs bool     // owners of media by number, not by the names that they had

	Begin    func() // called before the first byte is written, once nothing is known to stand against that
	Progress Progress
	Warn     func(msg string)
}

// A RestoreResult counts what Restore wrote.
type RestoreResult struct {
	Manifest *Manifest
	Files    int64     // of the media
	Bytes    int64     // of all components
	Lost     int       // media files that are damaged in the repository
	LostList []LeftOut // the first of these
}

// A restorer writes a snapshot into a directory.
type restorer struct {
	RestoreOptions
	rd   blobReader
	ref  repo.SnapshotRef
	m    *Manifest
	root *os.Root
	sums bytes.Buffer
	size atomic.Int64 // bytes written
	out  RestoreResult
}

// Restore writes a snapshot into a directory: env.production, secrets/, DATABASE.dump, redis-dump.rdb and
// public-system/, with SHA256SUMS over all but the media, and RESTORE.md, which says how to go on.
//
// Every byte is verified as it is written; a dump bears its name only once its SHA-256 is what it was. What is damaged
// in the repository does not keep the rest from being restored: it is left out, named, and an error at the end.
func Restore(ctx context.Context, r *repo.Repo, ref repo.SnapshotRef, o RestoreOptions) (*RestoreResult, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	o.Progress = orNoProgress(o.Progress)
	want, err := chooseComponents(o.Components)
	if err != nil {
		return nil, err
	}
	m, err := Load(ctx, r, ref)
	if err != nil {
		return nil, err
	}
	rd, err := newReader(ctx, r, ref.Instance)
	if err != nil {
		return nil, err
	}
	rs := &restorer{RestoreOptions: o, rd: rd, ref: ref, m: m, out: RestoreResult{Manifest: m}}
	if err := rs.open(want); err != nil {
		return nil, err
	}
	defer rs.root.Close()
	if o.Begin != nil {
		o.Begin()
	}
	err = rs.run(ctx, want)
	rs.out.Bytes = rs.size.Load()
	if err != nil {
		err = fmt.Errorf("restoring %s of %s: %w", m.Date, m.Instance, err)
	}
	return &rs.out, err
}

// Load returns the manifest of a snapshot.
func Load(ctx context.Context, r *repo.Repo, ref repo.SnapshotRef) (*Manifest, error) {
	data, err := r.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	return m, new(watched).blame("manifest", err)
}

// CheckComponents returns an error where one of the names is none of a component.
func CheckComponents(names []string) error {
	_, err := chooseComponents(names)
	return err
}

// chooseComponents returns the components that names name.
func chooseComponents(names []string) (map[string]bool, error) {
	want := map[string]bool{"secrets": false, "postgres": false, "redis": false, "media": false}
	for _, n := range names {
		if _, ok := want[n]; !ok {
			return nil, fmt.Errorf("unknown component %q: there are secrets, postgres, redis and media", n)
		}
		want[n] = true
	}
	if len(names) == 0 {
		for n := range want {
			want[n] = true
		}
	}
	return want, nil
}

// open makes the target directory ready: empty, unless forced, and on a disk with room.
func (rs *restorer) open(want map[string]bool) error {
	if rs.Target == "" {
		return errors.New("no target directory")
	}
	if err := durable.MkdirAll(rs.Target, 0o700); err != nil {
		return fmt.Errorf("making the target directory: %w", err)
	}
	root, err := os.OpenRoot(rs.Target)
	if err != nil {
		return fmt.Errorf("opening the target directory: %w", err)
	}
	rs.root = root
	if err := rs.checkTarget(want); err != nil {
		root.Close()
		return err
	}
	return nil
}

func (rs *restorer) checkTarget(want map[string]bool) error {
	d, err := rs.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); err != io.EOF && !rs.Force {
		return hint.Wrap(fmt.Errorf("%s is not empty", rs.Target), "name a directory that does not exist yet, or use --force to write into this one")
	}
	if want["media"] {
		if names, err := fs.ReadDir(rs.root.FS(), mediaDir); err == nil && len(names) > 0 {
			return hint.Wrap(fmt.Errorf("%s holds %s already", rs.Target, mediaDir), "move it away, or leave the media out with --component")
		}
	}
	need := int64(0)
	for name, size := range rs.m.sizes() {
		if want[name] {
			need += size
		}
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		return nil // nobody knows
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return hint.Wrap(fmt.Errorf("%s has %d MiB free, and the snapshot needs %d MiB", rs.Target, free>>20, need>>20), "choose another --target, or single parts with --component")
	}
	return nil
}

// sizes returns the bytes of each component.
func (m *Manifest) sizes() map[string]int64 {
	s := map[string]int64{"postgres": m.Postgres.Size, "media": m.Media.Size}
	for _, f := range m.Secrets.Files {
		s["secrets"] += f.Size
	}
	for _, r := range m.Redises {
		s["redis"] += r.Size
	}
	return s
}

// run restores the components that are wanted: the streams one after the other, the media beside them. Damage of one
// does not keep the others from it.
func (rs *restorer) run(ctx context.Context, want map[string]bool) error {
	g, gctx := errgroup.WithContext(ctx)
	var streams, media []error
	g.Go(func() error {
		for _, c := range []component{{"secrets", rs.secrets}, {"redis", rs.redis}, {"postgres", rs.postgres}} {
			if err := rs.component(gctx, want, c, &streams); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error { return rs.component(gctx, want, component{"media", rs.media}, &media) })
	if err := g.Wait(); err != nil {
		return errors.Join(append(slices.Concat(streams, media), err)...)
	}
	damaged := slices.Concat(streams, media)
	if err := rs.small(sumsName, rs.sums.Bytes()); err != nil {
		damaged = append(damaged, err)
	}
	if err := rs.small(guideName, rs.guide(want)); err != nil {
		damaged = append(damaged, err)
	}
	if err := durable.SyncDir(rs.Target); err != nil {
		damaged = append(damaged, err)
	}
	return errors.Join(damaged...)
}

// A component is a part of a snapshot and what restores it.
type component struct {
	name    string
	restore func(context.Context) error
}

// component restores one component if it is wanted. Damage is added to damaged; any other error is returned.
func (rs *restorer) component(ctx context.Context, want map[string]bool, c component, damaged *[]error) error {
	if !want[c.name] {
		return nil
	}
	rs.Progress.Start(c.name, rs.m.sizes()[c.name])
	err := c.restore(ctx)
	rs.Progress.Done(c.name)
	if err == nil {
		return nil
	}
	if err = fmt.Errorf("%s: %w", c.name, err); isDamage(err) {
		*damaged = append(*damaged, err)
		return nil
	}
	return err
}

// isDamage reports whether err is the fault of single objects of the repository, so that others may be sound.
func isDamage(err error) bool {
	var damage *repo.DamageError
	var local *writeError
	return errors.As(err, &damage) && !errors.As(err, &local) && !errors.Is(err, repo.ErrNewerFormat)
}

func (rs *restorer) secrets(ctx context.Context) error {
	for i := range rs.m.Secrets.Files {
		f := &rs.m.Secrets.Files[i]
		name := secretName(i, f)
		if dir := path.Dir(name); dir != "." {
			if err := rs.root.MkdirAll(dir, 0o700); err != nil {
				return &writeError{err}
			}
		}
		// What the file allowed to others on the host is for RESTORE.md's commands to give back, not for this directory.
		if err := rs.stream(ctx, repo.Secrets, "secrets", name, &f.Stream, fs.FileMode(f.Mode&0o700|0o400)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		t := time.Unix(0, f.MTime)
		if err := rs.root.Chtimes(name, t, t); err != nil {
			return &writeError{err}
		}
	}
	return nil
}

// secretName returns where file number i of the secrets is restored to.
func secretName(i int, f *SecretFile) string {
	if i == 0 {
		return envName
	}
	return secretsDir + string(f.Path)
}

func (rs *restorer) redis(ctx context.Context) error {
	for name, r := range rs.m.Redises {
		file := redisName
		if name == "sidekiq" {
			file = sidekiqName
		}
		if err := rs.stream(ctx, repo.Redis, "redis", file, &r.Stream, 0o600); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (rs *restorer) postgres(ctx context.Context) error {
	return rs.stream(ctx, repo.Postgres, "postgres", dumpName(rs.m), &rs.m.Postgres.Stream, 0o600)
}

// dumpName returns the name of the database's dump: the database's own, as far as it makes a file name.
func dumpName(m *Manifest) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || !escape.Visible(string(r)) {
			return '_'
		}
		return r
	}, m.Postgres.Database)
	if name == "" || name[0] == '.' || len(name) > 200 {
		name = "database"
	}
	return name + ".dump"
}

// stream restores a stream to a file, which bears its name only once all of it is there and is what it was.
func (rs *restorer) stream(ctx context.Context, c repo.Component, component, name string, s *Stream, perm fs.FileMode) (err error) {
	part := name + ".partial"
	if err := rs.root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &writeError{err}
	}
	f, err := rs.root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return &writeError{err}
	}
	defer func() {
		f.Close()
		if err != nil {
			rs.root.Remove(part)
		}
	}()
	if err := copyStream(ctx, rs.rd, c, s, f, func(n int64) {
		rs.size.Add(n)
		rs.Progress.Add(component, 0, n)
	}); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(perm), f.Sync(), f.Close(), rs.root.Rename(part, name)); err != nil {
		return &writeError{err}
	}
	fmt.Fprintf(&rs.sums, "%s\n", sumLine(s.SHA256, name))
	rs.Progress.Add(component, 1, 0)
	return nil
}

// copyStream writes a stream to w. An error says so if what was written is not, in the end, what the source gave.
func copyStream(ctx context.Context, rd blobReader, c repo.Component, s *Stream, w io.Writer, told func(int64)) error {
	h := sha256.New()
	if err := writeStream(ctx, rd, c, &s.Recipe, io.MultiWriter(w, h), told); err != nil {
		return err
	}
	if sum := SHA256(h.Sum(nil)); sum != s.SHA256 {
		return &repo.DamageError{Object: "stream", Err: fmt.Errorf("its SHA-256 is %v, and was %v", sum, s.SHA256)}
	}
	return nil
}

// sumLine returns a line that sha256sum -c reads: names with a backslash or a newline are escaped, and marked so.
func sumLine(sum SHA256, name string) string {
	if escaped := strings.NewReplacer("\\", "\\\\", "\n", "\\n", "\r", "\\r").Replace(name); escaped != name {
		return "\\" + sum.String() + "  " + escaped
	}
	return sum.String() + "  " + name
}

// small writes a file of this program's own.
func (rs *restorer) small(name string, data []byte) error {
	if err := durable.WriteFile(filepath.Join(rs.Target, name), data, 0o600); err != nil {
		return &writeError{err}
	}
	return nil
}
