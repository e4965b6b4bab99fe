package repo_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// twoInstances returns a repository with a snapshot of the instance, and the key of a writer for another one, which may
// forget there.
func twoInstances(t *testing.T) (w *world, st *storetest.Mem, evil *keys.Keyring, ref ledger.SnapshotRef, c content) {
	st = storetest.NewMem(t)
	w = newWorld(t, st, repo.InitOptions{})
	evil, err := w.owner.NewWriter("evil")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.open(w.owner).AddPerson(t.Context(), evil, ledger.Person{Name: "evil", Instance: "evil.example", MayForget: true}, nil, ""); err != nil {
		t.Fatal(err)
	}
	c = night(1)
	ref, _ = mustSnapshot(t, w.open(w.writer), c, 1)
	return w, st, evil, ref, c
}

func fresh(t *testing.T, st store.Store, k *keys.Keyring) *repo.Repo {
	t.Helper()
	r, err := openFresh(t.Context(), st, k)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func evilSnapshot(indexes ...store.Name) *ledger.Entry {
	return &ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: store.Name{6, 6, 6}, Indexes: indexes, SnapshotInfo: ledger.SnapshotInfo{Instance: "evil.example", Date: "2026-06-02"}}}
}

// wholeAfterPrune asserts that the instance's snapshot is untouched: now, and after its own writer and the owner prune.
func wholeAfterPrune(t *testing.T, w *world, st store.Store, ref ledger.SnapshotRef, c content) {
	t.Helper()
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Fatalf("the snapshot: %v", err)
	}
	for _, k := range []*keys.Keyring{w.writer, w.owner} {
		r := fresh(t, st, k)
		// Evil's own snapshot may be damaged, and then nothing is pruned: it is forgotten first.
		if k == w.owner {
			for _, s := range r.Snapshots() {
				if s.Instance != instance {
					if err := upkeep.Forget(t.Context(), r, []store.Name{s.ID}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		_, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{MaxUnused: 0.05})
		var d *store.DamageError
		if err != nil && !errors.As(err, &d) {
			t.Fatal(err)
		}
		if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
			t.Fatalf("the snapshot, after a prune by %v: %v", k.Role, err)
		}
	}
	_, stats := mustSnapshot(t, fresh(t, st, w.writer), c, 3)
	if s := stats[repo.Media]; s.Fresh != 0 {
		t.Errorf("the next snapshot stores anew what is there: %+v", s)
	}
}

// A writer of another instance lists this one's packs, with lengths, components and instances that are not so.
func TestLyingIndex(t *testing.T) {
	for name, change := range map[string]func(int) int{
		"shorter": func(n int) int { return max(1, n/2) },
		"longer":  func(n int) int { return min(n+5, 8<<20) },
		"same":    func(n int) int { return n },
	} {
		for _, as := range []string{"evil.example", instance} {
			t.Run(name+" as "+as, func(t *testing.T) {
				w, st, evil, ref, c := twoInstances(t)
				r := fresh(t, st, evil)
				lies, err := r.PutLies(t.Context(), as, repo.Postgres, change)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.PublishRaw(t.Context(), evilSnapshot(lies...)); err != nil {
					t.Fatal(err)
				}
				wholeAfterPrune(t, w, st, ref, c)
			})
		}
	}
}

// A writer of another instance lists this one's packs as they are, and has a snapshot of a single blob in them: the owner's
// prune rewrites no pack for that one, and this one's stay whole.
func TestSharedPack(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	r := fresh(t, st, evil)
	listed, err := r.PutLies(t.Context(), "evil.example", repo.AsItIs, func(n int) int { return n })
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	publishStolen(t, r, []byte(`{"blobs":{"media":["`+idsOf(text)[0].String()+`"]}}`), listed)
	before := objectsOf(st, "packs")
	var d *store.DamageError
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{MaxUnused: 0.05}); !errors.As(err, &d) {
		t.Errorf("prune: %v", err)
	}
	if after := objectsOf(st, "packs"); !slices.Equal(before, after) {
		t.Errorf("%d packs became %d", len(before), len(after))
	}
	wholeAfterPrune(t, w, st, ref, c)
}

// A log entry that names an index object that is not there keeps nobody from what is.
func TestMissingIndex(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	r := fresh(t, st, evil)
	if err := r.PublishRaw(t.Context(), evilSnapshot(store.Name{1, 2, 3})); err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Error(err)
	}
	mustSnapshot(t, fresh(t, st, w.writer), c, 2)
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{}); err == nil {
		t.Error("prune without the whole index succeeded")
	}
	if _, problems := check(t, fresh(t, st, w.owner), upkeep.CheckOptions{}); len(problems) == 0 {
		t.Error("check finds nothing")
	}
}

