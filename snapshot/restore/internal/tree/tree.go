// Package tree writes the media of a snapshot into a directory that may hold some of them.
//
// Files come in batches, whose blobs are fetched together and go to their places as they come. What is there and right stays. One file
// that is damaged in the repository, or that the target does not take, is told to the [Observer] and keeps none of the others out.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/restore/internal/resume"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

// Options say what is written, and where.
type Options struct {
	Blobs    stream.Blobs
	Manifest *snapshot.Manifest
	Choice   *choice.Choice // of what is meant
	Target   *media.Target  // nil for a preview where there is no directory
	Fresh    bool           // nothing was there
	Keep     bool           // what is there stays, though it differs
	Read     bool           // what is there is read, though it has the right size and time
	News     Observer
}

// An Observer hears what becomes of files. Lost and Refused are called one at a time, the others at any time.
type Observer interface {
	Wrote(files, bytes int64)
	Kept(files, bytes int64) // what was there and is right, or stays all the same
	Lost(path string, err error)
	Refused(path string, err error) // the target does not take it
}

// A Tree is the media of a snapshot on their way into a directory.
type Tree struct {
	Options
	old resume.Checker

	linked bool              // the listing has further names of files
	alone  map[string]string // where a file was restored to whose first name is not meant
	gone   map[string]bool   // files that are not there: whether they are lost, and not refused
	mu     sync.Mutex        // guards gone, and calls of News.Lost and News.Refused
}

// New returns a Tree of which nothing is written yet.
func New(o Options) *Tree {
	return &Tree{Options: o, old: resume.Checker{Blobs: o.Blobs}, gone: make(map[string]bool), alone: make(map[string]string)}
}

// fillers is how many batches are filled at once, so that one's last blobs do not hold up the next.
const fillers = 2

