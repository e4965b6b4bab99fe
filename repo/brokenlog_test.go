package repo_test

import (
	"testing"

	"permafrost/repo"
)

// idle is an entry that says nothing of moment.
func idle() *repo.Entry { return &repo.Entry{Bad: &repo.BadEntry{Packs: []repo.Name{{1}}}} }

// A storage had junk under the number below the entry by which a writer was removed, and puts this writer's own entry there: to
// one who is shown the removal it is not undone.
func TestForkBelowARemoval(t *testing.T) {
	for _, more := range []bool{false, true} {
		w, st, evil, ref, _ := twoInstances(t)
		forged := st.Clone()
		if err := fresh(t, forged, evil).PublishRaw(t.Context(), idle()); err != nil {
			t.Fatal(err)
		}
		st.Set(number(ref.Seq+1), []byte("junk"))
		if err := w.open(w.owner).RemovePerson(t.Context(), "evil"); err != nil {
			t.Fatal(err)
		}
		if more {
			mustSnapshot(t, w.open(w.writer), night(2), 2)
		}
		w.open(w.owner)
		st.Delete(number(ref.Seq + 1))
		st.Set(number(ref.Seq+1), forged.Bytes(number(ref.Seq+1)))
		r, err := openFresh(t.Context(), st, w.owner)
		refused(t, "the owner", r, err)
		r, err = openFresh(t.Context(), st, w.writer)
		refused(t, "the writer", r, err)
		for _, k := range []*repo.Keyring{w.writer, w.owner} {
			r, err := w.tryOpen(st, k)
			refused(t, "the machine of the "+string(k.Role), r, err)
		}
	}
}
