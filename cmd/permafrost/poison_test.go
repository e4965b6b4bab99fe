package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"permafrost/repo"
)

// A host that was taken over makes snapshots that a policy would keep in place of the good ones: the policy is refused, a
// dry run warns, and what is bad is named.
func (v *victim) testPoison() {
	now := time.Now().UTC().Truncate(time.Second)
	for name, poison := range map[string]struct {
		do   func(*victim)
		want string
	}{
		"future":  {func(v *victim) { v.claim(now.AddDate(0, 1, 0)) }, "after it came to the storage"},
		"past":    {func(v *victim) { v.claim(now.AddDate(0, -1, 0)) }, "but came to the storage at"},
		"flood":   {func(v *victim) { v.flood(now, 20) }, "within a day, where 4 were usual"},
		"shrunk":  {(*victim).shrink, "its media have "},
		"by name": {func(v *victim) { v.run(exitDone, "snapshot", "--date", "2001-01-01") }, "is dated 2001-01-01"},
	} {
		v.t.Run(name, func(t *testing.T) {
			v := v.on(t)
			v = v.at(v.copyOf())
			v.run(exitDone, "forget", "--keep-last", "100", "--force") // all that came before is known to be as it should be
			poison.do(v)
			before := len(v.snapshots(t))
			policy := []string{"forget", "--keep-last", "1"}
			dry := v.run(exitDone, append(policy, "--dry-run")...)
			refused := v.run(exitFailed, policy...)
			for _, r := range []result{dry, refused} {
				if !strings.Contains(r.stderr, poison.want) || !strings.Contains(r.stderr, "warning: snapshot ") {
					t.Errorf("forget does not tell %q:\n%s", poison.want, r.stderr)
				}
			}
			if !strings.Contains(refused.stderr, "--force") || len(v.snapshots(t)) != before {
				t.Errorf("of %d snapshots %d are left\n%s", before, len(v.snapshots(t)), refused.stderr)
			}
			v.run(exitDone, append(policy, "--force")...)
			if n := len(v.snapshots(t)); n >= before {
				t.Errorf("with --force %d of %d are left", n, before)
			}
		})
	}
}

// claim commits a snapshot that says it was made at some time.
func (v *victim) claim(at time.Time) {
	v.t.Helper()
	f := v.forger(filepath.Join(v.home, "writer.key"))
	last := v.snapshots(v.t)[0]
	id := f.put("manifests/", f.seal("PFMANIF\x01", f.body("manifests/"+last.ID)))
	f.publish(&repo.Entry{Snapshot: &repo.SnapshotEntry{ID: id, SnapshotInfo: repo.SnapshotInfo{
		Instance: last.Instance, Host: last.Host, Date: at.Format(time.DateOnly), Time: at, Size: last.Size}}})
}

// flood commits snapshots at once, after a first that came two days ago.
func (v *victim) flood(at time.Time, n int) {
	v.t.Helper()
	logs := v.objects()
	for _, name := range logs {
		if strings.HasPrefix(name, "log/") {
			if err := os.Chtimes(filepath.Join(v.place(), name), time.Time{}, at.AddDate(0, 0, -2)); err != nil {
				v.t.Fatal(err)
			}
		}
	}
	for range n {
		v.claim(at)
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
	v.run(exitDone, "snapshot")
}

// On some nights the media's disk is not mounted. Whatever is forgotten by name then, no policy removes a good night for
// the sake of a bad one, until a person says that it is well.
func (v *victim) testUnmounted() {
	policy := []string{"forget", "--keep-last", "1", "--prune", "-i", v.recovery}
	for name, test := range map[string]func(v *victim, good, bad []string){
		"bad ones forgotten one by one": func(v *victim, good, bad []string) {
			for _, id := range bad {
				v.refuses(policy, id)
				v.run(exitDone, "forget", id)
			}
			v.run(exitDone, policy...)
			v.left(good[1])
		},
		"good ones forgotten": func(v *victim, good, bad []string) {
			v.run(exitDone, "forget", good[0])
			v.run(exitDone, "prune", "-i", v.recovery)
			v.refuses(policy, bad...)
			v.run(exitDone, "forget", good[1])
			v.refuses(policy, bad...)
		},
		"confirmed": func(v *victim, _, bad []string) {
			v.refuses(policy, bad...)
			v.run(exitDone, append(policy, "--force")...)
			v.left(bad[1])
			v.run(exitDone, "snapshot")
			v.run(exitDone, policy...)
		},
	} {
		v.t.Run(name, func(t *testing.T) {
			v := v.on(t)
			v = v.at(v.copyOf())
			v.run(exitDone, "forget", "--keep-last", "100", "--force")
			night := func() string {
				v.run(exitDone, "snapshot")
				l := v.snapshots(t)
				return l[len(l)-1].ID
			}
			v.addMedia("much.jpg", 3<<20)
			good := []string{night(), night()}
			if err := os.Remove(filepath.Join(v.root, "much.jpg")); err != nil {
				t.Fatal(err)
			}
			test(v, good, []string{night(), night()})
		})
	}
}

// refuses sees that a policy names snapshots and removes nothing.
func (v *victim) refuses(policy []string, named ...string) {
	v.t.Helper()
	before := len(v.snapshots(v.t))
	r := v.run(exitFailed, policy...)
	for _, id := range named {
		if !strings.Contains(r.stderr, "snapshot "+id[:8]) {
			v.t.Errorf("%s is not named:\n%s", id[:8], r.stderr)
		}
	}
	if n := len(v.snapshots(v.t)); n != before || strings.Contains(r.stdout, "remove") {
		v.t.Errorf("%d of %d snapshots are left\n%s", n, before, r.stdout)
	}
}

// left sees that one snapshot alone is left, and whole.
func (v *victim) left(id string) {
	v.t.Helper()
	if l := v.snapshots(v.t); len(l) != 1 || l[0].ID != id {
		v.t.Errorf("left are %+v", l)
	}
	v.run(exitDone, "check", "-i", v.recovery, "--read-data")
}
