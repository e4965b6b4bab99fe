package tree

import (
	"context"
	"iter"

	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

// A fate is what becomes of an entry's path in the target.
type fate int

const (
	written fate = iota // the entry is put there
	kept                // what is there stays
	adopted             // what is there has the content, and gets the attributes
)

// fate says what becomes of an entry that is no directory and no further name.
func (t *Tree) fate(ctx context.Context, e *snapshot.Entry) (fate, error) {
	if t.Fresh {
		return written, nil
	}
	is, err := t.Target.Look(&e.Entry)
	switch {
	case err != nil:
		return kept, fault.OfTarget(err)
	case is == media.Absent:
		return written, nil
	case t.Keep:
		return kept, nil
	case is == media.Other:
		return written, nil
	case e.Type != source.File, e.Size == 0, is == media.Same && !t.Read:
		if is == media.Same {
			return kept, nil
		}
		return written, nil
	}
	// Size and time may be those of another file: what is in it decides.
	same, err := t.read(ctx, e, nil)
	switch {
	case err != nil || !same:
		return written, err
	case is == media.Same:
		return kept, nil
	}
	return adopted, nil
}

// read reports whether the file that is there has an entry's content, and copies that to to, unless that is nil.
func (t *Tree) read(ctx context.Context, e *snapshot.Entry, to *media.TargetFile) (bool, error) {
	f, err := t.Target.Open(&e.Entry)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	if to == nil {
		return t.old.Matches(ctx, f, e, nil)
	}
	return t.old.Matches(ctx, f, e, to)
}

// stays reports whether nothing is to be fetched for an entry: what is there stays, or is adopted, or the target refuses it.
func (t *Tree) stays(ctx context.Context, e *snapshot.Entry) (bool, error) {
	f, err := t.fate(ctx, e)
	switch {
	case fault.IsOfTarget(err):
		return true, t.settle(e, err)
	case err != nil || f == written:
		return false, err
	case f == adopted:
		if done, err := t.adopt(ctx, e); err != nil || !done {
			return err != nil, err
		}
	}
	if e.Type == source.File {
		t.News.Kept(1, e.Size)
	}
	return true, nil
}

// adopt gives a file that is there an entry's attributes, or puts a copy of it in its place. It reports whether it could.
func (t *Tree) adopt(ctx context.Context, e *snapshot.Entry) (bool, error) {
	f, err := t.Target.Open(&e.Entry)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	done, err := t.Target.Adopt(f, &e.Entry)
	if err != nil || done {
		return err == nil, nil
	}
	to, err := t.Target.Create(&e.Entry)
	if err != nil {
		return false, nil // who writes it meets that too
	}
	if same, err := t.read(ctx, e, to); err != nil || !same {
		t.Target.Discard(to)
		return false, err
	}
	return t.Target.Finish(to, &e.Entry) == nil, nil
}

// Sweep removes what is there, how selects, and the snapshot does not have.
func (t *Tree) Sweep(ctx context.Context, how media.Sweep) error {
	return t.Target.Sweep(ctx, entries(ctx, t.Blobs, t.Manifest), how)
}

// entries yields a snapshot's listing as a Target reads it.
func entries(ctx context.Context, rd stream.Blobs, m *snapshot.Manifest) iter.Seq2[*source.Entry, error] {
	return func(yield func(*source.Entry, error) bool) {
		for e, err := range snapshot.Entries(ctx, rd, m, ".") {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&e.Entry, nil) {
				return
			}
		}
	}
}
