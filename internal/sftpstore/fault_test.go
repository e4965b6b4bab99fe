package sftpstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/internal/storetest"
)

// rename copies a known_hosts file for a host that is reached at another port.
func rename(t testing.TB, file string, from, to int) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, fmt.Append(nil, "]:", from), fmt.Append(nil, "]:", to))
	path := t.TempDir() + "/known_hosts"
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A connection that breaks at any point of a Put costs a retry: the object is there whole, and nothing else.
func TestCutPut(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	put(t, s, "first", nil)
	data := storetest.Random(1, 3<<20)
	before := r.Up.Load()
	put(t, s, "measure", data)
	length := r.Up.Load() - before
	cuts := []int64{1, 200, length / 3, length - 1000, length - 500, length - 300, length - 200, length - 100, length - 1}
	for i, at := range cuts {
		name, had := fmt.Sprint("cut/", i), r.Cuts.Load()
		data := storetest.Random(uint64(i), len(data))
		r.CutUp.Store(r.Up.Load() + at)
		put(t, s, name, data)
		r.CutUp.Store(0)
		if at < length/2 && r.Cuts.Load() == had {
			t.Errorf("cut at %d of %d bytes did not happen", at, length)
		}
		holds(t, s, name, data)
		if err := s.Put(t.Context(), name, data); !errors.Is(err, fs.ErrExist) {
			t.Errorf("putting again without a doubt: %v", err)
		}
	}
	eventually(t, "nothing left below tmp/", func() bool { return count(t, s, "tmp/") == 0 })
}

// The answer to the link is lost each time: own content is success, other content is not.
func TestDoubtfulReply(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	c.Connections = 1
	s := open(t, c)
	put(t, s, "a/first", nil)
	before := r.Down.Load()
	put(t, s, "a/measure", []byte("own"))
	length := r.Down.Load() - before
	// Cut after each reply on the way back, one after the other.
	for at := int64(1); at <= length; at += 32 {
		name := fmt.Sprint("a/own", at)
		r.CutDown.Store(r.Down.Load() + at)
		put(t, s, name, []byte("own"))
		r.CutDown.Store(0)
		holds(t, s, name, []byte("own"))

		name = fmt.Sprint("a/other", at)
		put(t, s, name, []byte("other"))
		r.CutDown.Store(r.Down.Load() + at)
		if err := s.Put(t.Context(), name, []byte("own")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("cut at %d: another's name: %v", at, err)
		}
		r.CutDown.Store(0)
		holds(t, s, name, []byte("other"))
	}
	if r.Cuts.Load() < 8 {
		t.Errorf("only %d cuts", r.Cuts.Load())
	}
	eventually(t, "nothing left below tmp/", func() bool { return count(t, s, "tmp/") == 0 })
}

func TestCutGet(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	data := storetest.Random(1, 3<<20)
	put(t, s, "a", data)
	for _, at := range []int64{1, 100, 1 << 20, 3<<20 - 100, 3 << 20} {
		had := r.Cuts.Load()
		r.CutDown.Store(r.Down.Load() + at)
		holds(t, s, "a", data)
		if r.Cuts.Load() == had {
			t.Errorf("cut at %d did not happen", at)
		}
	}
}

func TestCutRemove(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	for at := int64(1); at < 400; at += 16 {
		put(t, s, "a/b", nil)
		r.CutDown.Store(r.Down.Load() + at)
		if err := s.Remove(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
		r.CutDown.Store(0)
		if _, err := s.Stat(t.Context(), "a/b"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("removed, but %v", err)
		}
	}
}

// Everything at once over a network that breaks again and again.
func TestFlakyNetwork(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	ctx, stop := context.WithCancel(t.Context())
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for range 10 {
			select {
			case <-ctx.Done():
			case <-time.After(100*time.Millisecond + rand.N(500*time.Millisecond)):
				r.Cut()
			}
		}
	})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 8 {
				name := fmt.Sprintf("packs/%d/%d", w, i)
				data := storetest.Random(uint64(w*100+i), 200<<10)
				if err := s.Put(t.Context(), name, data); err != nil {
					t.Error(err)
					return
				}
				p := make([]byte, len(data))
				if _, err := s.ReadAt(t.Context(), name, p, 0); err != nil || !bytes.Equal(p, data) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	if got := count(t, s, "packs/"); got != 32 {
		t.Errorf("%d objects are listed, want 32", got)
	}
	stop()
	cutter.Wait()
}

