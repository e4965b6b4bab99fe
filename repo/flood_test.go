package repo_test

import (
	"slices"
	"strings"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
)

// Somebody who may only add objects puts junk under the log's next numbers while a run is under way, more than are looked at one by
// one: the run is committed behind it.
func TestJunkUnderARun(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	next := w.open(w.owner).Head().Seq + 1
	view := before(st, "Put", "log/", func() {
		for i := range uint64(2500) {
			st.Set(number(next+i), []byte("junk"))
		}
	})
	c := night(1)
	r := fresh(t, view, w.writer)
	ref, _ := mustSnapshot(t, r, c, 1)
	if ref.Seq != next+2500 {
		t.Errorf("the snapshot is entry %d", ref.Seq)
	}
	if _, err := r.CatchUp(t.Context()); err != nil {
		t.Error(err)
	}
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Error(err)
	}
}

// A writer says so often that an entry is missing that no one entry can accept it all: an owner takes it off the list all the same.
func TestVeryManyBreaks(t *testing.T) {
	repo.PlainEnvelopes(t)
	w, st, evil, ref, c := twoInstances(t)
	e := fresh(t, st, evil)
	at := e.Head()
	for i := range uint64(repo.MaxBreaks + 10) {
		if err := e.PublishAfter(t.Context(), &repo.Entry{Bad: &repo.BadEntry{Packs: []repo.Name{{9}}}}, repo.Head{Seq: at.Seq + 1 + i, Hash: repo.Name{7}}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := repo.Open(t.Context(), storetest.Alone(st), w.owner, repo.Options{AcceptHead: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.RemovePerson(t.Context(), "evil"); err != nil {
		t.Fatal(err)
	}
	if r := fresh(t, st, w.writer); len(r.Damage()) > 0 {
		t.Errorf("%d places are damaged, the first: %v", len(r.Damage()), r.Damage()[0])
	}
	wholeAfterPrune(t, w, st, ref, c)
}

// What a check has found damaged is so for the next one too, which reads no content: no other pack has it.
func TestDamageIsNotForgotten(t *testing.T) {
	w, st, _, _ := twoNights(t)
	victim := largestPack(st)
	st.Set(victim, flip(st.Bytes(victim), len(st.Bytes(victim))/2))
	o := w.open(w.owner)
	res, problems := check(t, o, repo.CheckOptions{Read: &repo.Subset{Part: 1, Of: 1}})
	if len(problems) == 0 || len(res.Bad) != 1 {
		t.Fatalf("%+v, %v", res, problems)
	}
	if err := o.MarkBad(t.Context(), res.Bad); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*repo.Keyring{w.owner, w.writer} {
		if _, problems := check(t, w.open(k), repo.CheckOptions{}); !slices.ContainsFunc(problems, func(err error) bool { return strings.Contains(err.Error(), victim) }) {
			t.Errorf("the next check by the %s: %v", k.Role, problems)
		}
	}
}
