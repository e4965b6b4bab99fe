package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
)

// relay returns a relay in front of the server, and how commands are run that reach it through that. They take a
// connection for dead after so much silence, and give up after four times that.
func (s *site) relay(delay, patience time.Duration) (*sandbox.Relay, func(...string) *command) {
	s.t.Helper()
	port := strconv.Itoa(s.SSHD.Port)
	r, err := sandbox.StartRelay(net.JoinHostPort(s.SSHD.Host, port), delay)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	home, own := s.t.TempDir(), strconv.Itoa(r.Port())
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	other := strings.NewReplacer("Port "+port+"\n", "Port "+own+"\n", "]:"+port+" ", "]:"+own+" ", s.Home, home)
	for _, name := range []string{"config", "known_hosts"} {
		text, err := os.ReadFile(filepath.Join(s.Home, ".ssh", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(home, ".ssh", name), []byte(other.Replace(string(text))), 0o600)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	machine := s.elsewhere(filepath.Join(home, "machine"))
	return r, func(args ...string) *command {
		c := machine(args...)
		c.Env = append(c.Env, "PERMAFROST_SSH_CONFIG="+filepath.Join(home, ".ssh", "config"), patienceVar+"="+patience.String())
		return c
	}
}

// faults are what a network does in the middle of a run, and what undoes it.
var faults = map[string]func(*testing.T, *sandbox.Relay){
	"cut": func(_ *testing.T, r *sandbox.Relay) { r.Cut() },
	"cut, and closed for a while": func(t *testing.T, r *sandbox.Relay) {
		had := r.Accepted.Load()
		r.Refuse.Store(true)
		r.Cut()
		await(t, "second attempt", func() bool { return r.Accepted.Load() >= had+2 })
		r.Refuse.Store(false)
	},
	"stalled": func(t *testing.T, r *sandbox.Relay) {
		had := r.Accepted.Load()
		r.Mute.Store(true)
		await(t, "new connection", func() bool { return r.Accepted.Load() > had })
		r.Mute.Store(false)
	},
	"slowed": func(_ *testing.T, r *sandbox.Relay) { r.Delay(20 * time.Millisecond) },
}

// A trouble is a fault that comes after so many percent of the bytes that an undisturbed run passes on.
type trouble struct {
	fault string
	after int64
}

// troubles are what befalls one run each.
var troubles = [][]trouble{
	{{"cut", 1}, {"cut", 30}, {"cut, and closed for a while", 55}, {"stalled", 75}, {"cut", 95}},
	{{"stalled", 5}, {"slowed", 40}, {"cut", 60}, {"cut", 99}},
}

// Whatever the network does for a while, a snapshot and a restore go on where they were.
func (s *site) testNetwork(t *testing.T) {
	r, through := s.relay(0, 3*time.Second)
	w := newStruckWriter(t, s)
	restore := func(target string) *running {
		return start(t, through("restore", "-i", s.recovery, "--snapshot", "latest", "--trust-media", "--target", target))
	}
	up := r.Up.Load()
	w.begin(through).must(exitDone)
	up = r.Up.Load() - up
	down := r.Down.Load()
	restore(t.TempDir()).must(exitDone)
	down = r.Down.Load() - down
	cases := 0
	for _, list := range troubles {
		u := w.begin(through)
		cases += disturb(t, r, u.running, r.Up.Load, up, list)
		u.must(exitDone)
		w.listed(u)

		target := t.TempDir()
		back := restore(target)
		cases += disturb(t, r, back, r.Down.Load, down, list)
		back.must(exitDone)
		got, err := compare.Tree(filepath.Join(target, "public-system"))
		if err == nil {
			err = u.media.Diff(got)
		}
		if err != nil {
			t.Errorf("%v: %v", list, err)
		}
	}
	w.compare()
	w.tidy()
	t.Logf("%d faults in %d snapshots and %d restores", cases, len(troubles), len(troubles))
}

// disturb lets the network fail each time that so many percent of all bytes were passed on. It returns how often.
func disturb(t *testing.T, r *sandbox.Relay, run *running, passed func() int64, all int64, list []trouble) (n int) {
	t.Helper()
	defer r.Delay(0)
	begin := passed()
	for _, f := range list {
		for passed()-begin < all*f.after/100 && run.runs() {
			time.Sleep(100 * time.Microsecond)
		}
		if run.runs() {
			faults[f.fault](t, r)
			n++
		}
	}
	<-run.ended
	if n < 2 {
		t.Errorf("%v: only %d of it came before the end", list, n)
	}
	return n
}

// toldBefore matches what a restore may have said of what came back before it failed: a warning may have a hint.
var toldBefore = regexp.MustCompile(`(?m)^restoring snapshot .*\n|^permafrost: warning: .*\n(?:permafrost: hint: .*\n)?`)

// A server that is gone for good ends in one clear error.
func (s *site) testServerGone(t *testing.T) {
	r, through := s.relay(0, time.Second)
	w := newStruckWriter(t, s)
	w.begin(through).must(exitDone)
	before := s.snapshots(t)
	cases := 0
	for _, gone := range []struct {
		how string
		set func(bool)
	}{
		{"refuses", func(on bool) {
			if r.Refuse.Store(on); on {
				r.Cut()
			}
		}},
		{"is silent", r.Mute.Store},
	} {
		for _, args := range [][]string{
			{"snapshot", "--live", w.live, "--limit-upload", "100K"},
			{"restore", "-i", s.recovery, "--snapshot", "latest", "--target", "gone", "--limit-download", "100K"},
		} {
			w.change(w.n)
			run := start(t, through(args...))
			passed := r.Down.Load()
			await(t, "traffic", func() bool { return r.Down.Load()-passed > 20_000 || !run.runs() })
			gone.set(true)
			got := run.must(exitFailed)
			got.stderr = toldBefore.ReplaceAllString(got.stderr, "")
			told(t, got, "gave up after", "a new run goes on where this one stopped")
			gone.set(false)
			r.Cut()
			if err := os.RemoveAll(filepath.Join(s.home, "gone")); err != nil {
				t.Fatal(err)
			}
			cases++
		}
	}
	if after := s.snapshots(t); !slices.EqualFunc(before, after, func(a, b keeper.Snapshot) bool { return a.ID == b.ID }) {
		t.Errorf("%+v became %+v", before, after)
	}
	w.begin(through).must(exitDone)
	w.compare()
	w.tidy()
	t.Logf("%d runs whose server was gone", cases)
}
