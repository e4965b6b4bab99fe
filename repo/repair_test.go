package repo_test

import (
	"context"
	"errors"
	"fmt"
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

// twoNights returns a repository with two snapshots.
func twoNights(t *testing.T) (w *world, st *storetest.Mem, nights []content, refs []ledger.SnapshotRef) {
	st = storetest.NewMem(t)
	w = newWorld(t, st, repo.InitOptions{})
	nights = []content{night(1), night(1)}
	nights[1][repo.Media] = append(slices.Clone(nights[0][repo.Media][:12]), blobs(70, 8, 60000)...)
	for i, c := range nights {
		ref, _ := mustSnapshot(t, w.open(w.writer), c, i+1)
		refs = append(refs, ref)
	}
	return w, st, nights, refs
}

func objectsOf(st *storetest.Mem, kind string) []string {
	return slices.DeleteFunc(st.Names(), func(n string) bool { return !strings.HasPrefix(n, kind+"/") })
}

// newestID returns the ID of the snapshot that was committed last.
func newestID(r *repo.Repo) store.Name {
	all := r.Snapshots()
	return all[len(all)-1].ID
}

func wholeAgain(t *testing.T, w *world, st store.Store, nights []content, refs []ledger.SnapshotRef) {
	t.Helper()
	r := fresh(t, st, w.owner)
	for i, ref := range refs {
		if err := verify(t.Context(), r, ref, nights[i]); err != nil {
			t.Errorf("night %d: %v", i+1, err)
		}
	}
	mustBeClean(t, r)
}

// Index objects that are lost or damaged are made again from the packs; what the log names and never was is taken off it.
func TestRepairIndex(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, w *world, st *storetest.Mem){
		"one lost": func(t *testing.T, w *world, st *storetest.Mem) { st.Delete(objectsOf(st, "index")[0]) },
		"all lost": func(t *testing.T, w *world, st *storetest.Mem) {
			for _, n := range objectsOf(st, "index") {
				st.Delete(n)
			}
		},
		"flipped": func(t *testing.T, w *world, st *storetest.Mem) { st.Corrupt(objectsOf(st, "index")[0], 2000) },
		"never was": func(t *testing.T, w *world, st *storetest.Mem) {
			e := &ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: store.Name{9}, Indexes: []store.Name{{8}},
				SnapshotInfo: ledger.SnapshotInfo{Instance: instance, Date: "2026-06-03"}}}
			r := fresh(t, st, w.writer)
			if err := r.PublishRaw(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			o := fresh(t, st, w.owner)
			if err := upkeep.Forget(t.Context(), o, []store.Name{newestID(o)}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, st, nights, refs := twoNights(t)
			harm(t, w, st)
			if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{}); err == nil {
				t.Fatal("a prune does without part of the index")
			}
			var key *keys.MissingKeyError
			if _, err := upkeep.RepairIndex(t.Context(), fresh(t, st, w.writer), mark, upkeep.RepairOptions{}); !errors.As(err, &key) {
				t.Fatalf("with the writer's key: %v", err)
			}
			before := st.Names()
			dry, err := upkeep.RepairIndex(t.Context(), fresh(t, st, w.owner), mark, upkeep.RepairOptions{DryRun: true})
			if err != nil || !slices.Equal(before, st.Names()) {
				t.Fatalf("a dry run: %v", err)
			}
			res, err := upkeep.RepairIndex(t.Context(), w.open(w.owner), mark, upkeep.RepairOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(res.Dropped) == 0 || len(dry.Dropped) != len(res.Dropped) || dry.Listed != res.Listed || (res.Listed > 0) != (res.Added > 0) || len(res.Damaged) > 0 {
				t.Errorf("dry run %+v, then %+v", dry, res)
			}
			wholeAgain(t, w, st, nights, refs)
			// What was listed again can be relied on by the next night, and pruned.
			_, stats := mustSnapshot(t, fresh(t, st, w.writer), nights[1], 4)
			if s := stats[repo.Media]; s.Fresh != 0 {
				t.Errorf("the next night stores anew what is there: %+v", s)
			}
			if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{MaxUnused: 0.05}); err != nil {
				t.Fatal(err)
			}
			wholeAgain(t, w, st, nights, refs)
			again, err := upkeep.RepairIndex(t.Context(), fresh(t, st, w.owner), mark, upkeep.RepairOptions{})
			if err != nil || len(again.Dropped)+again.Listed+again.Added > 0 {
				t.Errorf("a second repair: %+v, %v", again, err)
			}
		})
	}
}

