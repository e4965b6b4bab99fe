package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"permafrost/repo/store"
)

// listers is how many directories are read at once: with 256 of them and a round trip of 50 ms a listing takes 0.6 s
// rather than 38.
const listers = 64

// What a repository can hold, and far more. A server that lists more is broken, or wants our memory.
const (
	maxListed = 1 << 22 // objects: 64 TiB of packs
	maxDirs   = 1 << 12
	maxNames  = 1 << 18 // in one directory, all that is there; they take some 40 MiB
	maxBase   = 255     // bytes, of one name
	// An answer counts for so many names at least, and for one each KiB: next to nothing, said for ever, ends too, and so
	// does much said about few.
	pageCost = 16
)

// List implements store.Store. Uploads under way are listed where prefix is "tmp/".
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		err := store.CheckPrefix(prefix)
		if err == nil {
			err = s.list(ctx, prefix, yield)
		}
		if err != nil {
			yield(store.Object{}, fmt.Errorf("listing %q: %w", prefix, err))
		}
	}
}

// A listing is what one directory holds of a repository.
type listing struct {
	prefix  string
	objects []store.Object
	dirs    []string
	untyped []string // names of which the server does not tell whether they are files
	err     error
}

// list yields what is below prefix. After yield has returned false it returns nil.
func (s *Store) list(ctx context.Context, prefix string, yield func(store.Object, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan listing, listers) // who finishes late is not held up
	todo, running := []string{prefix}, 0
	for objects, dirs := 0, 1; len(todo)+running > 0; {
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
		objects, dirs = objects+len(l.objects), dirs+len(l.dirs)
		if objects > maxListed || dirs > maxDirs {
			return becausef(CauseEndless, "the server names more than %d files, or %d directories", maxListed, maxDirs)
		}
		todo = append(todo, l.dirs...)
		for _, o := range l.objects {
			if !yield(o, nil) {
				return nil
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) readDir(ctx context.Context, prefix string) (l listing) {
	dir := path.Join(s.config.Path, prefix)
	err := s.do(ctx, func(ctx context.Context, sess *session) error {
		l = listing{prefix: prefix}
		err := l.read(ctx, sess, dir)
		if definite(err) {
			if info, e := sess.Stat(dir); sess.lost(e) {
				return e
			} else if e == nil && !info.IsDir() {
				return fs.ErrNotExist
			}
		}
		return err
	})
	if err != nil {
		return listing{err: err}
	}
	return l
}

// read reads a directory.
func (l *listing) read(ctx context.Context, sess *session, dir string) error {
	if err := sess.eachName(ctx, dir, l.add); err != nil {
		return err
	}
	if err := l.classify(ctx, sess, dir); err != nil {
		return err
	}
	l.settle()
	return nil
}

// add takes a name if it can be one of a repository's.
func (l *listing) add(base string, a attributes) error {
	name := l.prefix + base
	if len(base) > maxBase || strings.Contains(base, "/") || !store.IsPath(name) || name == store.Temp {
		return nil
	}
	if a.size > math.MaxInt64 {
		return fmt.Errorf("the server says that %s has %d bytes", name, a.size)
	}
	switch a.mode & typeMask {
	case typeDir:
		l.dirs = append(l.dirs, name+"/")
	case typeRegular:
		l.objects = append(l.objects, store.Object{Name: name, Size: int64(a.size), Time: time.Unix(int64(a.modified), 0)})
	case 0:
		l.untyped = append(l.untyped, base)
	}
	return nil
}

// settle leaves each name once: a directory that changes while it is read may show one again.
func (l *listing) settle() {
	slices.Sort(l.dirs)
	l.dirs = slices.Compact(l.dirs)
	slices.SortStableFunc(l.objects, func(a, b store.Object) int { return strings.Compare(a.Name, b.Name) })
	l.objects = slices.CompactFunc(l.objects, func(a, b store.Object) bool { return a.Name == b.Name })
}

// attributes are those of a file.
type attributes struct {
	size     uint64
	mode     uint32
	modified uint32
}

// The type of a file, as mode has it.
const (
	typeMask    = 0o170000
	typeDir     = 0o040000
	typeRegular = 0o100000
	typeNone    = 0o170000 // of no kind that matters here
)

// readAttributes reads a file's attributes, of which flags tell what there is.
func readAttributes(f *fields) (a attributes) {
	const size, owner, mode, times, extended = 1, 2, 4, 8, 1 << 31
	flags := f.uint32()
	if flags&size != 0 {
		a.size = f.uint64()
	}
	if flags&owner != 0 {
		f.take(8)
	}
	if flags&mode != 0 {
		a.mode = f.uint32()
	}
	if flags&times != 0 {
		f.take(4) // the last access
		a.modified = f.uint32()
	}
	if flags&extended != 0 {
		for n := f.uint32(); n > 0 && !f.cut; n-- {
			f.text()
			f.text()
		}
	}
	return a
}