// A server that is gone for good ends in one clear error, within the budget.
func TestServerGone(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	_, c := startRelay(t, server, 0)
	c.RetryBudget = time.Second
	s := open(t, c)
	put(t, s, "a", []byte("a"))
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err := s.Put(t.Context(), "b", []byte("b"))
	if err == nil || !strings.Contains(err.Error(), "gave up after") || cause(err) != string(CauseUnreachable) {
		t.Errorf("%v; cause: %s", err, cause(err))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// An object whose transfer is cut again and again, and takes longer than the budget each time, gets through: bytes move.
func TestSlowAndCut(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 20*time.Millisecond) // logging in takes longer than the budget
	c.RetryBudget, c.Channels, c.Connections = 300*time.Millisecond, 1, 1
	s := open(t, c)
	put(t, s, "a/first", nil)
	data := storetest.Random(1, 6<<20)
	for _, test := range []struct {
		name        string
		passed, cut *atomic.Int64
		call        func() error
	}{
		{"Put", &r.Up, &r.CutUp, func() error { return s.Put(context.Background(), "a/b", data) }},
		{"ReadAt", &r.Down, &r.CutDown, func() error {
			_, err := s.ReadAt(context.Background(), "a/b", make([]byte, len(data)), 0)
			return err
		}},
	} {
		test.cut.Store(test.passed.Load() + 4<<20)
		done := make(chan error, 1)
		had := r.Cuts.Load()
		go func() { done <- test.call() }()
		for n := had + 1; n < had+3; n++ {
			eventually(t, "another cut", func() bool { return r.Cuts.Load() >= n || len(done) > 0 })
			test.cut.Store(test.passed.Load() + 4<<20)
		}
		if err := <-done; err != nil || r.Cuts.Load() != had+3 {
			t.Errorf("%s: %v; %d cuts, want 3", test.name, err, r.Cuts.Load()-had)
		}
	}
	holds(t, s, "a/b", data)
}

// A server that comes back is used again.
func TestServerReturns(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	r.Refuse.Store(true)
	r.Cut()
	done := make(chan error, 1)
	go func() { done <- s.Put(context.Background(), "a", []byte("a")) }()
	had := r.Accepted.Load()
	eventually(t, "two attempts", func() bool { return r.Accepted.Load() >= had+2 })
	r.Refuse.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	holds(t, s, "a", []byte("a"))
}

// A link whose answer was lost may be done late, after the next attempt has looked and found nothing.
func TestLateLink(t *testing.T) {
	t.Parallel()
	s := open(t, config(plainSSHD(t)))
	put(t, s, "a/b", []byte("own"))
	target, err := s.path("a/b")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		doubt bool
		data  string
		want  error
	}{
		{true, "own", nil}, {true, "other", fs.ErrExist}, {true, "ow", fs.ErrExist}, {true, "owned", fs.ErrExist},
		{false, "own", fs.ErrExist}, {false, "other", fs.ErrExist},
	} {
		u := &upload{Store: s, target: target, data: [][]byte{[]byte(test.data)}, size: len(test.data), doubt: test.doubt}
		err := s.do(t.Context(), func(ctx context.Context, sess *session) error {
			temp, err := u.write(ctx, sess)
			left := temp.name
			if err == nil {
				left, err = u.publishOpen(sess, temp)
			}
			u.removeTemp(sess, left)
			return err
		})
		if !errors.Is(err, test.want) {
			t.Errorf("%q, in doubt: %v: %v, want %v", test.data, test.doubt, err, test.want)
		}
	}
}

// closedStream is an SSH channel that the other end has closed.
type closedStream struct{}

func (closedStream) Read([]byte) (int, error)  { return 0, io.EOF }
func (closedStream) Write([]byte) (int, error) { return 0, io.EOF }
func (closedStream) Close() error              { return nil }

// The end of a connection is not the end of a file.
func TestEndOfConnection(t *testing.T) {
	l := &line{rwc: closedStream{}, conn: closedStream{}, dead: make(chan struct{})}
	_, err := l.Write([]byte("x"))
	if errors.Is(err, io.EOF) || !(&session{line: l}).lost(err) {
		t.Errorf("a write ends with %v", err)
	}
}

// An upload that was suspended for days begins anew, though its file seems to be there.
func TestSuspended(t *testing.T) {
	t.Parallel()
	s := open(t, config(plainSSHD(t)))
	put(t, s, "first", nil)
	asked := 0
	s.clock = func() time.Time {
		if asked++; asked == 1 {
			return time.Now().Add(-80 * time.Hour)
		}
		return time.Now()
	}
	data := storetest.Random(1, 1<<20)
	put(t, s, "suspended/a", data)
	holds(t, s, "suspended/a", data)
	if n := count(t, s, "tmp/"); n != 0 || asked != 4 {
		t.Errorf("%d files are left below tmp/, the clock was looked at %d times", n, asked)
	}
}

// An upload whose temporary file is swept in the middle, as left over, begins anew.
func TestSwept(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	_, c := startRelay(t, server, 5*time.Millisecond)
	c.Channels = 1
	s := open(t, c)
	put(t, s, "first", nil)
	data := storetest.Random(1, 4<<20)
	done := make(chan error, 1)
	go func() { done <- s.Put(context.Background(), "swept/a", data) }()
	swept := 0
	eventually(t, "two sweeps", func() bool {
		paths, _ := filepath.Glob(filepath.Join(c.Path, "tmp", "*"))
		for _, path := range paths {
			if os.Remove(path) == nil {
				swept++
			}
		}
		return swept == placeTries-1
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	holds(t, s, "swept/a", data)
	if n := count(t, s, "tmp/"); n != 0 {
		t.Errorf("%d files are left below tmp/", n)
	}
}
