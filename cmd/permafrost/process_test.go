package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox"
)

var (
	kills    = flag.Int("kills", 14, "how many processes TestProcesses kills or halts")
	killSeed = flag.Uint64("kill-seed", 0, "which ones, and when; 0: by chance")
)

// A processTest is a part of TestProcesses.
type processTest struct {
	name  string
	run   func(*site, *testing.T)
	alone bool // it strikes what the others share
}

var processTests = []processTest{
	{"struck", (*site).testStruck, true},
	{"database gone", (*site).testDatabaseGone, true},
	{"network", (*site).testNetwork, false},
	{"server gone", (*site).testServerGone, false},
	{"suspended writer", (*site).testSuspendedWriter, false},
	{"suspended pruner", (*site).testSuspendedPruner, false},
	{"killed writer", (*site).testKilledWriter, false},
}

// Processes are killed and halted, connections cut, stalled and slowed, clocks wrong, while real programs work on a real
// repository. Nothing that was acknowledged is lost, nothing that was not is listed by halves, and the next night and a
// prune set everything right.
func TestProcesses(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	for _, test := range processTests {
		t.Run(test.name, func(t *testing.T) {
			if !test.alone {
				t.Parallel()
			}
			test.run(s.anew(t), t)
		})
	}
}

// anew returns a machine and an empty repository for a subtest.
func (s *site) anew(t *testing.T) *site {
	t.Helper()
	c := s.on(t)
	c.home = t.TempDir()
	c.recovery = filepath.Join(c.home, "recovery.key")
	c.repo += "-" + strings.ReplaceAll(filepath.Base(t.Name()), " ", "-")
	c.init()
	return c
}

// A struckWriter makes snapshots while something befalls the processes that take part.
type struckWriter struct {
	*loadWriter
	site   *site
	chance *rand.Rand
	usual  time.Duration // that an undisturbed snapshot takes
	n      int           // snapshots begun
	struck map[string]int
}

func newStruckWriter(t *testing.T, s *site) *struckWriter {
	t.Helper()
	w := &struckWriter{loadWriter: newLoadWriter(t, s, 0), site: s, struck: make(map[string]int)}
	w.next().must(exitDone)
	return w
}

// A blow befalls a process at some moment of a snapshot.
type blow struct {
	target string
	signal unix.Signal
	after  time.Duration // the program's begin, or pg_dump's
	pause  time.Duration // of one that is only halted
}

func (b blow) String() string {
	return fmt.Sprintf("%s %s", b.target, map[unix.Signal]string{unix.SIGKILL: "killed", unix.SIGSTOP: "halted"}[b.signal])
}

// blows are what testStruck deals out in turn.
var blows = []blow{
	{target: "permafrost", signal: unix.SIGKILL}, {target: "sshd", signal: unix.SIGKILL}, {target: "pg_dump", signal: unix.SIGKILL},
	{target: "permafrost", signal: unix.SIGKILL}, {target: "sshd", signal: unix.SIGKILL}, {target: "pg_dump", signal: unix.SIGSTOP},
	{target: "permafrost", signal: unix.SIGSTOP}, {target: "sshd", signal: unix.SIGSTOP},
}

// Processes are killed, and halted for a while, at moments that chance chooses.
func (s *site) testStruck(t *testing.T) {
	seed := *killSeed
	for seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-kill-seed %d", seed)
	// A dump that takes a moment.
	s.sql("CREATE TABLE ballast AS SELECT n, repeat(md5(n::text), 64) AS text FROM generate_series(1, 8192) n")
	defer s.sql("DROP TABLE ballast")
	w := newStruckWriter(t, s)
	begin := time.Now()
	w.next().must(exitDone) // the first one took longer
	w.usual = time.Since(begin)
	w.chance = rand.New(rand.NewPCG(seed, 0))
	missed, restored := 0, 0
	for dealt := 0; dealt < *kills && !t.Failed(); {
		b := blows[dealt%len(blows)]
		b.after, b.pause = time.Duration(w.chance.Int64N(int64(w.usual))), time.Duration(w.chance.Int64N(int64(time.Second)))
		if b.target == "pg_dump" {
			b.after /= 8 // it is there for part of the time only
		}
		if !w.deal(b) {
			missed++ // it had ended by then
			continue
		}
		w.struck[b.String()]++
		if dealt++; dealt%7 == 0 {
			restored += len(w.made)
			w.compare()
			w.tidy()
		}
	}
	restored += len(w.made)
	w.compare()
	w.tidy()
	t.Logf("%d blows, %v, and %d that came too late; %d snapshots begun, %d restored", *kills, w.struck, missed, w.n, restored)
}

