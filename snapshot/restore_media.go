package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
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
	gone   map[string]bool // first names of hard links that are lost
	mu     sync.Mutex      // guards gone, and calls of lose
}

// media restores the media, or says where they are.
func (rs *restorer) media(ctx context.Context) (err error) {
	if rs.m.Media.State != Captured {
		return nil
	}
	dir := filepath.Join(rs.Target, mediaDir)
	target, err := media.NewTarget(dir, media.TargetOptions{NumericIDs: rs.NumericIDs, Users: rs.m.Users, Groups: rs.m.Groups,
		Warn: func(path string, err error) { rs.Warn(fmt.Sprintf("%s: %v", path, err)) }})
	if err != nil {
		return &writeError{err}
	}
	defer target.Close()
	var files, size atomic.Int64
	mr := &mediaRestore{rd: rs.rd, m: &rs.m.Media, target: target, gone: make(map[string]bool),
		told: func(f, b int64) {
			files.Add(f)
			size.Add(b)
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
	rs.out.Files, rs.out.Bytes = files.Load(), rs.out.Bytes+size.Load()
	if err == nil && rs.out.Lost > 0 {
		err = &repo.DamageError{Object: "media", Err: fmt.Errorf("%d files could not be restored", rs.out.Lost)}
	}
	return err
}

// run makes directories and batches on one side while on the other the batches' content comes in.
func (mr *mediaRestore) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	batches := make(chan *batch)
	g.Go(func() error {
		defer close(batches)
		return mr.plan(gctx, batches)
	})
	g.Go(func() error {
		for b := range batches {
			if err := mr.fill(gctx, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := mr.finishDirs(ctx); err != nil {
		return err
	}
	if err := mr.target.Sync(); err != nil {
		return &writeError{err}
	}
	return nil
}

// plan walks the listing, makes what has no content, and sends batches of what has.
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
	for e, err := range mr.m.Listing.entries(ctx, mr.rd, nil) {
		if err == nil {
			err = mr.place(b, e)
		}
		if err == nil && b.full() {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
	return flush()
}

// place makes an entry, or adds it to the batch.
func (mr *mediaRestore) place(b *batch, e *Entry) error {
	var err error
	switch {
	case e.Type == source.Dir:
		err = mr.target.Dir(&e.Entry)
	case e.Type == source.Symlink:
		err = mr.target.Symlink(&e.Entry)
	case e.Type != source.File:
		err = mr.target.Special(&e.Entry)
	case e.Link != "":
		b.links = append(b.links, e)
	case e.Size == 0:
		mr.told(1, 0)
		err = mr.create(e, nil)
	default:
		return b.add(e)
	}
	if err != nil {
		return &writeError{fmt.Errorf("%s: %w", e.Path, err)}
	}
	return nil
}

// create writes a file at once.
func (mr *mediaRestore) create(e *Entry, data []byte) error {
	f, err := mr.target.Create(&e.Entry)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	return mr.target.Finish(f, &e.Entry)
}

// finishDirs gives the directories their attributes, each once everything below it has its own.
func (mr *mediaRestore) finishDirs(ctx context.Context) error {
	var open []*Entry
	pop := func() error {
		e := open[len(open)-1]
		open = open[:len(open)-1]
		if err := mr.target.SetDir(&e.Entry); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &writeError{fmt.Errorf("%s: %w", e.Path, err)}
		}
		return nil
	}
	for e, err := range mr.m.Listing.entries(ctx, mr.rd, nil) {
		if err != nil {
			return err
		}
		if e.Type != source.Dir {
			continue
		}
		for len(open) > 0 && !holds(open[len(open)-1].Path, e.Path) {
			if err := pop(); err != nil {
				return err
			}
		}
		open = append(open, e)
	}
	for len(open) > 0 {
		if err := pop(); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether path lies below dir.
func holds(dir, path string) bool {
	return dir == "." || strings.HasPrefix(path, dir) && len(path) > len(dir) && path[len(dir)] == '/'
}
