package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox/compare"
	"permafrost/snapshot/restore"
)

func (s *site) testRestore(t *testing.T) {
	target := filepath.Join(s.home, "restored")
	s.run(exitDone, "restore", "-i", s.recovery, "--date", "2026-06-27", "--target", target)
	want, err := compare.Tree(s.System())
	if err != nil {
		t.Fatal(err)
	}
	got, err := compare.Tree(filepath.Join(target, "public-system"))
	if err != nil {
		t.Fatal(err)
	}
	if err := want.Diff(got); err != nil {
		t.Error(err)
	}
	env, err := os.ReadFile(filepath.Join(s.Live, ".env.production"))
	if err != nil {
		t.Fatal(err)
	}
	if restored, err := os.ReadFile(filepath.Join(target, "env.production")); err != nil || !bytes.Equal(env, restored) {
		t.Errorf("env.production: %v", err)
	}
	for _, name := range []string{"SHA256SUMS", "RESTORE.md", "redis-dump.rdb"} {
		if info, err := os.Stat(filepath.Join(target, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r := s.run(exitDone, "restore", "-i", s.recovery, "--date", "2026-06-27", "--target", target); !strings.Contains(r.stdout, "restored 0 B into ") {
		t.Errorf("what is there was restored once more: %s", r.stdout)
	}
	if r := s.run(exitFailed, "restore", "-i", s.recovery, "--date", "2026-06-26", "--target", target); !strings.Contains(r.stderr, "of 2026-06-27") || !strings.Contains(r.stderr, "--overwrite") {
		t.Errorf("another snapshot in a target that is finished: %s", r.stderr)
	}
	s.testRestoreInto(t, target)
	if r := s.run(exitFailed, "restore", "-i", s.recovery, "--date", "2026-06-01", "--target", target); !strings.Contains(r.stderr, "the first is of 2026-06-26") {
		t.Error(r.stderr)
	}
}

// testRestoreInto makes a target of one night one of the night before, as a dry run says it.
func (s *site) testRestoreInto(t *testing.T, target string) {
	args := []string{"restore", "-i", s.recovery, "--date", "2026-06-26", "--target", target, "--delete", "--json"}
	plan := decode[restore.Planned](t, s.run(exitDone, append(args, "--dry-run")...).stdout, "planned")
	count := make(map[restore.Action]int64)
	for _, p := range plan {
		count[p.Action]++
	}
	sum := decode[keeper.Restored](t, s.run(exitDone, args...).stdout, "summary")[0]
	if sum.Deleted != count[restore.WouldDelete] || sum.Deleted == 0 || sum.Bytes == 0 || sum.KeptFiles == 0 || sum.Refused != 0 || sum.DryRun {
		t.Errorf("planned %v, done %+v", count, sum)
	}
	fresh := filepath.Join(s.home, "before")
	s.run(exitDone, "restore", "-i", s.recovery, "--date", "2026-06-26", "--target", fresh)
	want, err := compare.Tree(filepath.Join(fresh, "public-system"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := compare.Tree(filepath.Join(target, "public-system"))
	if err == nil {
		err = want.Diff(got)
	}
	if err != nil {
		t.Errorf("the night before is not what it is in a directory of its own: %v", err)
	}
	s.sameStreams(fresh, target)
}
