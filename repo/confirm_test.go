package repo_test

import (
	"errors"
	"slices"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// Whoever may forget a snapshot may confirm it, and nobody else: neither an append-only host nor another instance's writer.
func TestWhoMayConfirm(t *testing.T) {
	w, st, evil, ref, _ := twoInstances(t)
	ids := []store.Name{ref.ID}
	confirmed := func() bool {
		c := fresh(t, st, w.writer).Chronicle(instance)
		return c.Confirmed[ref.ID]
	}
	if err := fresh(t, st, evil).Confirm(t.Context(), ids, false); !errors.Is(err, ledger.ErrNotAllowed) || confirmed() {
		t.Errorf("another instance's writer: %v", err)
	}
	for _, k := range []*keys.Keyring{w.owner, w.writer} {
		if err := fresh(t, st, k).Confirm(t.Context(), ids, false); err != nil || !confirmed() {
			t.Errorf("confirming: %v", err)
		}
		if err := fresh(t, st, k).Confirm(t.Context(), ids, true); err != nil || confirmed() {
			t.Errorf("taking it back: %v", err)
		}
	}
	if err := fresh(t, st, w.owner).Confirm(t.Context(), []store.Name{{9}}, false); err == nil {
		t.Error("a snapshot that is not there is confirmed")
	}
	bound, err := w.owner.NewWriter("bound")
	if err == nil {
		err = w.open(w.owner).AddPerson(t.Context(), bound, ledger.Person{Name: "bound", Instance: instance}, nil, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	err = fresh(t, st, bound).Confirm(t.Context(), ids, false)
	var denied *ledger.NotAllowedError
	if !errors.Is(err, ledger.ErrNotAllowed) || confirmed() || !errors.As(err, &denied) || denied.Right != ledger.RightConfirm || !slices.Equal(denied.Who, []string{"web1"}) {
		t.Errorf("a writer that may not forget: %v, %+v", err, denied)
	}
	// Entries that were published all the same have no effect.
	for _, k := range []*keys.Keyring{bound, evil} {
		if err := fresh(t, st, k).PublishRaw(t.Context(), &ledger.Entry{Confirm: &ledger.ConfirmEntry{Snapshots: ids}}); err != nil {
			t.Fatal(err)
		}
	}
	if r := fresh(t, st, w.owner); confirmed() || len(r.Requests()) != 2 {
		t.Errorf("confirmed %v, requests %+v", confirmed(), r.Requests())
	}
}

// What an entry records of an instance's times stands, from whoever may forget there, and from nobody else.
func TestRecords(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	var refs []ledger.SnapshotRef
	for day := range 4 {
		ref, _ := mustSnapshot(t, w.open(w.writer), night(uint64(day)), day+1)
		refs = append(refs, ref)
	}
	evil, err := w.owner.NewWriter("evil")
	if err == nil {
		err = w.open(w.owner).AddPerson(t.Context(), evil, ledger.Person{Name: "evil", Instance: "evil.example", MayForget: true}, nil, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	lie := ledger.Record{Instance: instance, Through: refs[3].Seq, Doubts: []ledger.TimesDoubt{{Snapshot: refs[0].ID, Why: "evil says so"}}}
	err = fresh(t, st, evil).PublishRaw(t.Context(), &ledger.Entry{Prune: &ledger.PruneEntry{Records: []ledger.Record{lie}}})
	if err != nil {
		t.Fatal(err)
	}
	first := ledger.Record{Instance: instance, Through: refs[1].Seq, Doubts: []ledger.TimesDoubt{{Snapshot: refs[1].ID, Why: "first"}, {Snapshot: refs[2].ID, Why: "above it"}}}
	if err := upkeep.Forget(t.Context(), fresh(t, st, w.writer), []store.Name{refs[3].ID}, first); err != nil {
		t.Fatal(err)
	}
	second := ledger.Record{Instance: instance, Through: refs[3].Seq, Doubts: []ledger.TimesDoubt{{Snapshot: refs[0].ID, Why: "anew"}, {Snapshot: refs[2].ID, Why: "second"}}}
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{Records: []ledger.Record{second}}); err != nil {
		t.Fatal(err)
	}
	c := fresh(t, st, w.writer).Chronicle(instance)
	var got []string
	for _, ref := range refs {
		got = append(got, c.Doubts[ref.ID])
	}
	if !slices.Equal(got, []string{"", "first", "second", ""}) || c.Through != refs[3].Seq || c.Forgotten[refs[3].ID] == 0 {
		t.Errorf("recorded is %q up to %d", got, c.Through)
	}
	if c.First.Logged.IsZero() || c.First.Signed.IsZero() || c.Snapshots[0].Signed.IsZero() || c.Snapshots[0].Logged.IsZero() || c.Snapshots[0].Bound {
		t.Errorf("times are missing: %+v, %+v", c.First, c.Snapshots[0])
	}
	later := ledger.Record{Instance: instance, Through: 1000}
	err = fresh(t, st, w.owner).PublishRaw(t.Context(), &ledger.Entry{Confirm: &ledger.ConfirmEntry{Snapshots: []store.Name{refs[0].ID}, Records: []ledger.Record{later}}})
	if err != nil {
		t.Fatal(err)
	}
	if c := fresh(t, st, w.owner).Chronicle(instance); c.Through != refs[3].Seq {
		t.Errorf("it judges what comes after it: up to %d", c.Through)
	}
}
