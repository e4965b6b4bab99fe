package keeper

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"permafrost/internal/hint"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/snapshot/backup"
	"permafrost/snapshot/retain"
	"permafrost/source"
)

// TakeOptions say how a snapshot is made.
type TakeOptions struct {
	backup.Options               // Take sets Progress, Warn and Postgres.Warn
	Patience       time.Duration // how long others who are at work are waited for
}

// Take makes a snapshot of an instance. Where it is committed it is returned, beside the error that says what is wrong with it: an
// [IncompleteError], a [SuspectError], a [LeftOutError], or several joined. Other errors are those of [backup.Create].
func Take(ctx context.Context, r *repo.Repo, inst *source.Instance, o TakeOptions, news Observer) (*Taken, error) {
	begin := time.Now()
	o.Progress = newMeter(news, lastSizes(ctx, r, inst.Domain))
	o.Warn = func(err error) { news.Found(finding(Notable, err)) }
	o.Postgres.Warn = func(msg string) {
		news.Found(finding(Notable, &backup.PartError{Part: "postgres", Err: errors.New(msg)}))
	}
	var res *backup.Result
	err := patiently(ctx, o.Patience, news, func() (err error) {
		res, err = backup.Create(ctx, r, inst, o.Options)
		return err
	})
	if err != nil {
		return nil, err
	}
	log := r.Chronicle(res.Ref.Instance)
	verdict := retain.Judge(&log).Of(res.Ref.ID)
	taken := &Taken{
		Ref: res.Ref, Contents: res.Manifest, Snapshot: newSnapshot(&res.Ref), Doubts: Doubts(verdict), Seconds: Seconds(time.Since(begin)),
		Head: r.Head().String(),
	}
	return taken, wrong(res, verdict)
}

// lastSizes returns how large each component was in the instance's newest snapshot, as far as that can be told.
func lastSizes(ctx context.Context, r *repo.Repo, instance string) map[string]int64 {
	pick := Selection{Instance: instance}
	ref, err := retain.Find(pick.Of(r.Snapshots()), nil, "latest", retain.Wish{})
	if err != nil {
		return nil
	}
	m, err := snapshot.Load(ctx, r, ref.SnapshotRef)
	if err != nil {
		return nil // the first one, or one that can't be read: what comes of that is told elsewhere
	}
	sizes := map[string]int64{"postgres": m.Postgres.Size, "media": m.Media.Size}
	for name, rd := range m.Redises {
		sizes[name] = rd.Size
	}
	return sizes
}

// wrong returns what is wrong with a snapshot that was kept, or nil.
func wrong(res *backup.Result, v *retain.Verdict) error {
	var all []error
	if lacking := lacking(res); lacking != nil {
		all = append(all, lacking)
	}
	if suspect := Suspicion(&res.Ref, v); suspect != nil {
		all = append(all, suspect)
	}
	if n := res.Manifest.Media.LeftOut; n > 0 {
		all = append(all, &LeftOutError{res.Ref.ID, n})
	}
	return hint.Join(all...)
}

// An IncompleteError says that a snapshot was kept without components that failed, or with incomplete secrets.
type IncompleteError struct {
	Snapshot store.Name // the ID
	Failed   []string   // components
	Secrets  bool       // are incomplete
}

func (e *IncompleteError) Error() string {
	var texts []string
	if e.Secrets {
		texts = append(texts, "with incomplete secrets")
	}
	if len(e.Failed) > 0 {
		texts = append(texts, "without "+strings.Join(e.Failed, ", ")+", which failed")
	}
	return fmt.Sprintf("snapshot %s is kept %s", e.Snapshot.Short(), strings.Join(texts, " and "))
}

// lacking names the components which failed or are incomplete; nil where there is none.
func lacking(res *backup.Result) *IncompleteError {
	if len(res.Failures) == 0 {
		return nil
	}
	secrets := res.Manifest.Secrets.State
	e := &IncompleteError{Snapshot: res.Ref.ID, Secrets: secrets == snapshot.Incomplete}
	for _, f := range res.Failures {
		if f.Part != "secrets" || secrets == snapshot.Failed {
			e.Failed = append(e.Failed, f.Part)
		}
	}
	return e
}

// A LeftOutError says that a snapshot was kept without some media that could not be read.
type LeftOutError struct {
	Snapshot store.Name // the ID
	Count    int        // files, directories and links
}

func (e *LeftOutError) Error() string {
	return fmt.Sprintf("snapshot %s is kept without %s; the warnings above name them", e.Snapshot.Short(),
		units.Plural(int64(e.Count), "file, directory or link of the media", "files, directories or links of the media"))
}
