package restore

import (
	"context"
	"errors"

	"permafrost/snapshot"
	"permafrost/source"
	"permafrost/source/media"
)

// An Action is what a restore would do with a file.
type Action string

// What a restore would do.
const (
	WouldWrite  Action = "write"  // it is missing, or is replaced
	WouldKeep   Action = "keep"   // what is there stays
	WouldDelete Action = "delete" // the snapshot does not have it
)

// A Planned says what a restore would do with a file of its target.
type Planned struct {
	Action Action        `json:"action"`
	Path   snapshot.Text `json:"path"`           // below the target
	Size   int64         `json:"size,omitempty"` // bytes of a file that would be written or kept
}

// preview tells what a restore would do, and writes nothing.
func (rs *restorer) preview(ctx context.Context, want map[string]bool) error {
	for _, s := range streamsOf(rs.m, want) {
		stays, err := rs.stays(ctx, &s)
		if err != nil {
			return err
		}
		if !stays {
			rs.size.Add(s.Size)
		}
		rs.tell(stays, s.name, s.Size)
	}
	if !want["media"] || rs.m.Media.State != snapshot.Captured {
		return nil
	}
	mr := rs.newMedia(nil, true)
	if rs.mediaDir != nil {
		target, fresh, err := rs.newTarget()
		if err != nil {
			return &writeError{err}
		}
		defer target.Close()
		mr.target, mr.fresh = target, fresh
	}
	for e, err := range snapshot.Entries(ctx, rs.rd, rs.m, ".") {
		switch {
		case err != nil:
			return err
		case e.Path == "." && e.Type == source.Dir && mr.target != nil:
			mr.target.Own(&e.Entry)
		}
		if e.Type == source.Dir || !rs.choice.Has(e.Path, false) {
			continue
		}
		if err := rs.foresee(ctx, mr, e); err != nil {
			return err
		}
	}
	if rs.Delete && !mr.fresh {
		return rs.sweep(ctx, mr, true)
	}
	return nil
}

// foresee tells what would become of an entry of the media.
func (rs *restorer) foresee(ctx context.Context, mr *mediaRestore, e *snapshot.Entry) error {
	stays := false
	if e.Link != "" {
		is := media.Absent
		if !mr.fresh {
			is, _ = mr.target.Look(&e.Entry)
		}
		stays = is == media.Same || is != media.Absent && mr.overwrite == Never
	} else {
		f, err := mr.fate(ctx, e)
		var local *writeError
		if errors.As(err, &local) {
			return mr.settle(e, err)
		}
		if err != nil {
			return err
		}
		stays = f != written
	}
	if stays {
		mr.kept(1, e.Size)
	} else {
		mr.told(1, e.Size)
	}
	rs.tell(stays, mediaDir+"/"+e.Path, e.Size)
	return nil
}

// tell tells of one file.
func (rs *restorer) tell(stays bool, name string, size int64) {
	p := Planned{WouldWrite, snapshot.Text(name), size}
	if stays {
		p.Action = WouldKeep
	}
	rs.Plan(p)
}
