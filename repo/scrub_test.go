package repo_test

import (
	"errors"
	"strings"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/scrub"
	"permafrost/repo/store"
)

// A scrub without any key finds each object that is not what its name says, and no other.
func TestScrub(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	mustSnapshot(t, w.open(w.writer), night(20), 2)

	scrub := func(st store.Store) (found []string) {
		t.Helper()
		res, err := scrub.Run(t.Context(), st, scrub.Options{Problem: func(err error) {
			var d *store.DamageError
			if !errors.As(err, &d) {
				t.Errorf("no damage: %v", err)
				return
			}
			found = append(found, d.Object)
		}})
		if err != nil || res.Problems != len(found) || res.Bytes == 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		return found
	}
	if found := scrub(st); len(found) > 0 {
		t.Fatalf("without damage: %v", found)
	}
	tried := 0
	for _, name := range st.Names() {
		hashed := strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "index/") || strings.HasPrefix(name, "manifests/")
		mine := st.Clone()
		mine.Corrupt(name, -1)
		found := scrub(mine)
		if hashed && (len(found) != 1 || found[0] != name) || !hashed && len(found) > 0 {
			t.Errorf("%s flipped: found %v", name, found)
		}
		if hashed {
			tried++
		}
	}
	if tried < 6 {
		t.Errorf("only %d objects are named by a hash", tried)
	}
}
