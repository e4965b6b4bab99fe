package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
	"permafrost/repo"
)

// A crowd is processes that work on one repository at once, none of which waits for another: leases are advisory only.
type crowd struct {
	*site
	t   *testing.T
	end time.Time
	wg  sync.WaitGroup

	mu        sync.Mutex
	made      map[string]compare.State // snapshots that were acknowledged
	forgotten map[string]bool          // those that were to be forgotten
	done      map[string]int           // commands that went well
}

// Two writers, two pruners, one that forgets and one that checks, at once: what was acknowledged and not forgotten comes
// back, a check never finds damage, and a last prune leaves nothing that nobody needs.
func TestTogether(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init()
	c := &crowd{site: s, t: t, end: time.Now().Add(*load), made: make(map[string]compare.State), forgotten: make(map[string]bool), done: make(map[string]int)}
	writers := []*loadWriter{newLoadWriter(t, s, 0), newLoadWriter(t, s, 1)}
	stop := make(chan struct{})
	var aging sync.WaitGroup
	aging.Go(func() { c.ageLeases(stop) })
	for _, w := range writers {
		c.wg.Go(func() { c.write(w) })
	}
	for _, args := range [][]string{{"prune", "--max-unused", "0"}, {"prune"}, {"check", "--read-data"}} {
		at := s.elsewhere(filepath.Join(t.TempDir(), "machine"))
		c.repeat(func() { c.run(at, append(args, "-i", s.recovery)...) })
	}
	at := s.elsewhere(filepath.Join(t.TempDir(), "machine"))
	c.repeat(func() { c.forget(at) })
	c.wg.Wait()
	close(stop)
	aging.Wait()
	c.settle(writers[0])
}

// ageLeases keeps leases so old that nobody waits for who has put them.
func (c *crowd) ageLeases(stop <-chan struct{}) {
	old := time.Now().Add(-time.Hour)
	for {
		leases, _ := filepath.Glob(filepath.Join(c.place(), "leases", "*")) // the pattern is sound
		for _, path := range leases {
			_ = os.Chtimes(path, old, old) // it may be gone
		}
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (c *crowd) repeat(f func()) {
	c.wg.Go(func() {
		for time.Now().Before(c.end) && !c.t.Failed() {
			f()
		}
	})
}

// run runs a command that does its work, or is locked out by those who are faster.
func (c *crowd) run(at func(...string) *command, args ...string) {
	r := at(args...).run(c.t)
	if r.code != exitDone && (r.code != exitLocked || args[0] != "prune") {
		c.t.Errorf("%s: exit code %d\n%s%s", args[0], r.code, r.stdout, r.stderr)
	}
	c.count(args[0], r.code == exitDone)
}

func (c *crowd) count(what string, well bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if well {
		c.done[what]++
	}
}

// write makes one snapshot after the other. One that a prune has overtaken is not committed, and says so.
func (c *crowd) write(w *loadWriter) {
	for n := 0; time.Now().Before(c.end) && !c.t.Failed(); n++ {
		if err := w.change(n); err != nil {
			c.t.Error(err)
			return
		}
		media, err := compare.Tree(w.media())
		if err != nil {
			c.t.Error(err)
			return
		}
		r := w.command("snapshot", "--live", w.live, "--json").run(c.t)
		made := decode[struct{ ID string }](c.t, r.stdout, "summary")
		switch {
		case r.code == exitDone && len(made) == 1:
			c.mu.Lock()
			c.made[made[0].ID] = media
			c.mu.Unlock()
			c.count("snapshot", true)
		case !strings.Contains(r.stderr, repo.ErrPruned.Error()):
			c.t.Errorf("snapshot: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
}

// forget takes the oldest off the list where there are more than two.
func (c *crowd) forget(at func(...string) *command) {
	lines := decode[keeper.Snapshot](c.t, at("snapshots", "--json", "-i", c.recovery).run(c.t).stdout, "snapshot")
	if len(lines) <= 2 {
		return
	}
	c.mu.Lock()
	c.forgotten[lines[0].ID] = true
	c.mu.Unlock()
	c.run(at, "forget", lines[0].ID, "-i", c.recovery)
}

// settle looks at what has become of the repository.
func (c *crowd) settle(w *loadWriter) {
	var listed []string
	for _, line := range c.snapshots(c.t) {
		listed = append(listed, line.ID)
	}
	w.made = make(map[string]compare.State)
	for id, media := range c.made {
		if !c.forgotten[id] {
			w.made[id] = media
		} else if slices.Contains(listed, id) {
			c.t.Errorf("%s is listed still", id)
		}
		if !c.forgotten[id] && !slices.Contains(listed, id) {
			c.t.Errorf("%s is not listed", id)
		}
	}
	w.compare()
	c.site.run(exitDone, "prune", "-i", c.recovery, "--max-unused", "0")
	c.site.run(exitDone, "check", "-i", c.recovery, "--read-data")
	w.compare()
	if c.done["snapshot"] < 2 {
		c.t.Errorf("hardly anything was done: %v", c.done)
	}
	c.t.Logf("%v, %d restored", c.done, len(w.made))
}
