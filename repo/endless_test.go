package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/scrub"
	"permafrost/repo/store"
)

// An endless store says of the log's numbers, for ever, what is not so.
type endless struct {
	*storetest.Mem
	taken bool   // each number is taken
	junk  bool   // each holds junk
	below bool   // each below a far one is there
	long  []byte // what some numbers hold that are listed with one byte
	grown bool   // no object ends

	mu    sync.Mutex
	reads int // bytes
}

func newNumber(st *storetest.Mem, name string) bool {
	_, err := st.Stat(context.Background(), name)
	return strings.HasPrefix(name, "log/") && errors.Is(err, fs.ErrNotExist)
}

func (e *endless) Put(ctx context.Context, name string, data ...[]byte) error {
	if e.taken && strings.HasPrefix(name, "log/") {
		return fs.ErrExist
	}
	return e.Mem.Put(ctx, name, data...)
}

func (e *endless) Stat(ctx context.Context, name string) (store.Object, error) {
	if e.below && newNumber(e.Mem, name) {
		return store.Object{Name: name, Size: 1, Time: time.Now()}, nil
	}
	return e.Mem.Stat(ctx, name)
}

func (e *endless) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	switch {
	case e.grown:
		return len(p), nil
	case e.junk && newNumber(e.Mem, name):
		return copy(p, "junk"), io.EOF
	case e.long != nil && newNumber(e.Mem, name) && off < int64(len(e.long)):
		n := copy(p, e.long[off:])
		e.mu.Lock()
		e.reads += n
		e.mu.Unlock()
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	return e.Mem.ReadAt(ctx, name, p, off)
}

func (e *endless) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for o, err := range e.Mem.List(ctx, prefix) {
			if !yield(o, err) {
				return
			}
		}
		var more []string
		if e.below {
			more = []string{"log/0009999999"}
		}
		for i := 0; e.long != nil && i < 200; i++ {
			more = append(more, fmt.Sprintf("log/%010d", 10_000+2*i))
		}
		for _, name := range more {
			if prefix == "log/" && !yield(store.Object{Name: name, Size: 1, Time: time.Now()}, nil) {
				return
			}
		}
	}
}

// A storage that never comes to an end of the log's numbers holds nobody for good.
func TestEndlessLog(t *testing.T) {
	commit := func(ctx context.Context, r *repo.Repo) error {
		_, _, err := snapshot(ctx, r, night(1), 1)
		return err
	}
	catchUp := func(ctx context.Context, r *repo.Repo) error {
		_, err := r.CatchUp(ctx)
		return err
	}
	for _, c := range []struct {
		name  string
		store *endless
		do    func(context.Context, *repo.Repo) error
	}{
		{"the next number is taken and empty", &endless{taken: true}, commit},
		{"each next number is taken, and holds junk", &endless{taken: true, junk: true}, commit},
		{"each next number holds junk", &endless{junk: true}, catchUp},
		{"each number below a far one is there", &endless{below: true, junk: true}, commit},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := storetest.NewMem(t)
			w := newWorld(t, st, repo.InitOptions{})
			e := c.store
			e.Mem = st
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r, err := openRepo(ctx, e, w.writer, repo.Options{})
			if err == nil {
				err = c.do(ctx, r)
			}
			if err == nil || ctx.Err() != nil || !errors.As(err, new(*cause.Error)) {
				t.Errorf("%v has no cause", err)
			}
		})
	}
}

// Of an entry no more is read than its listing said, for which there is room.
func TestLongerThanListed(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	e := &endless{Mem: st, long: make([]byte, 8<<20)}
	r := fresh(t, e, w.writer)
	if n := len(r.Snapshots()); n != 1 || len(r.Damage()) != 0 {
		t.Errorf("%d snapshots, damage %v", n, r.Damage())
	}
	if e.reads > 1<<20 {
		t.Errorf("%d bytes were read where 200 were listed", e.reads)
	}
}

// An object without an end is damage, and the scrub goes on.
func TestScrubEndless(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := scrub.Run(ctx, &endless{Mem: st, grown: true}, scrub.Options{})
	if err != nil || res.Problems == 0 || res.Problems != res.Objects {
		t.Errorf("%+v, %v", res, err)
	}
}
