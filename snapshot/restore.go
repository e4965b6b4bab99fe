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
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
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
	TrustMedia bool     // media with what lends somebody's rights or leads out of them

	Begin    func() // called before the first byte is written, once nothing is known to stand against that
	Progress Progress
	Warn     func(msg string)
}

// A RestoreResult counts what Restore wrote.
type RestoreResult struct {
	Manifest *Manifest
	Owner    string    // the user who decides what is in the target, where that is not whoever restores
	Files    int64     // of the media
	Bytes    int64     // of all components
	Absent   []Absence // what was wanted, and the snapshot does not have
	Lost     int       // media files that are damaged in the repository
	LostList []LeftOut // the first of these
}

// A restorer writes a snapshot into a directory.
type restorer struct {
	RestoreOptions
	rd   blobReader
	ref  repo.SnapshotRef
	m    *Manifest
	dir  *hostfs.Dir // Target; nothing is written but beneath it
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
	if err := rs.choose(r.Snapshots(), want); err != nil {
		return nil, err
	}
	if err := rs.open(ctx, want); err != nil {
		return nil, err
	}
	defer rs.dir.Close()
	if o.Begin != nil {
		o.Begin()
	}
	err = rs.run(ctx, want)
	rs.out.Bytes = rs.size.Load()
	if err != nil {
		err = rs.explain(fmt.Errorf("restoring %s of %s: %w", m.Date, m.Instance, err))
	}
	return &rs.out, err
}

// Load returns the manifest of a snapshot.
func Load(ctx context.Context, r *repo.Repo, ref repo.SnapshotRef) (*Manifest, error) {
	data, err := r.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	m, err := parseManifestOf(ref.Instance, data)
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
			return nil, fmt.Errorf("unknown component %q: there are secrets, postgres, redis and media", escape.Cut(n, 40))
		}
		if want[n] {
			return nil, fmt.Errorf("%s is named twice", n)
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

// choose takes out of want what the snapshot has nothing of. That is an error where it was asked for by name.
func (rs *restorer) choose(refs []repo.SnapshotRef, want map[string]bool) error {
	for _, a := range rs.m.Absent() {
		component := a.component()
		if !want[component] {
			continue
		}
		if !rs.m.holds(component) {
			if len(rs.Components) > 0 {
				return rs.m.Lacks(refs, a.Part)
			}
			want[component] = false
		}
		rs.out.Absent = append(rs.out.Absent, a)
		rs.Warn(rs.absence(refs, &a))
	}
	return nil
}

// absence tells of a part that is not restored, and how to have it from another snapshot.
func (rs *restorer) absence(refs []repo.SnapshotRef, a *Absence) string {
	text := fmt.Sprintf("this snapshot has no %s, or not all of it: %v", a.Part, a)
	if other, ok := nearest(refs, rs.m, a.Part); ok {
		text += fmt.Sprintf(". Snapshot %s of %s has it: permafrost restore -i RECOVERY-FILE --snapshot %[1]s --component %[3]s --target DIR", other.ID.Short(), other.Date, a.component())
	}
	return text
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
		return hint.Join(append(slices.Concat(streams, media), err)...)
	}
	damaged := slices.Concat(streams, media)
	if err := rs.small(sumsName, rs.sums.Bytes()); err != nil {
		damaged = append(damaged, err)
	}
	if err := rs.small(guideName, rs.page(want)); err != nil {
		damaged = append(damaged, err)
	}
	return hint.Join(damaged...)
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
		// What the file allowed to others on the host is for RESTORE.md's commands to give back, not for this directory.
		if err := rs.stream(ctx, repo.Secrets, "secrets", name, &f.Stream, func(file *os.File) error {
			return errors.Join(file.Chmod(fs.FileMode(f.Mode&0o700|0o400)), hostfs.SetMTime(file, f.MTime))
		}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
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
		if r.State != Captured {
			continue
		}
		if err := rs.stream(ctx, repo.Redis, "redis", file, &r.Stream, nil); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (rs *restorer) postgres(ctx context.Context) error {
	return rs.stream(ctx, repo.Postgres, "postgres", dumpName(rs.m), &rs.m.Postgres.Stream, nil)
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

// stream restores a stream to a file, which bears its name only once all of it is there and is what it was. Finish, if it is
// not nil, gives the file more than its content.
func (rs *restorer) stream(ctx context.Context, c repo.Component, component, name string, s *Stream, finish func(*os.File) error) error {
	var reading error
	err := rs.file(name, func(f *os.File) error {
		reading = copyStream(ctx, rs.rd, c, s, f, func(n int64) {
			rs.size.Add(n)
			rs.Progress.Add(component, 0, n)
		})
		if reading != nil || finish == nil {
			return reading
		}
		return finish(f)
	})
	if reading != nil {
		return reading
	}
	if err != nil {
		return &writeError{err}
	}
	fmt.Fprintf(&rs.sums, "%s\n", sumLine(s.SHA256, name))
	rs.Progress.Add(component, 1, 0)
	return nil
}

// file writes a file below the target, and the directories that it needs.
func (rs *restorer) file(name string, write func(*os.File) error) error {
	dir := rs.dir
	if below, base := path.Split(name); below != "" {
		var err error
		if dir, err = dir.Make(path.Clean(below)); err != nil {
			return err
		}
		defer dir.Close()
		name = base
	}
	return dir.Replace(name, write)
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
	err := rs.file(name, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return &writeError{err}
	}
	return nil
}
