package repo_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
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
	useEnvelopes(t, repo.PlainEnvelopes())
	w, st, evil, ref, c := twoInstances(t)
	e := fresh(t, st, evil)
	at := e.Head()
	for i := range uint64(repo.MaxBreaks + 10) {
		if err := e.PublishAfter(t.Context(), &ledger.Entry{Damage: &ledger.DamageEntry{Packs: []store.Name{{9}}}}, ledger.Head{Seq: at.Seq + 1 + i, Hash: store.Name{7}}); err != nil {
			t.Fatal(err)
		}
	}
	o, err := openRepo(t.Context(), storetest.Alone(st), w.owner, repo.Options{AcceptHead: true})
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
	res, problems := check(t, o, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
	if len(problems) == 0 || len(res.Damaged) != 1 {
		t.Fatalf("%+v, %v", res, problems)
	}
	if err := upkeep.ReportDamaged(t.Context(), o, res.Damaged); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*keys.Keyring{w.owner, w.writer} {
		if _, problems := check(t, w.open(k), upkeep.CheckOptions{}); !slices.ContainsFunc(problems, func(err error) bool { return strings.Contains(err.Error(), victim) }) {
			t.Errorf("the next check by the %s: %v", k.Role, problems)
		}
	}
}

// soon fails the test where f takes a time that what is stored does not justify.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s takes for ever", what)
	}
}

// A writer of another instance says one thing very often, in objects of a few MB: what others do takes its time once for each
// time that it is said, and not for each pair of them.
func TestSaidOften(t *testing.T) {
	useEnvelopes(t, repo.PlainEnvelopes())
	const often = 200_000
	victim := store.Name{1}
	publish := func(r *repo.Repo, indexes []store.Name) error {
		return r.PublishSnapshot(t.Context(), []byte(`{"blobs":{}}`), evilSnapshot(indexes...).Snapshot)
	}
	for name, say := range map[string]func(r *repo.Repo) error{
		"a pack is listed": func(r *repo.Repo) error {
			listed, err := r.PutListings(t.Context(), "evil.example", victim, often)
			if err == nil {
				err = publish(r, listed)
			}
			return err
		},
		"index objects are named and dropped": func(r *repo.Repo) error {
			names := make([]store.Name, often/2)
			for i := range names {
				names[i] = store.Name{7, byte(i >> 16), byte(i >> 8), byte(i)}
			}
			err := publish(r, names)
			if err == nil {
				_, err = r.CatchUp(t.Context())
			}
			if err == nil {
				err = r.PublishRaw(t.Context(), &ledger.Entry{Prune: &ledger.PruneEntry{Indexes: names}})
			}
			return err
		},
		"a listed pack is named": func(r *repo.Repo) error {
			listed, err := r.PutListings(t.Context(), "evil.example", victim, often)
			e := &ledger.Entry{Prune: &ledger.PruneEntry{Packs: slices.Repeat([]store.Name{victim}, often/2)}}
			if err == nil {
				err = r.PublishRaw(t.Context(), e)
			}
			if err == nil {
				_, err = r.CatchUp(t.Context())
			}
			if err == nil {
				err = publish(r, listed)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, st, evil, _, c := twoInstances(t)
			soon(t, name, func() {
				if err := say(fresh(t, st, evil)); err != nil {
					t.Error(err)
				}
				mustSnapshot(t, fresh(t, st, w.writer), c, 2)
				check(t, fresh(t, st, w.owner), upkeep.CheckOptions{})
				if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{DryRun: true}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A manifest is no longer than what it is stored in justifies: everybody who checks or prunes reads it.
func TestManifestOfNothing(t *testing.T) {
	_, st, evil, _, _ := twoInstances(t)
	r := fresh(t, st, evil)
	name, err := r.PutBomb(t.Context(), 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	e := evilSnapshot()
	e.Snapshot.Manifest = name
	if err := r.PublishRaw(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var d *store.DamageError
	if text, err := r.Manifest(t.Context(), r.Snapshots()[1]); !errors.As(err, &d) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
