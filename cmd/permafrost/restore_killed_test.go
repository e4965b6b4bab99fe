package main

import (
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
)

var restoreKills = flag.Int("restorekills", 10, "how often TestRestoreKilled kills a restore")

// A restore that is killed goes on each time that the same command is run again, fetches what is missing and no more, and ends as if
// nothing had been.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{Statuses: 12_000, Files: 1_000})
	s.init()
	s.run(exitDated, "snapshot", "--date", "2026-06-26")
	want, err := compare.Tree(s.System())
	if err != nil {
		t.Fatal(err)
	}
	relay, through := s.relay(0, 10*time.Second)
	restore := func(target string) *running {
		return start(t, through("restore", "-i", s.recovery, "--snapshot", "latest", "--json", "--trust-media", "--target", target))
	}
	fetched := func(f func()) int64 {
		before := relay.Down.Load()
		f()
		return relay.Down.Load() - before
	}
	whole := filepath.Join(t.TempDir(), "whole")
	restore(whole).must(exitDone)
	all := fetched(func() { restore(filepath.Join(t.TempDir(), "all")).must(exitDone) })
	none := fetched(func() { restore(whole).must(exitDone) })
	dump := s.size(filepath.Join(whole, "mastodon_production.dump"))
	if none > all/20 {
		t.Errorf("%d of %d bytes were fetched for a restore that was done", none, all)
	}

	// What may be on its way: four packs, a portion of each, and what the connections hold.
	const underWay = 4*6<<20 + 8<<20
	target := filepath.Join(t.TempDir(), "killed")
	chance := rand.New(rand.NewPCG(3, 4))
	have := int64(0)
	for i := range *restoreKills {
		stop := none + chance.Int64N(max((all-none-have)/3, 1))
		run := restore(target)
		got := fetched(func() {
			begin := relay.Down.Load()
			for relay.Down.Load()-begin < stop && run.runs() {
				time.Sleep(100 * time.Microsecond)
			}
			run.c.Process.Kill()
			run.mustBeKilled()
		})
		now := s.wholeFiles(target)
		if waste := got - none - (now - have) - dump; waste > underWay {
			t.Errorf("kill %d: %d bytes were fetched for %d of media", i, got, now-have)
		}
		t.Logf("killed after %d bytes: %d of media there, %d new", got, now, now-have)
		have = now
	}
	if have == 0 {
		t.Error("no kill came in the middle")
	}
	var summary keeper.Restored
	last := fetched(func() {
		summary = theSummary(t, restore(target).must(exitDone).stdout)
	})
	t.Logf("fetched %d at last, with %d of %d bytes there", last, have, all)
	if most := all - have + all/50; last > most {
		t.Errorf("%d bytes were fetched at last, where %d of %d were there", last, have, all)
	}
	if summary.KeptBytes < have || summary.Files+summary.KeptFiles != s.restored(whole).Files {
		t.Errorf("summary %+v", summary)
	}
	got, err := compare.Tree(filepath.Join(target, "public-system"))
	if err == nil {
		err = want.Diff(got)
	}
	if err != nil {
		t.Error(err)
	}
	s.sameStreams(whole, target)
}

// restored returns what a restore into a target that is finished finds there.
func (s *site) restored(target string) (sum keeper.Restored) {
	s.t.Helper()
	sum = theSummary(s.t, s.run(exitDone, "restore", "-i", s.recovery, "--snapshot", "latest", "--json", "--trust-media", "--target", target).stdout)
	if sum.Files != 0 || sum.Bytes != 0 {
		s.t.Errorf("something was not finished: %+v", sum)
	}
	sum.Files = sum.KeptFiles
	return sum
}

// theSummary returns the summary of a restore. A slow one told of its progress before.
func theSummary(t *testing.T, out string) keeper.Restored {
	t.Helper()
	all := decode[keeper.Restored](t, out, "summary")
	if len(all) != 1 {
		t.Fatalf("%d summaries in %q", len(all), out)
	}
	return all[0]
}

func (s *site) size(path string) int64 {
	s.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Size()
}

// wholeFiles returns the bytes of the media that have their names in a target. They must be those of the instance.
func (s *site) wholeFiles(target string) (bytes int64) {
	s.t.Helper()
	root := filepath.Join(target, "public-system")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) && path == root {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".permafrost-") {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if want, err := os.ReadFile(filepath.Join(s.System(), rel)); err != nil || string(want) != string(got) {
			s.t.Errorf("%s has its name, %d bytes of %d, and is not whole: %v", rel, len(got), len(want), err)
		}
		bytes += int64(len(got))
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return bytes
}

// sameStreams compares what two restores have beside the media. Nothing is left behind.
func (s *site) sameStreams(want, got string) {
	s.t.Helper()
	for _, name := range []string{"env.production", "mastodon_production.dump", "redis-dump.rdb", "SHA256SUMS"} {
		a, err := os.ReadFile(filepath.Join(want, name))
		b, err2 := os.ReadFile(filepath.Join(got, name))
		if err != nil || err2 != nil || string(a) != string(b) {
			s.t.Errorf("%s: %v, %v", name, err, err2)
		}
	}
	filepath.WalkDir(got, func(path string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasSuffix(path, ".partial") {
			s.t.Errorf("%s was left: %v", path, err)
		}
		return nil
	})
}
