package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"

	"permafrost/internal/objname"
	"permafrost/repo"
)

// listers is how many directories are read at once: with 256 of them and a round trip of 50 ms a listing takes 0.6 s
// rather than 38.
const listers = 64

// List implements repo.Store. Uploads under way are listed where prefix is "tmp/".
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[repo.Object, error] {
	return func(yield func(repo.Object, error) bool) {
		err := objname.CheckPrefix(prefix)
		if err == nil {
			err = s.list(ctx, prefix, yield)
		}
		if err != nil {
			yield(repo.Object{}, fmt.Errorf("listing %q: %w", prefix, err))
		}
	}
}

// A listing is what one directory holds.
type listing struct {
	prefix  string
	entries []fs.FileInfo
	err     error
}

// list yields what is below prefix. After yield has returned false it returns nil.
func (s *Store) list(ctx context.Context, prefix string, yield func(repo.Object, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan listing, listers) // who finishes late is not held up
	todo, running := []string{prefix}, 0
	for len(todo)+running > 0 {
		for ; len(todo) > 0 && running < listers; running++ {
			p := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			go func() { results <- s.readDir(ctx, p) }()
		}
		l := <-results
		running--
		if l.err != nil && !errors.Is(l.err, fs.ErrNotExist) {
			return l.err
		}
		for _, info := range l.entries {
			name := l.prefix + info.Name()
			switch {
			case !objname.Valid(name) || name == objname.Temp:
			case info.IsDir():
				todo = append(todo, name+"/")
			case info.Mode().IsRegular():
				if !yield(repo.Object{Name: name, Size: info.Size(), Time: info.ModTime()}, nil) {
					return nil
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) readDir(ctx context.Context, prefix string) listing {
	l := listing{prefix: prefix}
	l.err = s.do(ctx, func(ctx context.Context, sess *session) (err error) {
		dir := path.Join(s.config.Path, prefix)
		if l.entries, err = sess.ReadDirContext(ctx, dir); err == nil {
			return nil
		}
		l.entries = nil
		if definite(err) {
			if info, e := sess.Stat(dir); sess.lost(e) {
				return e
			} else if e == nil && !info.IsDir() {
				return fs.ErrNotExist
			}
		}
		return err
	})
	return l
}
