package main

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox"
)

// halt halts a command once something has come, or gone, in a directory of the repository, and reports whether it
// had not ended by then.
func (s *site) halt(run *running, dir string, changed func(before, now map[string]bool) bool, before map[string]bool) bool {
	s.t.Helper()
	for run.runs() {
		if changed(before, s.names(dir)) {
			return halt(s.t, run.c.Process.Pid)
		}
	}
	return false
}

// names lists the objects in a directory of the repository.
func (s *site) names(dir string) map[string]bool {
	s.t.Helper()
	all := make(map[string]bool)
	paths, _ := filepath.Glob(filepath.Join(s.place(), dir, "*"))
	if dir == "packs" {
		paths, _ = filepath.Glob(filepath.Join(s.place(), dir, "??", "*"))
	}
	for _, path := range paths {
		all[path] = true
	}
	return all
}

func came(before, now map[string]bool) bool {
	for name := range now {
		if !before[name] {
			return true
		}
	}
	return false
}

func went(before, now map[string]bool) bool { return came(now, before) }

// patientTries is how often a process is begun that is to be halted at a step that it may be too quick for.
const patientTries = 5

// A writer is halted before its snapshot is committed, and goes on days later: what it had stored was left over, and a
// prune has deleted it.
func (s *site) testSuspendedWriter(t *testing.T) {
	r, through := s.relay(0, 0)
	w := newStruckWriter(t, s)
	w.begin(through).must(exitDone)
	for _, stage := range []string{"leases", "tmp", "packs", "index", "manifests"} {
		u := w.haltedAt(r, through, stage)
		s.age("", 80*time.Hour)
		pruned := decode[keeper.Pruned](t, s.run(exitDone, "prune", "-i", s.recovery, "--json").stdout, "prune")
		if stage != "leases" && stage != "tmp" && pruned[0].LeftOver == 0 {
			t.Errorf("%s: nothing was left over", stage)
		}
		signalTo(t, u.c.Process.Pid, unix.SIGCONT)
		got := u.wait()
		if got.code == exitDone {
			u.must(exitDone)
		} else {
			u.fails("a prune removed data")
		}
		t.Logf("halted at %s; %d left-over objects pruned; then exit code %d", stage, pruned[0].LeftOver, got.code)
		w.listed(u)
		u = w.begin(through)
		u.must(exitDone)
		w.listed(u)
	}
	w.compare()
	w.tidy()
}

// haltedAt begins a snapshot, and halts it once something has come in a directory and before it is committed.
func (w *struckWriter) haltedAt(r *sandbox.Relay, through func(...string) *command, dir string) *underway {
	w.t.Helper()
	for range patientTries {
		r.Delay(20 * time.Millisecond)
		before, log := w.site.names(dir), len(w.site.names("log"))
		u := w.begin(through)
		halted := w.site.halt(u.running, dir, came, before)
		r.Delay(0)
		if halted && len(w.site.names("log")) == log {
			return u
		}
		if halted {
			signalTo(w.t, u.c.Process.Pid, unix.SIGCONT)
		}
		u.must(exitDone)
	}
	w.t.Fatalf("%s: never in time", dir)
	return nil
}

// A pruner is halted at each step, and goes on days later: another one has pruned, and a writer written.
func (s *site) testSuspendedPruner(t *testing.T) {
	r, through := s.relay(0, 0)
	w := newStruckWriter(t, s)
	for _, stage := range []struct {
		name, dir string
		changed   func(before, now map[string]bool) bool
	}{
		{"lease", "leases", came}, {"moved packs", "packs", came}, {"index", "index", came}, {"entry", "log", came}, {"deletions", "packs", went},
	} {
		first := w.haltedPruner(r, through, stage.dir, stage.changed)
		s.age("", 80*time.Hour)
		s.run(exitDone, "prune", "-i", s.recovery, "--max-unused", "0")
		u := w.next()
		u.must(exitDone)
		signalTo(t, first.c.Process.Pid, unix.SIGCONT)
		got := first.wait()
		t.Logf("halted at %s; then exit code %d", stage.name, got.code)
		if got.code != exitDone {
			told(t, got)
		}
		w.listed(u)
	}
	w.compare()
	w.tidy()
}

// haltedPruner makes something to prune, and begins a prune that is halted once a directory has changed.
func (w *struckWriter) haltedPruner(r *sandbox.Relay, through func(...string) *command, dir string, changed func(before, now map[string]bool) bool) *running {
	w.t.Helper()
	for range patientTries {
		w.next().must(exitDone)
		w.next().must(exitDone)
		w.forget(1)
		r.Delay(20 * time.Millisecond)
		before := w.site.names(dir)
		p := start(w.t, through("prune", "-i", w.site.recovery, "--max-unused", "0"))
		halted := w.site.halt(p, dir, changed, before)
		r.Delay(0)
		if halted {
			return p
		}
		p.must(exitDone)
	}
	w.t.Fatalf("%s: never in time", dir)
	return nil
}

// A writer that is halted is waited for. One that was killed is not, on its own machine, however fresh its lease is.
func (s *site) testKilledWriter(t *testing.T) {
	r, through := s.relay(0, 0)
	w := newStruckWriter(t, s)
	u := w.haltedAt(r, through, "packs")
	s.run(exitLocked, "prune", "-i", s.recovery, "--retry-lock", "0s")
	signalTo(t, u.c.Process.Pid, unix.SIGKILL)
	u.mustBeKilled()
	s.run(exitDone, "prune", "-i", s.recovery, "--retry-lock", "0s")
	if left := s.names("leases"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	w.next().must(exitDone)
	w.compare()
}
