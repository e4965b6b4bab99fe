package restore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

// An Overwrite says what becomes of what is in the target already and differs from the snapshot.
type Overwrite string

// What becomes of it. "" is IfChanged, and no word that a directory may be written into which is not empty.
const (
	IfChanged Overwrite = "if-changed" // is replaced; media that have the snapshot's size and time are not read. The default
	Always    Overwrite = "always"     // is replaced; all media are read
	Never     Overwrite = "never"      // stays
)

// Options say what to restore, and where.
type Options struct {
	Target     string    // directory; made if it is absent
	Components []string  // of secrets, postgres, redis and media; none: all that the snapshot has
	Force      bool      // write into a directory that is not empty, or that seems to have too little space
	Overwrite  Overwrite // if it is given, a directory that is not empty is written into as well
	Delete     bool      // remove media that the snapshot does not have; as to the directory like Overwrite
	Include    []string  // patterns of media (see package media): nothing else is restored or removed; none: all
	Exclude    []string  // patterns of media that are neither restored nor removed
	NumericIDs bool      // owners of media by number, not by the names that they had
	TrustMedia bool      // media with what lends somebody's rights or leads out of them

	// Texts returns files that tell how to go on from what was restored. It may be nil.
	Texts func(*Restored) ([]TextFile, error)

	Preview  func(Planned)      // if it is given, it is told what would become of each file, and nothing is written
	Begin    func(resumed bool) // called before the first byte is written, once nothing is known to stand against that
	Progress snapshot.Progress
	Warn     func(error) // hears what goes wrong and ends nothing, one call at a time; errors.As finds a cause
}

// A Result counts what Restore wrote.
type Result struct {
	Manifest *snapshot.Manifest
	Owner    string             // the user who decides what is in the target, where that is not whoever restores
	Files    int64              // of the media, written now
	Bytes    int64              // of all components, written now
	Absent   []snapshot.Absence // what was wanted, and the snapshot does not have
	Lost     int                // media files that are damaged in the repository
	LostList []snapshot.LeftOut // the first of these

	KeptFiles   int64              // files of the media that were there already and stayed
	KeptBytes   int64              // of all components, that were there already and stayed
	Deleted     int64              // files of the media, directories too, that the snapshot does not have and were removed
	Refused     int                // files that the target did not take, or would not let go; each was told to Warn
	RefusedList []snapshot.LeftOut // the first of these
	Owners      []media.Owner      // of the media that belong to others than they should: who should have them
}

// maxListed is how many files each list of a Result names.
const maxListed = 100

// A restorer writes a snapshot into a directory.
type restorer struct {
	Options
	rd   stream.Blobs
	ref  ledger.SnapshotRef
	m    *snapshot.Manifest
	dir  targetDir
	size atomic.Int64 // bytes written
	kept atomic.Int64 // bytes that were there
	out  Result

	state     restoreState
	doubt     bool           // the machine has crashed since some files were written, perhaps before they were on disk
	mediaDir  *hostfs.Dir    // that is there; nil if none is
	choice    *choice.Choice // of media
	overwrite Overwrite
	mu        sync.Mutex // guards out, while components are restored side by side
}

