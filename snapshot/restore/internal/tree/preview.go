package tree

import (
	"context"

	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/source"
	"permafrost/source/media"
)

// Preview tells what Write would do with each file, and writes nothing.
func (t *Tree) Preview(ctx context.Context, tell func(e *snapshot.Entry, stays bool)) error {
	for e, err := range snapshot.Entries(ctx, t.Blobs, t.Manifest, ".") {
		switch {
		case err != nil:
			return err
		case e.Path == "." && e.Type == source.Dir && t.Target != nil:
			t.Target.Own(&e.Entry)
		}
		if e.Type == source.Dir || !t.Choice.Has(e.Path, false) {
			continue
		}
		stays, err := t.foresee(ctx, e)
		if fault.IsOfTarget(err) {
			if err := t.settle(e, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if stays {
			t.News.Kept(1, e.Size)
		} else {
			t.News.Wrote(1, e.Size)
		}
		tell(e, stays)
	}
	return nil
}

// foresee reports whether what is in an entry's place would stay.
func (t *Tree) foresee(ctx context.Context, e *snapshot.Entry) (stays bool, err error) {
	if e.Link == "" {
		f, err := t.fate(ctx, e)
		return f != written, err
	}
	is := media.Absent
	if !t.Fresh {
		is, _ = t.Target.Look(&e.Entry)
	}
	return is == media.Same || is != media.Absent && t.Keep, nil
}
