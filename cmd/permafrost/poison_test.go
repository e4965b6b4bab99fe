package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/internal/keeper"
	"permafrost/repo/ledger"
)

// confirmAll says that all snapshots so far are as they should be.
func (v *victim) confirmAll() {
	v.t.Helper()
	args := []string{"confirm"}
	for _, l := range v.snapshots(v.t) {
		args = append(args, l.ID)
	}
	v.run(exitDone, args...)
}

// A host that was taken over makes snapshots that a policy would keep in place of the good ones. They are named, and the good
// ones stay until a person confirms the others.
func (v *victim) testPoison() {
	now := time.Now().UTC().Truncate(time.Second)
	for name, poison := range map[string]struct {
		do   func(*victim)
		want string
	}{
		"future":  {func(v *victim) { v.claim(now.AddDate(0, 1, 0)) }, "after it came to the storage"},
		"past":    {func(v *victim) { v.claim(now.AddDate(0, -1, 0)) }, "but came to the storage at"},
		"flood":   {func(v *victim) { v.flood(now.AddDate(0, 0, 2), 20) }, "after it came to the storage"},
		"shrunk":  {(*victim).shrink, "its media have "},
		"by name": {func(v *victim) { v.run(exitSuspect, "snapshot", "--date", "2001-01-01") }, "it is dated 2001-01-01"},
	} {
		v.t.Run(name, func(t *testing.T) {
			v := v.on(t)
			v = v.at(v.copyOf())
			v.confirmAll()
			before := v.snapshots(t)
			newest := before[len(before)-1].ID
			poison.do(v)
			all := v.snapshots(t)
			if name == "shrunk" {
				newest = all[len(all)-2].ID
			}
			r := v.run(exitDone, "forget", "--keep-last", "1")
			if !strings.Contains(r.stderr, poison.want) || !strings.Contains(r.stderr, "warning: snapshot ") || !strings.Contains(r.stderr, "permafrost confirm ") {
				t.Errorf("forget does not tell %q:\n%s", poison.want, r.stderr)
			}
			left := v.snapshots(t)
			bad := all[len(all)-1].ID
			if len(left) != 2 || left[0].ID != newest || left[1].ID != bad {
				t.Errorf("left are %+v", left)
			}
			if table := v.run(exitDone, "snapshots").stdout; strings.Count(table, "looks wrong") != 1 {
				t.Errorf("snapshots does not mark the bad one:\n%s", table)
			}
			if r := v.command("check").run(t); (r.code == exitDamage) != (name == "future" || name == "past" || name == "flood") ||
				r.code == exitDamage && !strings.Contains(r.stdout, "its log entry and its manifest have different numbers") {
				t.Errorf("check ends with %d:\n%s%s", r.code, r.stdout, r.stderr)
			}
			v.run(exitDone, "confirm", bad)
			v.run(exitDone, "forget", "--keep-last", "1")
			left = v.snapshots(t)
			ahead := name == "future" || name == "flood" // what is dated in the future pushes out nothing even then
			if gone := !slices.ContainsFunc(left, func(l keeper.Snapshot) bool { return l.ID == newest }); gone == (ahead || name == "past") {
				t.Errorf("once it is confirmed there are %+v", left)
			}
		})
	}
}

// claim commits a snapshot that says it was made at some time.
func (v *victim) claim(at time.Time) {
	v.t.Helper()
	f := v.forger(filepath.Join(v.home, "writer.key"))
	last := v.snapshots(v.t)[0]
	id := f.put("manifests/", f.seal("PFMANIF\x01", f.body("manifests/"+last.Manifest)))
	there := ledger.Holding{Secrets: ledger.Captured, Postgres: ledger.DatabaseHolding{State: ledger.Captured, Size: last.Size}, Redis: ledger.Captured,
		Media: ledger.MediaHolding{State: ledger.Captured, Files: 1000, Size: last.Size}}
	f.publish(&ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: id, SnapshotInfo: ledger.SnapshotInfo{
		Instance: last.Instance, Host: last.Host, Date: at.Format(time.DateOnly), Time: at, Size: last.Size, Holding: there}}})
}

// flood commits many snapshots at once.
func (v *victim) flood(at time.Time, n int) {
	v.t.Helper()
	for i := range n {
		v.claim(at.Add(time.Duration(i) * time.Second))
	}
}

// shrink makes a snapshot of next to no media after one of much.
func (v *victim) shrink() {
	v.t.Helper()
	v.addMedia("much.jpg", 3<<20)
	v.run(exitDone, "snapshot")
	if err := os.Remove(filepath.Join(v.root, "much.jpg")); err != nil {
		v.t.Fatal(err)
	}
	v.run(exitSuspect, "snapshot")
}

// On some nights the media's disk is not mounted. Whatever is forgotten by name then, no policy removes a good night for
// the sake of a bad one, until a person says that it is right.
func (v *victim) testUnmounted() {
	policy := []string{"forget", "--keep-last", "1", "--prune", "-i", v.recovery}
	for name, test := range map[string]func(v *victim, good, bad []string){
		"bad ones forgotten one by one": func(v *victim, good, bad []string) {
			v.keeps(policy, good[1], bad[1])
			v.run(exitDone, "forget", bad[1])
			v.keeps(policy, good[1])
		},
		"the newest good one forgotten": func(v *victim, good, bad []string) {
			v.run(exitDone, "forget", good[1])
			v.run(exitDone, "prune", "-i", v.recovery)
			v.keeps(policy, good[0], bad[1])
		},
		"all good ones forgotten": func(v *victim, good, bad []string) {
			v.run(exitDone, "forget", good[0], good[1])
			v.run(exitDone, "prune", "-i", v.recovery)
			v.keeps(policy, v.first, bad[1])
			v.run(exitDone, "forget", v.first)
			v.keeps(policy, bad[1])
		},
		"confirmed": func(v *victim, good, bad []string) {
			v.keeps(policy, good[1], bad[1])
			v.run(exitDone, "confirm", bad[1][:10])
			v.keeps(policy, bad[1])
			v.run(exitDone, "snapshot")
			v.run(exitDone, policy...)
		},
		"confirmed, and taken back": func(v *victim, good, bad []string) {
			v.run(exitDone, "confirm", bad[1])
			v.run(exitDone, "confirm", "--revoke", bad[1])
			v.keeps(policy, good[1], bad[1])
		},
	} {
		v.t.Run(name, func(t *testing.T) {
			v := v.on(t)
			v = v.at(v.copyOf())
			v.confirmAll()
			all := v.snapshots(t)
			v.first = all[len(all)-1].ID
			night := func(code int) string {
				v.run(code, "snapshot")
				l := v.snapshots(t)
				return l[len(l)-1].ID
			}
			v.addMedia("much.jpg", 3<<20)
			good := []string{night(exitDone), night(exitDone)}
			if err := os.Remove(filepath.Join(v.root, "much.jpg")); err != nil {
				t.Fatal(err)
			}
			test(v, good, []string{night(exitSuspect), night(exitSuspect)})
		})
	}
}

// keeps sees what a policy leaves, and that all of it is whole.
func (v *victim) keeps(policy []string, want ...string) {
	v.t.Helper()
	v.run(exitDone, policy...)
	var got []string
	for _, l := range v.snapshots(v.t) {
		got = append(got, l.ID)
	}
	if !slices.Equal(got, want) {
		v.t.Errorf("left are %v, want %v", got, want)
	}
	v.run(exitDone, "check", "-i", v.recovery, "--read-data")
}
