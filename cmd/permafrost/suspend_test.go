package main

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// A writer is halted before its snapshot is committed, and goes on days later: what it had stored was left over, and a
// prune has deleted it.
func (s *site) testSuspendedWriter(t *testing.T) {
	r, through := s.relay(0, 0)
	w := newStruckWriter(t, s)
	w.begin(through).must(exitDone)
	for _, stage := range []string{"leases", "tmp", "packs", "index", "manifests"} {
		for tries := 1; ; tries++ {
			r.Delay(20 * time.Millisecond)
			before, log := s.names(stage), len(s.names("log"))
			u := w.begin(through)
			halted := s.halt(u.running, stage, came, before)
			r.Delay(0)
			if !halted || len(s.names("log")) != log {
				if tries == 5 {
					t.Fatalf("%s: never in time", stage)
				}
				if halted {
					signalTo(t, u.c.Process.Pid, unix.SIGCONT)
				}
				u.must(exitDone)
				continue
			}
			s.age("", 80*time.Hour)
			pruned := decode[pruneLine](t, s.run(exitDone, "prune", "-i", s.recovery, "--json").stdout, "prune")
			if stage != "leases" && stage != "tmp" && pruned[0].LeftOver == 0 {
				t.Errorf("%s: nothing was left over", stage)
			}
			signalTo(t, u.c.Process.Pid, unix.SIGCONT)
			got := u.wait()
			if got.code != exitDone {
				u.fails("a prune removed data")
			} else {
				u.must(exitDone)
			}
			t.Logf("halted at %s; %d left-over objects pruned; then exit code %d", stage, pruned[0].LeftOver, got.code)
			w.listed(u)
			break
		}
		u := w.begin(through)
		u.must(exitDone)
		w.listed(u)
	}
	w.compare()
	w.tidy()
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
		for tries := 1; ; tries++ {
			w.next().must(exitDone)
			w.next().must(exitDone)
			w.forget(1)
			r.Delay(20 * time.Millisecond)
			before := s.names(stage.dir)
			first := start(t, through("prune", "-i", s.recovery, "--max-unused", "0"))
			halted := s.halt(first, stage.dir, stage.changed, before)
			r.Delay(0)
			if !halted {
				first.must(exitDone)
				if tries == 5 {
					t.Fatalf("%s: never in time", stage.name)
				}
				continue
			}
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
			break
		}
	}
	w.compare()
	w.tidy()
}