// A machine that has what an index object lists, or a manifest, does not prune where the storage has lost it.
func TestPruneMisses(t *testing.T) {
	for _, kind := range []string{"index", "manifests"} {
		t.Run(kind, func(t *testing.T) {
			w, st, _, refs := twoNights(t)
			r := w.open(w.owner)
			if err := upkeep.Forget(t.Context(), r, []store.Name{refs[0].ID}); err != nil {
				t.Fatal(err)
			}
			if _, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{DryRun: true}); err != nil {
				t.Fatal(err)
			}
			victim := objectsOf(st, kind)[0]
			if kind == "manifests" {
				victim = "manifests/" + refs[1].Manifest.String()
			}
			st.Delete(victim)
			before := st.Names()
			if _, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{}); err == nil || !strings.Contains(err.Error(), victim) {
				t.Errorf("prune: %v", err)
			}
			if !slices.Equal(before, st.Names()) {
				t.Error("something was pruned")
			}
		})
	}
}

// A pack that no index object lists any more is listed as what verifies in it: junk not at all, damage as such.
func TestRepairIndexOfBadPacks(t *testing.T) {
	w, st, nights, refs := twoNights(t)
	for _, n := range objectsOf(st, "index") {
		st.Delete(n)
	}
	largest := largestPack(st)
	st.Corrupt(largest, len(st.Bytes(largest))/3)
	junk := "packs/66/" + strings.Repeat("66", 32)
	st.Set(junk, []byte("age-encryption.org/v1\n"))
	var problems []string
	res, err := upkeep.RepairIndex(t.Context(), w.open(w.owner), mark, upkeep.RepairOptions{Problem: func(err error) { problems = append(problems, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	if told := strings.Join(problems, "\n"); len(problems) != 2 || !strings.Contains(told, largest) || !strings.Contains(told, junk) {
		t.Errorf("problems: %q", problems)
	}
	if len(res.Damaged) != 1 || !strings.HasSuffix(largest, res.Damaged[0].String()) || res.Read != res.Listed+1 {
		t.Errorf("%+v", res)
	}
	// Nothing is deduplicated against it, and so the next night makes all whole.
	mustSnapshot(t, w.open(w.writer), nights[0], 3)
	mustSnapshot(t, w.open(w.writer), nights[1], 4)
	if _, err := upkeep.RepairPacks(t.Context(), w.open(w.owner), upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	wholeAgain(t, w, st, nights, refs)
}

// Index objects of one instance are lost, and not listed for another; where nobody knows whose they were, they are listed
// for all.
func TestRepairIndexOfOne(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	mine := objectsOf(st, "index")
	other := fresh(t, st, evil)
	wr, err := other.NewWriter(t.Context(), "evil.example")
	if err != nil {
		t.Fatal(err)
	}
	b := blobs(5, 1, 5000)[0]
	id := wr.Sum(repo.Media, b)
	if _, err := wr.Add(t.Context(), repo.Media, id, b); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"blobs":{"media":["%v"]}}`, id)
	if _, err := wr.Commit(t.Context(), []byte(text), ledger.SnapshotInfo{Instance: "evil.example", Date: "2026-06-02"}); err != nil {
		t.Fatal(err)
	}
	for _, n := range mine {
		st.Delete(n)
	}
	if _, err := upkeep.RepairIndex(t.Context(), fresh(t, st, w.owner), mark, upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	wholeAfterPrune(t, w, st, ref, c)
	rd, err := fresh(t, st, w.owner).NewReader(t.Context(), "evil.example")
	if err != nil {
		t.Fatal(err)
	}
	old, err := fresh(t, st, w.owner).Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, listed := rd.Length(idsOf(old)[0]); listed {
		t.Error("the one's packs are listed for the other")
	}
}

func largestPack(st *storetest.Mem) string {
	packs := objectsOf(st, "packs")
	return slices.MaxFunc(packs, func(a, b string) int { return len(st.Bytes(a)) - len(st.Bytes(b)) })
}

// What verifies in a damaged pack is saved, the rest is lost until a snapshot stores it again; then every snapshot is
// whole, and a check is clean.
func TestRepairPacks(t *testing.T) {
	for name, k := range map[string]struct {
		harm func(data []byte) []byte // nil data removes it
		all  bool                     // nothing can be saved
		none bool                     // nothing is lost
	}{
		"flipped in the middle":   {harm: func(d []byte) []byte { return flip(d, len(d)/2) }},
		"flipped at the end":      {harm: func(d []byte) []byte { return flip(d, len(d)-40) }},
		"cut":                     {harm: func(d []byte) []byte { return d[:len(d)*2/3] }},
		"cut to nothing":          {harm: func(d []byte) []byte { return d[:1] }, all: true},
		"without its header":      {harm: func(d []byte) []byte { return flip(d, 30) }, all: true},
		"longer":                  {harm: func(d []byte) []byte { return append(slices.Clone(d), 1, 2, 3) }, none: true},
		"removed":                 {harm: func([]byte) []byte { return nil }, all: true},
		"sound, though called so": {harm: slices.Clone[[]byte], none: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, st, nights, refs := twoNights(t)
			victim := largestPack(st)
			data := k.harm(st.Bytes(victim))
			if st.Delete(victim); data != nil {
				st.Set(victim, data)
			}
			bad, err := store.ParseName(victim[len("packs/ab/"):])
			if err != nil {
				t.Fatal(err)
			}
			r := w.open(w.owner)
			res, _ := check(t, r, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
			if err := upkeep.ReportDamaged(t.Context(), r, append(res.Damaged, bad)[:1]); err != nil {
				t.Fatal(err)
			}
			before := st.Names()
			dry, err := upkeep.RepairPacks(t.Context(), r, upkeep.RepairOptions{DryRun: true})
			if err != nil || !slices.Equal(before, st.Names()) {
				t.Fatalf("a dry run: %v", err)
			}
			problems := 0
			got, err := upkeep.RepairPacks(t.Context(), r, upkeep.RepairOptions{Problem: func(error) { problems++ }})
			if err != nil {
				t.Fatal(err)
			}
			if got.Salvaged != dry.Salvaged || got.Lost != dry.Lost || len(got.Packs) != 1 || got.Packs[0] != bad {
				t.Errorf("a dry run %+v, then %+v", dry, got)
			}
			if (got.Salvaged == 0) != k.all || (got.Lost == 0) != k.none || (problems == 0) != (name == "sound, though called so") {
				t.Errorf("%+v, %d problems", got, problems)
			}
			r = fresh(t, st, w.owner)
			if err := errors.Join(verify(t.Context(), r, refs[0], nights[0]), verify(t.Context(), r, refs[1], nights[1])); (err == nil) != k.none {
				t.Errorf("before the next night: %v", err)
			}
			// The pack is listed no more, and a prune takes it away once all is whole.
			mustSnapshot(t, w.open(w.writer), nights[0], 3)
			_, stats := mustSnapshot(t, w.open(w.writer), nights[1], 4)
			if s := stats[repo.Media]; k.none && s.Fresh > 0 {
				t.Errorf("the next night stores anew what is there: %+v", s)
			}
			wholeAgain(t, w, st, nights, refs)
			if _, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{MaxUnused: 0.05}); err != nil {
				t.Fatal(err)
			}
			wholeAgain(t, w, st, nights, refs)
			if slices.Contains(st.Names(), victim) {
				t.Error("the damaged pack is there still")
			}
		})
	}
}

// A writer's listing that says of a pack what is not so: of what it lists nothing is saved, and of what is so all.
func TestRepairLies(t *testing.T) {
	w, st, nights, refs := twoNights(t)
	r := fresh(t, st, w.writer)
	lies, err := r.PutSwaps(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	lie := &ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: store.Name{6}, Indexes: lies, SnapshotInfo: ledger.SnapshotInfo{Instance: instance, Date: "2026-06-03"}}}
	if err := r.PublishRaw(t.Context(), lie); err != nil {
		t.Fatal(err)
	}
	owner := fresh(t, st, w.owner)
	if err := upkeep.Forget(t.Context(), owner, []store.Name{newestID(owner)}); err != nil {
		t.Fatal(err)
	}
	res, problems := check(t, owner, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
	if len(problems) == 0 {
		t.Fatal("a check finds nothing")
	}
	if err := upkeep.ReportDamaged(t.Context(), owner, res.Damaged); err != nil {
		t.Fatal(err)
	}
	if got, err := upkeep.RepairPacks(t.Context(), owner, upkeep.RepairOptions{}); err != nil || got.Lost > 0 || len(got.Packs) != len(res.Damaged) {
		t.Fatalf("%+v, %v", got, err)
	}
	wholeAgain(t, w, st, nights, refs)
}

// A storage that gives nothing any more is not repaired to an empty repository.
func TestRepairEmpty(t *testing.T) {
	w, st, _, _ := twoNights(t)
	for _, n := range objectsOf(st, "packs") {
		st.Delete(n)
	}
	entries := len(objectsOf(st, "log"))
	if _, err := upkeep.RepairPacks(t.Context(), w.open(w.owner), upkeep.RepairOptions{}); err == nil {
		t.Error("packs: no error")
	}
	for _, n := range objectsOf(st, "index") {
		st.Delete(n)
	}
	if _, err := upkeep.RepairIndex(t.Context(), w.open(w.owner), mark, upkeep.RepairOptions{}); err == nil {
		t.Error("index: no error")
	}
	if n := len(objectsOf(st, "log")); n != entries {
		t.Errorf("%d log entries, were %d", n, entries)
	}
}

// A snapshot that is made while a repair is at work is whole, and the repair takes it into account.
func TestRepairMeetsSnapshot(t *testing.T) {
	for name, run := range map[string]func(ctx context.Context, r *repo.Repo) error{"index": repairIndex, "packs": repairPacks} {
		t.Run(name, func(t *testing.T) {
			w, st, nights, refs := twoNights(t)
			if name == "index" {
				st.Delete(objectsOf(st, "index")[0])
			} else {
				victim := largestPack(st)
				st.Set(victim, st.Bytes(victim)[:len(st.Bytes(victim))/2])
			}
			w.store = st
			met := false
			view := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
				if op.Kind == "Put" && strings.HasPrefix(op.Name, "log/") && !met {
					met = true
					ref, _ := mustSnapshot(t, fresh(t, st, w.writer), nights[0], 3)
					refs, nights = append(refs, ref), append(nights, nights[0])
					ref, _ = mustSnapshot(t, fresh(t, st, w.writer), nights[1], 4)
					refs, nights = append(refs, ref), append(nights, nights[1])
				}
				return storetest.None
			}}
			if err := run(t.Context(), fresh(t, view, w.owner)); err != nil || !met {
				t.Fatalf("%v, %v", err, met)
			}
			wholeAgain(t, w, st, nights, refs)
			if err := run(t.Context(), fresh(t, st, w.owner)); err != nil {
				t.Fatal(err)
			}
			for _, n := range st.Names() {
				st.SetTime(n, time.Now().Add(-100*time.Hour))
			}
			if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, upkeep.PruneOptions{}); err != nil {
				t.Fatal(err)
			}
			wholeAgain(t, w, st, nights, refs)
		})
	}
}

// A repair may list what a run under way has put, and then that run lists it too: the first prune that names such packs
// drops both listings.
func TestRepairListsWhatARunLists(t *testing.T) {
	w, st, nights, refs := twoNights(t)
	for _, n := range objectsOf(st, "index") {
		st.Delete(n)
	}
	b := nights[0][repo.Media][0]
	ref, err := oneBlob(t, st, w.writer, instance, b, func() { mustRepairIndex(t, st, w.owner) })
	if err != nil {
		t.Fatal(err)
	}
	owner := fresh(t, st, w.owner)
	if err := upkeep.Forget(t.Context(), owner, []store.Name{refs[0].ID, refs[1].ID, ref.ID}); err != nil {
		t.Fatal(err)
	}
	pruneAs(t, st, w.owner)
	if n := spent(t, fresh(t, st, w.owner)); n > 0 {
		t.Errorf("%d index objects list only what is gone", n)
	}
	mustBeClean(t, fresh(t, st, w.owner))
}

func repairIndex(ctx context.Context, r *repo.Repo) error {
	_, err := upkeep.RepairIndex(ctx, r, mark, upkeep.RepairOptions{})
	return err
}

func repairPacks(ctx context.Context, r *repo.Repo) error {
	_, err := upkeep.RepairPacks(ctx, r, upkeep.RepairOptions{})
	return err
}
