package keeper

import (
	"context"
	"fmt"
	"strings"
	"time"

	"permafrost/internal/hint"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/snapshot"
	"permafrost/snapshot/restore"
	"permafrost/snapshot/retain"
)

// RestoreOptions say what is restored, and how.
type RestoreOptions struct {
	Choice
	restore.Options      // Restore sets Plan, Begin, Progress and Warn
	DryRun          bool // tell of each file what would become of it, and change nothing
}

// Restore writes a snapshot into a directory. It takes the owner key. It tells when it begins to write ([Restoring]); of a dry run it
// tells of each file ([Planned]).
//
// Where all was restored that can be, the result is returned, beside an [AbsentError], a [RefusedError] or both. Other errors are those
// of [retain.Find] and [restore.Restore].
func Restore(ctx context.Context, r *repo.Repo, o RestoreOptions, news Observer) (*Restored, error) {
	wish := retain.Wish{Whole: len(o.Components) == 0}
	for _, c := range o.Components {
		wish.Components = append(wish.Components, retain.Component(c))
	}
	ref, err := o.pick(r, wish, news)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if o.DryRun {
		o.Preview = func(p restore.Planned) { news.Tell(Planned{p}) }
	}
	o.Begin = func(resumed bool) { news.Tell(Restoring{Snapshot: newSnapshot(&ref), Resumed: resumed}) }
	o.Progress = newMeter(news, nil)
	o.Warn = func(err error) { news.Found(finding(Notable, err)) }
	res, err := restore.Restore(ctx, r, ref, o.Options)
	if err != nil {
		return nil, err
	}
	done := restored(&o, res)
	if o.DryRun {
		return done, nil
	}
	done.Seconds = Seconds(time.Since(begin))
	return done, missing(res)
}

// restored returns the result of a restore as it is told.
func restored(o *RestoreOptions, res *restore.Result) *Restored {
	return &Restored{
		Owner: res.Owner, Target: o.Target, Files: res.Files, Bytes: res.Bytes, KeptFiles: res.KeptFiles, KeptBytes: res.KeptBytes,
		Deleted: res.Deleted, Refused: res.Refused, Owners: res.Owners, DryRun: o.DryRun,
	}
}

// missing returns what was wanted and is not in the target, or nil. What the settings had left out is not wanted.
func missing(res *restore.Result) error {
	var all []error
	absent := new(AbsentError)
	for _, a := range res.Absent {
		if a.State != snapshot.Skipped {
			absent.Parts = append(absent.Parts, a.Part)
		}
	}
	if len(absent.Parts) > 0 {
		all = append(all, absent)
	}
	if res.Refused > 0 {
		all = append(all, &RefusedError{res.Refused})
	}
	return hint.Join(all...)
}

// An AbsentError says that a restore lacks what the snapshot does not have, or not all of.
type AbsentError struct {
	Parts []string // as dump takes them
}

func (e *AbsentError) Error() string {
	return strings.Join(e.Parts, ", ") + " not restored, or not all of it: the snapshot does not have it"
}

// A RefusedError says that the target of a restore did not take some files.
type RefusedError struct {
	Count int // files
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the target refused %s, of which the first are named above", units.Plural(int64(e.Count), "file", "files"))
}
