package repo_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// longLog is a repository with ten snapshots, and the log of all that are gone beside.
func longLog(b testing.TB, gone int) (*storetest.Mem, *keys.Keyring) {
	b.Helper()
	st := storetest.NewMem(b)
	owner, err := keys.NewOwner()
	if err != nil {
		b.Fatal(err)
	}
	writer, err := owner.NewWriter("bench")
	if err == nil {
		err = initRepo(b.Context(), st, owner, writer, repo.InitOptions{Instance: instance})
	}
	if err != nil {
		b.Fatal(err)
	}
	r, err := openFresh(b.Context(), st, owner)
	if err != nil {
		b.Fatal(err)
	}
	for i := range gone + 10 {
		e := &ledger.SnapshotEntry{SnapshotInfo: ledger.SnapshotInfo{Instance: instance, Date: fmt.Sprintf("2026-06-%02d", i%30+1)}}
		if err := r.PublishSnapshot(b.Context(), fmt.Appendf(nil, `{"blobs":{},"n":%d}`, i), e); err != nil {
			b.Fatal(err)
		}
		if _, err := r.CatchUp(b.Context()); err != nil {
			b.Fatal(err)
		}
		if i < gone {
			if err := upkeep.Forget(b.Context(), r, []store.Name{r.Snapshots()[0].ID}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return st, owner
}

// BenchmarkOpen opens and checks a repository on a machine that has seen its log before.
func BenchmarkOpen(b *testing.B) {
	for _, gone := range []int{0, 990} {
		st, owner := longLog(b, gone)
		dir := b.TempDir()
		open := func() *repo.Repo {
			r, err := openRepo(b.Context(), st, owner, repo.Options{StateDir: filepath.Join(dir, "state"), CacheDir: filepath.Join(dir, "cache")})
			if err != nil {
				b.Fatal(err)
			}
			return r
		}
		open()
		b.Run(fmt.Sprintf("10 snapshots, %d gone", gone), func(b *testing.B) {
			for b.Loop() {
				open()
			}
		})
		b.Run(fmt.Sprintf("10 snapshots, %d gone, checked", gone), func(b *testing.B) {
			for b.Loop() {
				if _, err := upkeep.Check(b.Context(), open(), mark, upkeep.CheckOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
