package repo_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
)

// What a machine has opened of the log it reads no more, however long that is; one that remembers nothing reads it all.
func TestOpenedLog(t *testing.T) {
	st, owner := longLog(t, 30)
	dir := t.TempDir()
	reads := func() int64 {
		t.Helper()
		var n atomic.Int64
		hook := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
			if op.Kind == "ReadAt" && strings.HasPrefix(op.Name, "log/") {
				n.Add(1)
			}
			return storetest.None
		}}
		r, err := openRepo(t.Context(), hook, owner, repo.Options{StateDir: filepath.Join(dir, "state"), CacheDir: filepath.Join(dir, "cache")})
		if err != nil || len(r.Snapshots()) != 10 {
			t.Fatal(err)
		}
		return n.Load()
	}
	if n := reads(); n < 70 { // 40 snapshots, of which 30 are forgotten, and the beginning
		t.Errorf("%d entries are read at first", n)
	}
	if n := reads(); n > 1 {
		t.Errorf("%d entries are read again", n)
	}
}
