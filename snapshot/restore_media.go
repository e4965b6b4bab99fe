package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"permafrost/repo"
	"permafrost/source"
	"permafrost/source/media"
)

// A mediaRestore writes the media tree.
type mediaRestore struct {
	rd     blobReader
	m      *Media
	target *media.Target
	told   func(files, bytes int64)
	lose   func(path string, err error)
	linked bool            // the listing has further names of files
	gone   map[string]bool // first names of hard links that are lost
	mu     sync.Mutex      // guards gone, and calls of lose
}

// media restores the media, or says where they are.
func (rs *restorer) media(ctx context.Context) (err error) {
	if rs.m.Media.State != Captured {
		return nil
	}
	dir, err := rs.dir.Make(mediaDir)
	if err != nil {
		return &writeError{err}
	}
	if err := mustBeEmpty(dir); err != nil {
		dir.Close()
		return &writeError{fmt.Errorf("%s: %w", mediaDir, err)}
	}
	target := media.NewTarget(dir, media.TargetOptions{NumericIDs: rs.NumericIDs, Users: rs.m.Users, Groups: rs.m.Groups,
		Owner: rs.m.User, Trusted: rs.TrustMedia,
		Warn: func(path string, err error) { rs.Warn(fmt.Sprintf("%s: %v", path, err)) }})
	defer target.Close()
	var files atomic.Int64
	mr := &mediaRestore{rd: rs.rd, m: &rs.m.Media, target: target, gone: make(map[string]bool),
		told: func(f, b int64) {
			files.Add(f)
			rs.size.Add(b)
			rs.Progress.Add("media", f, b)
		},
		lose: func(path string, err error) {
			rs.out.Lost++
			if len(rs.out.LostList) < maxLeftOut {
				rs.out.LostList = append(rs.out.LostList, LeftOut{Text(path), reason(err)})
			}
			rs.Warn(fmt.Sprintf("%s could not be restored: %v", path, err))
		}}
	err = mr.run(ctx)
	rs.out.Files = files.Load()
	if err == nil && rs.out.Lost > 0 {
		err = &repo.DamageError{Object: "media", Err: fmt.Errorf("%d files could not be restored", rs.out.Lost)}
	}
	return err
}

// fillers is how many batches are filled at once, so that one's last blobs do not hold up the next.
const fillers = 2

// run plans batches on one side while on the other their content comes in. What depends on all of it comes last: links,
// and what directories are like.
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
	if err == nil {
		err = mr.finishDirs(ctx)
	}
	if err != nil {
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
	var dir *Entry // the entry before, if it is a directory
	empty := func() error {
		if dir == nil {
			return nil
		}
		return failed(dir, mr.target.Dir(&dir.Entry))
	}
	for e, err := range mr.m.Listing.entries(ctx, mr.rd, nil) {
		if err == nil && dir != nil && !holds(dir.Path, e.Path) {
			err = empty()
		}
		dir = nil
		if err == nil {
			err = mr.place(b, e)
		}
		if err == nil && b.full() {
			err = flush()
		}
		if err != nil {
			return err
		}
		if e.Type == source.Dir {
			dir = e
		}
	}
	if err := empty(); err != nil {
		return err
	}
	return flush()
}

// failed is the error of writing an entry.
func failed(e *Entry, err error) error {
	if err == nil {
		return nil
	}
	return &writeError{fmt.Errorf("%s: %w", e.Path, err)}
}

// place makes an entry, or adds it to the batch.
func (mr *mediaRestore) place(b *batch, e *Entry) error {
	var err error
	switch {
	case e.Path == "." && e.Type == source.Dir:
		mr.target.Own(&e.Entry)
	case e.Type == source.Dir:
	case e.Type == source.Symlink:
		err = mr.target.Symlink(&e.Entry)
	case e.Type != source.File:
		err = mr.target.Special(&e.Entry)
	case e.Link != "":
		mr.linked = true
	case e.Size == 0:
		mr.told(1, 0)
		err = mr.create(e, nil)
	default:
		return b.add(e)
	}
	return failed(e, err)
}

// create writes a file at once.
func (mr *mediaRestore) create(e *Entry, data []byte) error {
	f, err := mr.target.Create(&e.Entry)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		mr.target.Discard(f, &e.Entry)
		return err
	}
	return mr.target.Finish(f, &e.Entry)
}

// links makes the further names of files.
func (mr *mediaRestore) links(ctx context.Context) error {
	for e, err := range mr.m.Listing.entries(ctx, mr.rd, nil) {
		switch {
		case err != nil:
			return err
		case e.Link == "":
		case mr.gone[e.Link]:
			mr.lost(e, errors.New("the file that it is a further name of is lost"))
		default:
			if err := mr.target.Link(&e.Entry, e.Link); err != nil {
				return failed(e, err)
			}
			mr.told(1, 0)
		}
	}
	return nil
}

// finishDirs gives the directories their attributes, several at once, when nothing is added to any of them.
func (mr *mediaRestore) finishDirs(ctx context.Context) error {
	const workers, run = 4, 64
	g, ctx := errgroup.WithContext(ctx)
	runs := make(chan []*Entry, workers)
	for range workers {
		g.Go(func() error {
			for dirs := range runs {
				for _, e := range dirs {
					if err := mr.target.SetDir(&e.Entry); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return failed(e, err)
					}
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(runs)
		var dirs []*Entry
		flush := func() error {
			select {
			case runs <- dirs:
				dirs = nil
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		for e, err := range mr.m.Listing.entries(ctx, mr.rd, nil) {
			if err != nil {
				return err
			}
			if e.Type != source.Dir {
				continue
			}
			if dirs = append(dirs, e); len(dirs) == run {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return flush()
	})
	return g.Wait()
}

// holds reports whether path lies below dir.
func holds(dir, path string) bool {
	return dir == "." || strings.HasPrefix(path, dir) && len(path) > len(dir) && path[len(dir)] == '/'
}
