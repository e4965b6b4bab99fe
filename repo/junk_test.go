package repo_test

import (
	"slices"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/scrub"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// Objects under names that no object of a repository has are no damage: a check names and counts them, nobody heeds them,
// and a prune by the owner removes them.
func TestJunkNames(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	ref, _ := mustSnapshot(t, w.open(w.writer), night(1), 1)
	for _, name := range st.Names() {
		if kind, _ := store.Parse(name); kind == store.None {
			t.Errorf("%s is put, and has no object's shape", name)
		}
	}
	before := st.Names()
	junk := []string{"log/00", "log/0000000001/x", "log/next", "packs/00/hard", "packs/junk", "index/junk", "index/a/b", "manifests/00", "keys/my.age"}
	for _, name := range junk {
		st.Set(name, []byte("junk"))
	}
	res, problems := check(t, w.open(w.owner), upkeep.CheckOptions{Read: &upkeep.Subset{Percent: 100}})
	if len(problems) > 0 || res.Junk != len(junk) || res.Unused+res.Unnamed > 0 {
		t.Errorf("check: %v, %+v", problems, res)
	}
	for _, name := range junk {
		if !slices.Contains(res.Strays, name) {
			t.Errorf("check does not name %s", name)
		}
	}
	scrubbed, err := scrub.Run(t.Context(), st, scrub.Options{Problem: func(err error) { t.Errorf("scrub: %v", err) }})
	if err != nil || scrubbed.Junk != len(junk)-3 { // it does not look at the log
		t.Errorf("scrub: %+v, %v", scrubbed, err)
	}
	if _, err := upkeep.Prune(t.Context(), w.open(w.writer), mark, upkeep.PruneOptions{}); err != nil {
		t.Errorf("a writer's prune: %v", err)
	}
	if !slices.Contains(st.Names(), junk[0]) {
		t.Error("a writer's prune removes junk")
	}
	if res, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{}); err != nil || res.LeftOver != len(junk) {
		t.Errorf("the owner's prune: %+v, %v", res, err)
	}
	if after := st.Names(); !slices.Equal(before, after) {
		t.Errorf("%v became %v", before, after)
	}
	if err := verify(t.Context(), w.open(w.owner), ref, night(1)); err != nil {
		t.Error(err)
	}
}
