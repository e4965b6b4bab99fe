package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/storetest"
)

// A network that swallows everything is noticed by the silence.
func TestSilence(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	c.Timeout, c.RetryBudget, c.DialTimeout = time.Second, time.Second, time.Second
	s := open(t, c)
	put(t, s, "a", nil)
	r.Mute.Store(true)
	start := time.Now()
	_, err := s.Stat(t.Context(), "a")
	if err == nil || !strings.Contains(err.Error(), "gave up after") {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
	r.Mute.Store(false)
	if _, err := s.Stat(t.Context(), "a"); err != nil {
		t.Errorf("once the network is back: %v", err)
	}
}

// A quiet connection is kept alive.
func TestQuiet(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	c.Timeout = time.Second
	s := open(t, c)
	before := r.Down.Load()
	start := time.Now()
	eventually(t, "three times the timeout passes", func() bool { return time.Since(start) > 3*c.Timeout })
	if r.Down.Load() == before {
		t.Error("nothing was said")
	}
	if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if n := r.Accepted.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// A process at the other end that hangs while the connection is fine is noticed too.
func TestHang(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	running := filepath.Join(dir, "pid") // of the server that was started last
	c := scriptedConfig(t, filepath.Join(dir, "repo"), "sh", "-c", "echo $$ >"+running+"; exec "+self+" "+serverArg+" hardlink@openssh.com")
	c.Timeout, c.Lasting = 100*time.Millisecond, func(string) {}
	s := open(t, c)
	put(t, s, "a", []byte("a"))
	text, err := os.ReadFile(running)
	if err != nil {
		t.Fatal(err)
	}
	hung, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(hung, syscall.SIGSTOP)
	}
	if err != nil {
		t.Fatal(err)
	}
	holds(t, s, "a", []byte("a"))
	if err := syscall.Kill(hung, 0); err != syscall.ESRCH {
		t.Errorf("the process that hung still runs: %v", err)
	}
}

// A cancelled call returns soon, whatever the network does, and leaves the caller's buffer alone.
func TestCancelUnderWay(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	s := open(t, c)
	s.grace = 300 * time.Millisecond
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
		r.Mute.Store(true)
		time.AfterFunc(100*time.Millisecond, cancel)
		start := time.Now()
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > s.grace+cleanTime+5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		r.Mute.Store(false)
		r.Cut()
	}
	holds(t, s, "a", data)
}

// Put over a long way takes as many round trips as the package says.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	const rtt, tries = 200 * time.Millisecond, 30
	_, c := startRelay(t, server, rtt/2)
	s := open(t, c)
	if len(s.pool.slots) < 4 {
		t.Errorf("a round-trip time of %v gives %d channels", rtt, len(s.pool.slots))
	}
	put(t, s, "a/0", []byte("x"))
	name := func(try int) string { return fmt.Sprint("a/1", try) }
	puts := 0 // so many objects are there
	p := make([]byte, 1)
	for _, test := range []struct {
		name string
		want time.Duration
		call func(try int) error
	}{
		{"Put", 5, func(try int) error { puts++; return s.Put(t.Context(), name(try), []byte("x")) }},
		{"ReadAt", 2, func(int) error { _, err := s.ReadAt(t.Context(), name(0), p, 0); return err }},
		{"Stat", 1, func(int) error { _, err := s.Stat(t.Context(), name(0)); return err }},
		{"Remove", 2, func(try int) error { return s.Remove(t.Context(), name(try)) }},
	} {
		// A busy machine makes it longer, and the first link of each connection, which is read back. Nothing makes it shorter.
		best := time.Hour
		for try := 0; try < tries && best > test.want*rtt+rtt*9/10; try++ {
			for ; test.name == "Remove" && puts <= try; puts++ {
				put(t, s, name(puts), []byte("x"))
			}
			start := time.Now()
			if err := test.call(try); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		if best < test.want*rtt || best > test.want*rtt+rtt*9/10 {
			t.Errorf("%s took %v, which is not %d round trips of %v", test.name, best, test.want, rtt)
		}
	}
}
