package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

// A mediaRestore writes the media tree.
type mediaRestore struct {
	rd     stream.Blobs
	m      *snapshot.Manifest
	target *media.Target
	told   func(files, bytes int64) // what was written
	kept   func(files, bytes int64) // what was there
	lose   func(path string, err error)
	refuse func(path string, err error) // what the target does not take

	fresh     bool // nothing was there
	doubt     bool // what is there is read
	overwrite Overwrite
	choice    *choice.Choice
	old       []byte // memory to read files in that are there

	linked bool              // the listing has further names of files
	alone  map[string]string // where a file was restored to whose first name is not meant
	gone   map[string]bool   // files that are not there: whether they are lost, and not refused
	mu     sync.Mutex        // guards gone, and calls of lose
}

// media restores the media, or says where they are.
func (rs *restorer) media(ctx context.Context) error {
	if rs.m.Media.State != snapshot.Captured {
		return nil
	}
	target, fresh, err := rs.newTarget()
	if err != nil {
		return &writeError{fmt.Errorf("%s: %w", mediaDir, err)}
	}
	defer target.Close()
	mr := rs.newMedia(target, fresh)
	err = mr.run(ctx)
	for _, text := range rs.choice.Idle() {
		rs.Warn(errors.New(text + " matches nothing in the media of this snapshot"))
	}
	if err == nil && rs.Delete {
		err = rs.sweep(ctx, mr, false)
	}
	if err == nil {
		err = mr.finish(ctx)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.out.Owners = target.Owners()
	if err == nil && rs.out.Lost > 0 {
		err = &store.DamageError{Object: "media", Err: fmt.Errorf("%d files could not be restored", rs.out.Lost)}
	}
	return err
}

// newMedia returns a restore of the media into target, or of nothing at all where that is nil.
func (rs *restorer) newMedia(target *media.Target, fresh bool) *mediaRestore {
	add := func(files *int64, sum *atomic.Int64, f, b int64) {
		rs.mu.Lock()
		*files += f
		rs.mu.Unlock()
		sum.Add(b)
		rs.Progress.Add("media", f, b)
	}
	return &mediaRestore{rd: rs.rd, m: rs.m, target: target, fresh: fresh, doubt: rs.doubt, overwrite: rs.overwrite, choice: rs.choice,
		gone: make(map[string]bool), alone: make(map[string]string),
		told:   func(f, b int64) { add(&rs.out.Files, &rs.size, f, b) },
		kept:   func(f, b int64) { add(&rs.out.KeptFiles, &rs.kept, f, b) },
		refuse: func(path string, err error) { rs.refuse(mediaDir+"/"+path, err) },
		lose: func(path string, err error) {
			rs.mu.Lock()
			defer rs.mu.Unlock()
			rs.out.Lost++
			if len(rs.out.LostList) < maxListed {
				rs.out.LostList = append(rs.out.LostList, snapshot.LeftOut{Path: snapshot.Text(path), Reason: snapshot.Reason(err)})
			}
			rs.Warn(fmt.Errorf("%s could not be restored: %w", path, err))
		}}
}

// fillers is how many batches are filled at once, so that one's last blobs do not hold up the next.
const fillers = 2

// run plans batches on one side while on the other their content comes in. Links come when all of it is there.
func (mr *mediaRestore) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	batches := make(chan *batch)
	g.Go(func() error {
		defer close(batches)
		return mr.plan(gctx, batches)
	})
	for range fillers {
		g.Go(func() error {
			for b := range batches {
				if err := mr.fill(gctx, b); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if err == nil && mr.linked {
		err = mr.links(ctx)
	}
	return err
}

// finish gives the directories what they are like, the root the last, and waits until everything is on disk.
func (mr *mediaRestore) finish(ctx context.Context) error {
	if err := mr.finishDirs(ctx); err != nil {
		return err
	}
	if err := mr.target.Sync(); err != nil {
		return &writeError{err}
	}
	return nil
}

// plan walks the listing, makes what has no content, and sends batches of what has. A directory is made with the first
// that is in it, by whoever writes that; so only the empty ones are made here.
func (mr *mediaRestore) plan(ctx context.Context, batches chan<- *batch) error {
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
		return mr.settle(dir, mr.target.Dir(&dir.Entry))
	}
	for e, err := range snapshot.Entries(ctx, mr.rd, mr.m, ".") {
		if err == nil && dir != nil && !holds(dir.Path, e.Path) {
			err = empty()
		}
		dir = nil
		meant := err == nil && mr.choice.Has(e.Path, e.Type == source.Dir)
		if err == nil && (meant || e.Path == ".") {
			err = mr.place(ctx, b, e)
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
func (mr *mediaRestore) settle(e *snapshot.Entry, err error) error {
	switch {
	case err == nil:
		return nil
	case media.Refuses(err):
		mr.mu.Lock()
		defer mr.mu.Unlock()
		mr.forget(e, false)
		mr.refuse(e.Path, err)
		return nil
	}
	return &writeError{fmt.Errorf("%s: %w", e.Path, err)}
}

// place makes an entry, or adds it to the batch, unless it is there.
func (mr *mediaRestore) place(ctx context.Context, b *batch, e *snapshot.Entry) error {
	if e.Path == "." {
		if e.Type == source.Dir {
			mr.target.Own(&e.Entry)
		}
		return nil
	}
	if e.Type == source.Dir {
		return nil
	}
	if e.Link != "" {
		mr.linked = true
		return nil
	}
	stays, err := mr.stays(ctx, e)
	if err != nil || stays {
		return err
	}
	switch {
	case e.Type == source.Symlink:
		err = mr.target.Symlink(&e.Entry)
	case e.Type != source.File:
		err = mr.target.Special(&e.Entry)
	case e.Size == 0:
		mr.told(1, 0)
		err = mr.create(e)
	default:
		return b.add(ctx, e)
	}
	return mr.settle(e, err)
}

// create makes an empty file.
func (mr *mediaRestore) create(e *snapshot.Entry) error {
	f, err := mr.target.Create(&e.Entry)
	if err != nil {
		return err
	}
	return mr.target.Finish(f, &e.Entry)
}

// links makes the further names of files.
func (mr *mediaRestore) links(ctx context.Context) error {
	for e, err := range snapshot.Entries(ctx, mr.rd, mr.m, ".") {
		switch {
		case err != nil:
			return err
		case e.Link == "" || !mr.choice.Has(e.Path, false):
		default:
			if err := mr.link(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// errFirstRefused says why a further name is not made.
var errFirstRefused = errors.New("so was the file that it is a further name of")

// link makes a further name of a file. Where the first one is not meant, this one takes its place.
func (mr *mediaRestore) link(ctx context.Context, e *snapshot.Entry) error {
	first := e.Link
	if lost, gone := mr.gone[first]; lost {
		mr.lost(e, errors.New("the file that it is a further name of is lost"))
		return nil
	} else if gone {
		mr.refuse(e.Path, errFirstRefused)
		return nil
	}
	if !mr.choice.Has(first, false) {
		if first = mr.alone[e.Link]; first == "" {
			mr.alone[e.Link] = e.Path
			return mr.single(ctx, e)
		}
	}
	if mr.overwrite == Never && !mr.fresh {
		if is, err := mr.target.Look(&e.Entry); err == nil && is != media.Absent {
			mr.kept(1, 0)
			return nil
		}
	}
	there, err := mr.target.Link(&e.Entry, first)
	switch {
	case err != nil:
		return mr.settle(e, err)
	case there:
		mr.kept(1, 0)
	default:
		mr.told(1, 0)
	}
	return nil
}

// single restores a file under one of its further names.
func (mr *mediaRestore) single(ctx context.Context, e *snapshot.Entry) error {
	first, err := snapshot.LookUp(ctx, mr.rd, mr.m, e.Link)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !isDamaged(err), err == nil && (first.Type != source.File || first.Link != ""):
		mr.lost(e, errors.New("the file that it is a further name of is not in the snapshot"))
		return nil
	case err != nil:
		return err
	}
	alone := *first
	alone.Path = e.Path
	if stays, err := mr.stays(ctx, &alone); err != nil || stays {
		return err
	}
	return mr.large(ctx, &alone)
}

// dirs yields the directories that are meant, and those that hold something which is, but for the root.
func (mr *mediaRestore) dirs(ctx context.Context) iter.Seq2[*snapshot.Entry, error] {
	return func(yield func(*snapshot.Entry, error) bool) {
		var above []*snapshot.Entry // directories on the way that nothing is known to be meant in
		for e, err := range snapshot.Entries(ctx, mr.rd, mr.m, ".") {
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
			if !mr.choice.Has(e.Path, e.Type == source.Dir) {
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
func (mr *mediaRestore) finishDirs(ctx context.Context) error {
	const workers, run = 4, 64
	g, gctx := errgroup.WithContext(ctx)
	runs := make(chan []*snapshot.Entry, workers)
	for range workers {
		g.Go(func() error {
			for dirs := range runs {
				for _, e := range dirs {
					if err := mr.setDir(e); err != nil {
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
		for e, err := range mr.dirs(gctx) {
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
	root, err := snapshot.LookUp(ctx, mr.rd, mr.m, ".")
	switch {
	case errors.Is(err, fs.ErrNotExist) && !isDamaged(err):
		return nil
	case err != nil || root.Type != source.Dir:
		return err
	}
	return mr.setDir(root)
}

// setDir gives a directory its attributes. One that is not there was lost or refused with what is in it.
func (mr *mediaRestore) setDir(e *snapshot.Entry) error {
	err := mr.target.SetDir(&e.Entry)
	for _, absent := range []error{fs.ErrNotExist, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EINVAL, unix.EILSEQ} {
		if errors.Is(err, absent) {
			return nil
		}
	}
	return mr.settle(e, err)
}

// holds reports whether path lies below dir.
func holds(dir, path string) bool {
	return dir == "." || strings.HasPrefix(path, dir) && len(path) > len(dir) && path[len(dir)] == '/'
}
