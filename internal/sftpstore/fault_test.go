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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/hint"
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
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	put(t, s, "first", nil)
	data := storetest.Random(1, 3<<20)
	before := r.up.Load()
	put(t, s, "measure", data)
	length := r.up.Load() - before
	cuts := []int64{1, 200, length / 3, length - 1000, length - 500, length - 300, length - 200, length - 100, length - 1}
	for i, at := range cuts {
		name, had := fmt.Sprint("cut/", i), r.cuts.Load()
		data := storetest.Random(uint64(i), len(data))
		r.cutUp.Store(r.up.Load() + at)
		put(t, s, name, data)
		r.cutUp.Store(0)
		if at < length/2 && r.cuts.Load() == had {
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
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	c.Connections = 1
	s := open(t, c)
	put(t, s, "a/first", nil)
	before := r.down.Load()
	put(t, s, "a/measure", []byte("own"))
	length := r.down.Load() - before
	// Cut after each reply on the way back, one after the other.
	for at := int64(1); at <= length; at += 32 {
		name := fmt.Sprint("a/own", at)
		r.cutDown.Store(r.down.Load() + at)
		put(t, s, name, []byte("own"))
		r.cutDown.Store(0)
		holds(t, s, name, []byte("own"))

		name = fmt.Sprint("a/other", at)
		put(t, s, name, []byte("other"))
		r.cutDown.Store(r.down.Load() + at)
		if err := s.Put(t.Context(), name, []byte("own")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("cut at %d: another's name: %v", at, err)
		}
		r.cutDown.Store(0)
		holds(t, s, name, []byte("other"))
	}
	if r.cuts.Load() < 8 {
		t.Errorf("only %d cuts", r.cuts.Load())
	}
	eventually(t, "nothing left below tmp/", func() bool { return count(t, s, "tmp/") == 0 })
}

func TestCutGet(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	data := storetest.Random(1, 3<<20)
	put(t, s, "a", data)
	for _, at := range []int64{1, 100, 1 << 20, 3<<20 - 100, 3 << 20} {
		had := r.cuts.Load()
		r.cutDown.Store(r.down.Load() + at)
		holds(t, s, "a", data)
		if r.cuts.Load() == had {
			t.Errorf("cut at %d did not happen", at)
		}
	}
}

func TestCutRemove(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	for at := int64(1); at < 400; at += 16 {
		put(t, s, "a/b", nil)
		r.cutDown.Store(r.down.Load() + at)
		if err := s.Remove(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
		r.cutDown.Store(0)
		if _, err := s.Stat(t.Context(), "a/b"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("removed, but %v", err)
		}
	}
}

// Everything at once over a network that breaks again and again.
func TestFlakyNetwork(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	ctx, stop := context.WithCancel(t.Context())
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for range 10 {
			select {
			case <-ctx.Done():
			case <-time.After(100*time.Millisecond + rand.N(500*time.Millisecond)):
				r.cut()
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
	if err == nil || !strings.Contains(err.Error(), "gave up after") || hint.Of(err) == "" {
		t.Errorf("%v; hint: %s", err, hint.Of(err))
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A server that comes back is used again.
func TestServerReturns(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	r.refuse.Store(true)
	r.cut()
	done := make(chan error, 1)
	go func() { done <- s.Put(context.Background(), "a", []byte("a")) }()
	had := r.accepted.Load()
	eventually(t, "two attempts", func() bool { return r.accepted.Load() >= had+2 })
	r.refuse.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	holds(t, s, "a", []byte("a"))
}

// A network that swallows everything is noticed by the silence.
func TestSilence(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	c.Timeout, c.RetryBudget, c.DialTimeout = time.Second, time.Second, time.Second
	s := open(t, c)
	put(t, s, "a", nil)
	r.mute.Store(true)
	start := time.Now()
	_, err := s.Stat(t.Context(), "a")
	if err == nil || !strings.Contains(err.Error(), "gave up after") {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	r.mute.Store(false)
	if _, err := s.Stat(t.Context(), "a"); err != nil {
		t.Errorf("once the network is back: %v", err)
	}
}

// A quiet connection is kept alive.
func TestQuiet(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	c.Timeout = time.Second
	s := open(t, c)
	before := r.down.Load()
	start := time.Now()
	eventually(t, "three times the timeout passes", func() bool { return time.Since(start) > 3*c.Timeout })
	if r.down.Load() == before {
		t.Error("nothing was said")
	}
	if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if n := r.accepted.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// A cancelled call returns soon, whatever the network does, and leaves the caller's buffer alone.
func TestCancelUnderWay(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{})
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	data := storetest.Random(1, 8<<20)
	put(t, s, "a", data)
	calls := map[string]func(context.Context) error{
		"Put": func(ctx context.Context) error { return s.Put(ctx, "b", data) },
		"ReadAt": func(ctx context.Context) error {
			p := make([]byte, len(data))
			_, err := s.ReadAt(ctx, "a", p, 0)
			clear(p)
			return err
		},
		"List": func(ctx context.Context) error {
			for _, err := range s.List(ctx, "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	for name, call := range calls {
		ctx, cancel := context.WithCancel(t.Context())
		r.mute.Store(true)
		time.AfterFunc(100*time.Millisecond, cancel)
		start := time.Now()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > cancelGrace+cleanTime+5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		r.mute.Store(false)
		r.cut()
	}
	holds(t, s, "a", data)
}

// Put over a long way takes as many round trips as the package says.
func TestRoundTrips(t *testing.T) {
	server := startSSHD(t, sandbox.SSHDConfig{})
	const rtt = 100 * time.Millisecond
	_, c := startRelay(t, server, rtt/2)
	s := open(t, c)
	if len(s.pool.slots) < 4 {
		t.Errorf("a round-trip time of %v gives %d channels", rtt, len(s.pool.slots))
	}
	put(t, s, "a/0", []byte("x"))
	p := make([]byte, 1)
	for _, test := range []struct {
		name string
		want time.Duration
		call func(name string) error
	}{
		{"Put", 5, func(name string) error { return s.Put(t.Context(), name, []byte("x")) }},
		{"ReadAt", 2, func(name string) error { _, err := s.ReadAt(t.Context(), name, p, 0); return err }},
		{"Stat", 1, func(name string) error { _, err := s.Stat(t.Context(), name); return err }},
		{"Remove", 2, func(name string) error { return s.Remove(t.Context(), name) }},
	} {
		best := time.Hour // a busy machine makes it longer, and nothing shorter
		for i := range 3 {
			start := time.Now()
			if err := test.call(fmt.Sprint("a/1", i)); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		if best < test.want*rtt || best > test.want*rtt+rtt*9/10 {
			t.Errorf("%s took %v, which is not %d round trips of %v", test.name, best, test.want, rtt)
		}
	}
}

// A process at the other end that hangs while the connection is fine is noticed too.
func TestHang(t *testing.T) {
	t.Parallel()
	c := librarys(t, "hardlink@openssh.com")
	c.Timeout, c.Warn = 100*time.Millisecond, func(string) {}
	s := open(t, c)
	put(t, s, "a", []byte("a"))
	s.pool.mu.Lock()
	hung := s.pool.slots[0].session.line.rwc.(*process)
	s.pool.mu.Unlock()
	if err := hung.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	holds(t, s, "a", []byte("a"))
	if hung.cmd.ProcessState == nil {
		t.Error("the process that hung still runs")
	}
}

// A link whose answer was lost may be done late, after the next attempt has looked and found nothing.
func TestLateLink(t *testing.T) {
	s := open(t, config(startSSHD(t, sandbox.SSHDConfig{})))
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
		u := &upload{Store: s, target: target, data: []byte(test.data), doubt: test.doubt}
		err := s.do(t.Context(), func(ctx context.Context, sess *session) error {
			temp, err := u.write(ctx, sess)
			if err == nil {
				temp, err = u.publishAs(sess, temp)
			}
			u.removeTemp(sess, temp)
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
	l := &line{rwc: closedStream{}, transport: commandTransport{}, dead: make(chan struct{})}
	_, err := l.Write([]byte("x"))
	if errors.Is(err, io.EOF) || !(&session{line: l}).lost(err) {
		t.Errorf("a write ends with %v", err)
	}
}