// Restore writes a snapshot into a directory: env.production, secrets/, DATABASE.dump, redis-dump.rdb and
// public-system/, with SHA256SUMS over all but the media, and what Texts returns.
//
// Every byte is verified as it is written; a dump bears its name only once its SHA-256 is what it was. What is damaged
// in the repository does not keep the rest from being restored: it is left out, named, and an error at the end. What the
// target refuses is left out, named and counted.
//
// A restore that was interrupted is called again and goes on: what is there and whole stays, and a dump goes on behind the last
// chunk that verifies. The target says which snapshot it is of.
func Restore(ctx context.Context, r *repo.Repo, ref ledger.SnapshotRef, o Options) (*Result, error) {
	o.Warn = snapshot.OneByOne(o.Warn)
	o.Progress = cmp.Or[snapshot.Progress](o.Progress, snapshot.NoProgress{})
	want, err := wanted(o.Components)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.Load(ctx, r, ref)
	if err != nil {
		return nil, err
	}
	rd, err := snapshot.NewReader(ctx, r, ref.Instance)
	if err != nil {
		return nil, err
	}
	rs := &restorer{Options: o, rd: rd, ref: ref, m: m, out: Result{Manifest: m}}
	if err := rs.choose(r.Snapshots(), want); err != nil {
		return nil, err
	}
	if o.Delete {
		if err := checkDelete(&m.Media, want["media"]); err != nil {
			return nil, err
		}
	}
	defer rs.close()
	if err := rs.open(ctx, want); err != nil {
		return nil, err
	}
	if o.Preview != nil {
		err = rs.preview(ctx, want)
	} else {
		err = rs.write(ctx, want)
	}
	rs.out.Bytes, rs.out.KeptBytes = rs.size.Load(), rs.kept.Load()
	if err != nil {
		err = rs.explain(fmt.Errorf("restoring %s of %s: %w", m.Date, m.Instance, err))
	}
	return &rs.out, err
}

// write restores what is wanted, and notes in the target what it is of and whether all of it is there.
func (rs *restorer) write(ctx context.Context, want map[string]bool) error {
	if rs.Begin != nil {
		rs.Begin(rs.state.resumed)
	}
	if err := rs.note(want, false); err != nil {
		return err
	}
	if err := rs.run(ctx, want); err != nil {
		return err
	}
	return rs.note(want, true)
}

// wanted returns of each component whether it is wanted: those of names, or all where there are none.
func wanted(names []string) (map[string]bool, error) {
	want := make(map[string]bool)
	for _, c := range []string{"secrets", "postgres", "redis", "media"} {
		want[c] = len(names) == 0 || slices.Contains(names, c)
	}
	return want, snapshot.CheckComponents(names)
}

// choose takes out of want what the snapshot has nothing of. That is an error where it was asked for by name.
func (rs *restorer) choose(refs []ledger.SnapshotRef, want map[string]bool) error {
	for _, a := range rs.m.Absent() {
		component := a.Component()
		if !want[component] {
			continue
		}
		if !rs.m.Holds(component) {
			if len(rs.Components) > 0 {
				return rs.m.Lacks(refs, a.Part)
			}
			want[component] = false
		}
		rs.out.Absent = append(rs.out.Absent, a)
		rs.Warn(absence(rs.m, refs, &a))
	}
	return nil
}

// absence tells of a part that is not restored, and how to have it from another snapshot.
func absence(m *snapshot.Manifest, refs []ledger.SnapshotRef, a *snapshot.Absence) error {
	err := fmt.Errorf("this snapshot has no %s, or not all of it: %v", a.Part, a)
	if other, ok := m.Nearest(refs, a.Part); ok {
		return source.Because(CauseElsewhere, err, other.ID.Short(), other.Date, a.Component())
	}
	return err
}

// run restores the components that are wanted: the streams one after the other, the media beside them. Damage of one
// does not keep the others from it.
func (rs *restorer) run(ctx context.Context, want map[string]bool) error {
	g, gctx := errgroup.WithContext(ctx)
	var streams, tree []error
	g.Go(func() error {
		for _, c := range []component{{"secrets", rs.streams("secrets")}, {"redis", rs.streams("redis")}, {"postgres", rs.streams("postgres")}} {
			if err := rs.component(gctx, want, c, &streams); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error { return rs.component(gctx, want, component{"media", rs.media}, &tree) })
	if err := g.Wait(); err != nil {
		return hint.Join(append(slices.Concat(streams, tree), err)...)
	}
	damaged := slices.Concat(streams, tree)
	there := rs.state.with(want)
	return hint.Join(append(damaged, rs.texts(there)...)...)
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
	rs.Progress.Start(c.name, rs.m.Sizes()[c.name])
	err := c.restore(ctx)
	rs.Progress.Done(c.name)
	if err == nil {
		return nil
	}
	if err = fmt.Errorf("%s: %w", c.name, err); fault.IsDamage(err) {
		*damaged = append(*damaged, err)
		return nil
	}
	return err
}