// deal makes a snapshot, and deals a blow in the middle of it. It reports whether that met anybody.
func (w *struckWriter) deal(b blow) (met bool) {
	w.t.Helper()
	u := w.next()
	pid := u.aim(b)
	met = pid != 0 && hit(w.t, pid, b)
	switch {
	case met && b.signal == unix.SIGKILL && b.target == "permafrost":
		u.mustBeKilled()
	case met && b.signal == unix.SIGKILL && b.target == "pg_dump":
		u.fails("postgres: ", "pg_dump failed: signal: killed")
	default:
		u.must(exitDone)
	}
	w.listed(u)
	return met
}

// hit halts a process, so that it is known whether it had ended before, and then kills it or lets it go on.
func hit(t *testing.T, pid int, b blow) (met bool) {
	t.Helper()
	if !halt(t, pid) {
		return false
	}
	if b.signal == unix.SIGKILL {
		signalTo(t, pid, unix.SIGKILL)
		return true
	}
	time.Sleep(b.pause)
	signalTo(t, pid, unix.SIGCONT)
	return true
}

// halt halts a process, and reports whether it had not ended before.
func halt(t *testing.T, pid int) bool {
	t.Helper()
	if unix.Kill(pid, unix.SIGSTOP) != nil {
		return false
	}
	state := ""
	await(t, "process that stands still", func() bool {
		_, state = parentAndState(pid)
		return state == "T" || state == "Z" || state == ""
	})
	return state == "T"
}

// aim waits for the moment of a blow, and returns the process that it is to meet. It returns 0 where the snapshot was
// made before.
func (u *underway) aim(b blow) (pid int) {
	if b.target == "pg_dump" {
		for u.runs() && childOf(u.c.Process.Pid, "pg_dump", "--snapshot") == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	select {
	case <-u.ended:
		return 0
	case <-time.After(b.after):
	}
	for pid == 0 && u.runs() {
		switch b.target {
		case "permafrost":
			return u.c.Process.Pid
		case "pg_dump":
			return childOf(u.c.Process.Pid, "pg_dump", "--snapshot")
		case "sshd":
			if all := descendants(u.w.site.SSHD.PID); len(all) > 0 {
				return all[u.w.chance.IntN(len(all))]
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0
}

// descendants lists the processes below one.
func descendants(root int) (all []int) {
	children := make(map[int][]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if parent, state := parentAndState(pid); state != "Z" && state != "" {
			children[parent] = append(children[parent], pid)
		}
	}
	all = children[root]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// parentAndState reads what /proc tells of a process; the state of one that is gone is "".
func parentAndState(pid int) (parent int, state string) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // "PID (NAME) STATE PARENT ..."
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 2 {
		return 0, ""
	}
	parent, _ = strconv.Atoi(fields[1])
	return parent, fields[0]
}

// forget forgets all snapshots but the last so many.
func (w *struckWriter) forget(keep int) {
	w.t.Helper()
	args := []string{"forget"}
	for _, l := range w.site.snapshots(w.t) {
		args = append(args, l.ID)
	}
	args = args[:max(1, len(args)-keep)]
	for _, id := range args[1:] {
		delete(w.made, id)
	}
	if len(args) > 1 {
		w.site.run(exitDone, args...)
	}
}

// tidy forgets all snapshots but two and prunes, long after: nothing is left of what was struck.
func (w *struckWriter) tidy() {
	w.t.Helper()
	w.forget(2)
	w.site.age("", 80*time.Hour)
	w.site.run(exitDone, "prune", "-i", w.site.recovery)
	w.site.spotless()
}

// spotless looks for damage, and for what no snapshot needs.
func (s *site) spotless() {
	s.t.Helper()
	r := s.run(exitDone, "check", "-i", s.recovery, "--read-data", "--json")
	sum := decode[struct {
		Unused   int `json:"packs_unused"`
		Problems int
	}](s.t, r.stdout, "check")
	if len(sum) != 1 || sum[0].Unused != 0 || sum[0].Problems != 0 {
		s.t.Errorf("check finds %+v:\n%s", sum, r.stderr)
	}
	for _, name := range []string{"tmp", "leases"} {
		if left, err := os.ReadDir(filepath.Join(s.place(), name)); err != nil || len(left) > 0 {
			s.t.Errorf("left in %s/: %v, %v", name, left, err)
		}
	}
}

// age has everything in a directory of the repository be older by the server's clock than it is.
func (s *site) age(dir string, by time.Duration) {
	s.t.Helper()
	then := time.Now().Add(-by)
	err := filepath.WalkDir(filepath.Join(s.place(), dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.Chtimes(path, then, then)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server carries out what a halted process has asked for
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
