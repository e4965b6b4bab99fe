package repo_test

import (
	"testing"

	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A run goes on with the packs that an interrupted one has left, and somebody else prunes meanwhile: these packs are no less there
// because no index lists them yet.
func TestResumedWhileOthersPrune(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	c := content{repo.Media: blobs(7, 6, 100<<10)}
	interrupted, err := w.open(w.writer).NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range c[repo.Media] {
		if _, err := interrupted.Add(t.Context(), repo.Media, interrupted.Sum(repo.Media, b), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := interrupted.Flush(); err != nil {
		t.Fatal(err)
	}
	interrupted.Abort()

	pruned := false
	r, err := w.tryOpen(before(st, "Put", "manifests/", func() {
		if err := fresh(t, st, evil).PublishRaw(t.Context(), &ledger.Entry{Prune: &ledger.PruneEntry{Packs: []store.Name{{1}}}}); err != nil {
			t.Error(err)
		}
		pruned = true
	}), w.writer)
	if err != nil {
		t.Fatal(err)
	}
	ref, stats := mustSnapshot(t, r, c, 2)
	if stats[repo.Media].Fresh > 0 || !pruned {
		t.Errorf("%+v, pruned: %v", stats[repo.Media], pruned)
	}
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Error(err)
	}
	mustBeClean(t, fresh(t, st, w.owner))
}
