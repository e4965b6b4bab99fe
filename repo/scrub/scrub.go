// Package scrub compares objects with the hashes in their names. It needs no key.
package scrub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"permafrost/repo/store"

	"golang.org/x/sync/errgroup"
)

const (
	scrubReads = 2       // objects read at once: who scrubs sits at the disk
	scrubPart  = 1 << 20 // bytes read at a time
)

// Options say whom a scrub tells.
type Options struct {
	Problem  func(err error)         // hears of each damage as it is found
	Progress func(done, total int64) // bytes read
}

// A Result counts what a scrub has read.
type Result struct {
	Objects  int
	Bytes    int64
	Problems int
	Junk     int // objects under names that no object of a repository has
}

// Run reads every keyring, pack, index object and manifest, and compares each with the hash that names it. It takes no key, so
// that the storage's own machine can do it. What only a key can tell it does not see: that an object is missing, or
// was never a part of the repository.
func Run(ctx context.Context, st store.Store, o Options) (*Result, error) {
	s := &scrub{store: st, opts: o}
	var objects []scrubbed
	for _, kind := range store.Hashed() {
		for obj, err := range st.List(ctx, kind.Dir()) {
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", kind.Dir(), err)
			}
			_, name := store.Parse(obj.Name)
			if name.IsZero() {
				s.res.Junk++
				continue
			}
			objects = append(objects, scrubbed{obj.Name, name})
			s.total += obj.Size
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(scrubReads)
	for _, obj := range objects {
		g.Go(func() error { return s.read(ctx, obj) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &s.res, nil
}

// A scrubbed is an object that is named by a hash.
type scrubbed struct {
	object string
	hash   store.Name
}

type scrub struct {
	store store.Store
	opts  Options
	total int64

	mu  sync.Mutex
	res Result
}

// read reads one object. One that a prune removes meanwhile is none of ours.
func (s *scrub) read(ctx context.Context, obj scrubbed) error {
	hash, part := sha256.New(), make([]byte, scrubPart)
	size := int64(0)
	for {
		n, err := s.store.ReadAt(ctx, obj.object, part, size)
		hash.Write(part[:n])
		size += int64(n)
		switch {
		case size > store.MaxObject:
			s.done(size, &store.DamageError{Object: obj.object, Err: fmt.Errorf("longer than %d bytes", store.MaxObject)})
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == io.EOF:
			if store.Name(hash.Sum(nil)) != obj.hash {
				s.done(size, &store.DamageError{Object: obj.object, Err: errors.New("its content does not match the hash in its name")})
			} else {
				s.done(size, nil)
			}
			return nil
		case err != nil:
			return fmt.Errorf("reading %s: %w", obj.object, err)
		}
	}
}

// done counts an object.
func (s *scrub) done(size int64, damage error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.res.Objects++
	s.res.Bytes += size
	if damage != nil {
		s.res.Problems++
		if s.opts.Problem != nil {
			s.opts.Problem(damage)
		}
	}
	if s.opts.Progress != nil {
		s.opts.Progress(s.res.Bytes, s.total)
	}
}