// A writer that may forget names another instance's packs, manifests and index objects in a prune entry, and forgets
// its snapshots, before and after they are there.
func TestPruneOfOthers(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	r := fresh(t, st, evil)
	packs, err := r.Listed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var indexes []store.Name
	for _, n := range st.Names() {
		if hex, ok := strings.CutPrefix(n, "index/"); ok {
			name, err := store.ParseName(hex)
			if err != nil {
				t.Fatal(err)
			}
			indexes = append(indexes, name)
		}
	}
	for _, e := range []*ledger.Entry{
		{Prune: &ledger.PruneEntry{Packs: packs}},
		{Prune: &ledger.PruneEntry{Manifests: []store.Name{ref.ID}, Indexes: indexes}},
		{Forget: &ledger.ForgetEntry{Snapshots: []store.Name{ref.ID}}},
		{Forget: &ledger.ForgetEntry{Snapshots: []store.Name{{7, 7}}}},
		{Damage: &ledger.DamageEntry{Packs: packs}},
		{Roster: &ledger.RosterEntry{}},
		{Epoch: &ledger.EpochEntry{Number: 2}},
	} {
		if err := fresh(t, st, evil).PublishRaw(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	o := fresh(t, st, w.owner)
	if n := len(o.Requests()); n != 5 {
		t.Errorf("%d of the entries are shown as requests, want 5", n)
	}
	wholeAfterPrune(t, w, st, ref, c)
}

// Junk under a far number is alone there: the log goes on under the next one, and nobody misses anybody.
func TestFarJunk(t *testing.T) {
	for _, far := range []string{"log/0000005000", "log/0009999999", "log/0010000000", "log/zzz"} {
		t.Run(strings.TrimPrefix(far, "log/"), func(t *testing.T) {
			st := storetest.NewMem(t)
			w := newWorld(t, st, repo.InitOptions{})
			early := fresh(t, st, w.writer)
			st.Set(far, []byte("junk"))
			mustSnapshot(t, fresh(t, st, w.writer), night(1), 1)
			mustSnapshot(t, early, night(2), 2)
			r := fresh(t, st, w.owner)
			if s := r.Snapshots(); len(s) != 2 || s[0].Seq != 1 || s[1].Seq != 2 || len(r.Damage()) != 0 {
				t.Errorf("%+v, damage %v", s, r.Damage())
			}
		})
	}
}

// Damage to the log is accepted once, by an owner, and then no longer in the way. A check goes on telling it, and further
// damage at the same place is not accepted with it.
func TestAcceptedDamage(t *testing.T) {
	w, st, nights, refs := small(t)
	mustSnapshot(t, w.open(w.writer), nights[0], 3)
	st.Corrupt("log/0000000002", 900)
	host, err := openRepo(t.Context(), st, w.writer, repo.Options{AcceptHead: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := snapshot(t.Context(), host, nights[0], 4); causeOf(err) != cause.LogDamaged {
		t.Errorf("a writer accepts damage: %v; cause: %q", err, causeOf(err))
	}
	mustAccept(t, st, w.owner)
	mustSnapshot(t, fresh(t, st, w.writer), nights[0], 5)
	o := fresh(t, st, w.owner)
	if len(o.Damage()) != 0 {
		t.Errorf("damage that was accepted is still in the way: %v", o.Damage())
	}
	if err := verify(t.Context(), o, refs[0], nights[0]); err != nil {
		t.Error(err)
	}
	res, _ := check(t, o, upkeep.CheckOptions{})
	var d *store.DamageError
	if len(res.Accepted) != 1 || !errors.As(res.Accepted[0], &d) || d.Object != "log/0000000002" {
		t.Errorf("check: accepted %v", res.Accepted)
	}
	st.Delete("log/0000000001")
	if o = fresh(t, st, w.owner); len(o.Damage()) == 0 {
		t.Error("more was lost at the same place, and nobody is told")
	}
}

// mustAccept has an owner accept what is left of the log.
func mustAccept(t *testing.T, st store.Store, k *keys.Keyring) {
	t.Helper()
	r, err := openRepo(t.Context(), st, k, repo.Options{AcceptHead: true})
	if err == nil {
		_, err = upkeep.RepairIndex(t.Context(), r, mark, upkeep.RepairOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An entry of a newer version by somebody on the roster is not passed over: going on without it could undo what it says.
func TestNewerEntry(t *testing.T) {
	w, st, _, _ := small(t)
	if err := fresh(t, st, w.writer).PublishRaw(t.Context(), &ledger.Entry{}); err != nil {
		t.Fatal(err)
	}
	if _, err := openFresh(t.Context(), st, w.writer); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("open: %v", err)
	}
	r, err := openRepo(t.Context(), st, w.owner, repo.Options{AcceptHead: true})
	if err != nil || len(r.Snapshots()) != 2 {
		t.Errorf("with --accept-head: %v", err)
	}
	// Somebody may have made it to stop the others: an owner says so once.
	mustAccept(t, st, w.owner)
	mustSnapshot(t, fresh(t, st, w.writer), night(3), 3)
	if res, problems := check(t, fresh(t, st, w.owner), upkeep.CheckOptions{}); len(problems) > 0 || len(res.Accepted) != 1 {
		t.Errorf("check: %v, accepted %v", problems, res.Accepted)
	}
}

// causeOf returns the outermost cause of an error, "" where it has none.
func causeOf(err error) cause.Cause {
	var c *cause.Error
	if !errors.As(err, &c) {
		return ""
	}
	return c.Cause
}