// Write writes what is missing or differs. It plans batches on one side while on the other their content comes in. Links come when all
// of it is there.
func (t *Tree) Write(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	batches := make(chan *batch)
	g.Go(func() error {
		defer close(batches)
		return t.plan(gctx, batches)
	})
	for range fillers {
		g.Go(func() error {
			for b := range batches {
				if err := t.fill(gctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if err == nil && t.linked {
		err = t.links(ctx)
	}
	return err
}

// Finish gives the directories what they are like, the root the last, and waits until everything is on disk.
func (t *Tree) Finish(ctx context.Context) error {
	if err := t.finishDirs(ctx); err != nil {
		return err
	}
	if err := t.Target.Sync(); err != nil {
		return fault.OfTarget(err)
	}
	return nil
}

// plan walks the listing, makes what has no content, and sends batches of what has. A directory is made with the first
// that is in it, by whoever writes that; so only the empty ones are made here.
func (t *Tree) plan(ctx context.Context, batches chan<- *batch) error {
	b := newBatch()
	flush := func() error {
		select {
		case batches <- b:
			b = newBatch()
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var dir *snapshot.Entry // the entry before, if it is a directory
	empty := func() error {
		if dir == nil {
			return nil
		}
		return t.settle(dir, t.Target.Dir(&dir.Entry))
	}
	for e, err := range snapshot.Entries(ctx, t.Blobs, t.Manifest, ".") {
		if err == nil && dir != nil && !holds(dir.Path, e.Path) {
			err = empty()
		}
		dir = nil
		meant := err == nil && t.Choice.Has(e.Path, e.Type == source.Dir)
		if err == nil && (meant || e.Path == ".") {
			err = t.place(ctx, b, e)
		}
		if err == nil && b.full() {
			err = flush()
		}
		if err != nil {
			return err
		}
		if e.Type == source.Dir && meant {
			dir = e
		}
	}
	if err := empty(); err != nil {
		return err
	}
	return flush()
}

// settle takes the error of writing an entry: what the target refuses is noted, and no error.
func (t *Tree) settle(e *snapshot.Entry, err error) error {
	switch {
	case err == nil:
		return nil
	case media.Refuses(err):
		t.mu.Lock()
		defer t.mu.Unlock()
		t.forget(e, false)
		t.News.Refused(e.Path, err)
		return nil
	}
	return fault.OfTarget(fmt.Errorf("%s: %w", e.Path, err))
}

// place makes an entry, or adds it to the batch, unless it is there.
func (t *Tree) place(ctx context.Context, b *batch, e *snapshot.Entry) error {
	if e.Path == "." {
		if e.Type == source.Dir {
			t.Target.Own(&e.Entry)
		}
		return nil
	}
	if e.Type == source.Dir {
		return nil
	}
	if e.Link != "" {
		t.linked = true
		return nil
	}
	stays, err := t.stays(ctx, e)
	if err != nil || stays {
		return err
	}
	switch {
	case e.Type == source.Symlink:
		err = t.Target.Symlink(&e.Entry)
	case e.Type != source.File:
		err = t.Target.Special(&e.Entry)
	case e.Size == 0:
		t.News.Wrote(1, 0)
		err = create(t.Target, e)
	default:
		return b.add(ctx, e)
	}
	return t.settle(e, err)
}

// create makes an empty file.
func create(target *media.Target, e *snapshot.Entry) error {
	f, err := target.Create(&e.Entry)
	if err != nil {
		return err
	}
	return target.Finish(f, &e.Entry)
}

// links makes the further names of files.
func (t *Tree) links(ctx context.Context) error {
	for e, err := range snapshot.Entries(ctx, t.Blobs, t.Manifest, ".") {
		switch {
		case err != nil:
			return err
		case e.Link == "" || !t.Choice.Has(e.Path, false):
		default:
			if err := t.link(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// errFirstRefused says why a further name is not made.
var errFirstRefused = errors.New("so was the file that it is a further name of")

// link makes a further name of a file. Where the first one is not meant, this one takes its place.
func (t *Tree) link(ctx context.Context, e *snapshot.Entry) error {
	first := e.Link
	if lost, gone := t.gone[first]; lost {
		t.lost(e, errors.New("the file that it is a further name of is lost"))
		return nil
	} else if gone {
		t.News.Refused(e.Path, errFirstRefused)
		return nil
	}
	if !t.Choice.Has(first, false) {
		if first = t.alone[e.Link]; first == "" {
			t.alone[e.Link] = e.Path
			return t.single(ctx, e)
		}
	}
	if t.Keep && !t.Fresh {
		if is, err := t.Target.Look(&e.Entry); err == nil && is != media.Absent {
			t.News.Kept(1, 0)
			return nil
		}
	}
	there, err := t.Target.Link(&e.Entry, first)
	switch {
	case err != nil:
		return t.settle(e, err)
	case there:
		t.News.Kept(1, 0)
	default:
		t.News.Wrote(1, 0)
	}
	return nil
}

// single restores a file under one of its further names.
func (t *Tree) single(ctx context.Context, e *snapshot.Entry) error {
	first, err := snapshot.LookUp(ctx, t.Blobs, t.Manifest, e.Link)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !fault.IsDamage(err), err == nil && (first.Type != source.File || first.Link != ""):
		t.lost(e, errors.New("the file that it is a further name of is not in the snapshot"))
		return nil
	case err != nil:
		return err
	}
	alone := *first
	alone.Path = e.Path
	if stays, err := t.stays(ctx, &alone); err != nil || stays {
		return err
	}
	return t.large(ctx, &alone)
}

// dirs yields the directories that are meant, and those that hold something which is, but for the root.
func (t *Tree) dirs(ctx context.Context) iter.Seq2[*snapshot.Entry, error] {
	return func(yield func(*snapshot.Entry, error) bool) {
		var above []*snapshot.Entry // directories on the way that nothing is known to be meant in
		for e, err := range snapshot.Entries(ctx, t.Blobs, t.Manifest, ".") {
			if err != nil {
				yield(nil, err)
				return
			}
			for len(above) > 0 && !holds(above[len(above)-1].Path, e.Path) {
				above = above[:len(above)-1]
			}
			if e.Path == "." {
				continue
			}
			if e.Type == source.Dir {
				above = append(above, e)
			}
			if !t.Choice.Has(e.Path, e.Type == source.Dir) {
				continue
			}
			for _, dir := range above {
				if !yield(dir, nil) {
					return
				}
			}
			above = above[:0]
		}
	}
}

// finishDirs gives the directories their attributes, several at once, when nothing is added to any of them.
func (t *Tree) finishDirs(ctx context.Context) error {
	const workers, run = 4, 64
	g, gctx := errgroup.WithContext(ctx)
	runs := make(chan []*snapshot.Entry, workers)
	for range workers {
		g.Go(func() error {
			for dirs := range runs {
				for _, e := range dirs {
					if err := t.setDir(e); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(runs)
		var dirs []*snapshot.Entry
		flush := func() error {
			select {
			case runs <- dirs:
				dirs = nil
				return nil
			case <-gctx.Done():
				return context.Cause(gctx)
			}
		}
		for e, err := range t.dirs(gctx) {
			if err != nil {
				return err
			}
			if dirs = append(dirs, e); len(dirs) == run {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return flush()
	})
	if err := g.Wait(); err != nil {
		return err
	}
	// Until now root has kept everybody else out: so what lies below can't have been meddled with.
	root, err := snapshot.LookUp(ctx, t.Blobs, t.Manifest, ".")
	switch {
	case errors.Is(err, fs.ErrNotExist) && !fault.IsDamage(err):
		return nil
	case err != nil || root.Type != source.Dir:
		return err
	}
	return t.setDir(root)
}

// setDir gives a directory its attributes. One that is not there was lost or refused with what is in it.
func (t *Tree) setDir(e *snapshot.Entry) error {
	err := t.Target.SetDir(&e.Entry)
	for _, absent := range []error{fs.ErrNotExist, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EINVAL, unix.EILSEQ} {
		if errors.Is(err, absent) {
			return nil
		}
	}
	return t.settle(e, err)
}

// holds reports whether path lies below dir.
func holds(dir, path string) bool {
	return dir == "." || strings.HasPrefix(path, dir) && len(path) > len(dir) && path[len(dir)] == '/'
}
