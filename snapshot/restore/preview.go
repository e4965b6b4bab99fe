package restore

import (
	"context"

	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
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
	var target *media.Target
	fresh := true
	if rs.mediaDir != nil {
		var err error
		if target, fresh, err = rs.newTarget(); err != nil {
			return fault.OfTarget(err)
		}
		defer target.Close()
	}
	t := rs.tree(target, fresh)
	err := t.Preview(ctx, func(e *snapshot.Entry, stays bool) { rs.tell(stays, mediaDir+"/"+e.Path, e.Size) })
	if err == nil && rs.Delete && !fresh {
		err = rs.sweep(ctx, t)
	}
	return err
}

// tell tells of one file.
func (rs *restorer) tell(stays bool, name string, size int64) {
	p := Planned{WouldWrite, snapshot.Text(name), size}
	if stays {
		p.Action = WouldKeep
	}
	rs.Preview(p)
}
