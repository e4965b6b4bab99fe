package repo_test

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

var acceptLost = upkeep.PruneOptions{AcceptLost: true}

// older makes objects so old that a prune takes those for left over which nothing leads to.
func older(st *storetest.Mem, names ...string) {
	for _, n := range names {
		st.SetTime(n, time.Now().Add(-100*time.Hour))
	}
}

// What is taken for lost may lie in a pack that is back and that no index object lists: that stays until it was looked into.
func TestAcceptLostKeepsUnlisted(t *testing.T) {
	w, st, nights, refs := twoNights(t)
	victim := largestPack(st)
	data := st.Bytes(victim)
	st.Delete(victim)
	if _, err := upkeep.RepairPacks(t.Context(), fresh(t, st, w.owner), upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	st.Set(victim, data)
	older(st, victim)
	if res, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), mark, acceptLost); err != nil || res.Lost == 0 {
		t.Errorf("%+v, %v", res, err)
	}
	mustRepairIndex(t, st, w.owner)
	wholeAgain(t, w, st, nights, refs)
}

// markByNode makes the Inspector of trees that begin at a node.
func markByNode(node chunk.ID) inspection.Maker {
	return func(rd *repo.Reader) inspection.Inspector { return inspector{rd, node} }
}

// A repair of the index that could not look for all says so, and nothing that it might have found is pruned.
func TestRepairIndexLacking(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	tree := content{repo.Meta: blobs(1, 1, 3000)}
	whole := content{repo.Meta: tree[repo.Meta], repo.Media: blobs(5, 10, 60000)}
	first, _ := mustSnapshot(t, w.open(w.writer), tree, 1)
	node := objectsOf(st, "packs")[0]
	index := objectsOf(st, "index")
	text, err := fresh(t, st, w.owner).Manifest(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	byNode := markByNode(idsOf(text)[0])
	ref, _ := mustSnapshot(t, w.open(w.writer), whole, 2)
	for _, n := range objectsOf(st, "index") {
		if !slices.Contains(index, n) {
			st.Delete(n)
		}
	}
	st.Set(node, flip(st.Bytes(node), len(st.Bytes(node))/2))
	repair := func() *upkeep.IndexRepair {
		t.Helper()
		res, err := upkeep.RepairIndex(t.Context(), fresh(t, st, w.owner), byNode, upkeep.RepairOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := repair(); !res.Lacking {
		t.Errorf("%+v", res)
	}
	o := fresh(t, st, w.owner)
	res, _ := check(t, o, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
	if err := upkeep.ReportDamaged(t.Context(), o, res.Damaged); err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.RepairPacks(t.Context(), o, upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), byNode, acceptLost); err == nil {
		t.Error("pruned though nobody knows what a lost node led to")
	}
	mustSnapshot(t, fresh(t, st, w.writer), tree, 3) // the node is back, and the media are gone at the source
	older(st, objectsOf(st, "packs")...)
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, w.owner), byNode, acceptLost); err != nil {
		t.Fatal(err)
	}
	if res := repair(); res.Lacking {
		t.Errorf("%+v", res)
	}
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, whole); err != nil {
		t.Error(err)
	}
}

// A run references a pack that a repair takes off the index without a name for it: it is not committed, or it is whole.
func TestRepairUnderARun(t *testing.T) {
	for name, repair := range map[string]func(t *testing.T, w *world, st *storetest.Mem, ref ledger.SnapshotRef, pack, index string){
		"index": func(t *testing.T, w *world, st *storetest.Mem, ref ledger.SnapshotRef, _, index string) {
			if err := upkeep.Forget(t.Context(), fresh(t, st, w.owner), []store.Name{ref.ID}); err != nil {
				t.Fatal(err)
			}
			st.Delete(index)
			mustRepairIndex(t, st, w.owner)
		},
		"packs": func(t *testing.T, w *world, st *storetest.Mem, _ ledger.SnapshotRef, pack, _ string) {
			data := st.Bytes(pack)
			st.Delete(pack)
			if _, err := upkeep.RepairPacks(t.Context(), fresh(t, st, w.owner), upkeep.RepairOptions{}); err != nil {
				t.Fatal(err)
			}
			st.Set(pack, data)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, st, _, _, _ := twoInstances(t)
			b := blobs(6, 1, 5000)[0]
			before := st.Names()
			first, err := oneBlob(t, st, w.writer, instance, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			pack, index := "", ""
			for _, n := range st.Names() {
				if slices.Contains(before, n) {
					continue
				}
				if strings.HasPrefix(n, "packs/") {
					pack = n
				} else if strings.HasPrefix(n, "index/") {
					index = n
				}
			}
			ref, err := oneBlob(t, st, w.writer, instance, b, func() { repair(t, w, st, first, pack, index) })
			if !errors.Is(err, repo.ErrPruned) {
				t.Errorf("commit of %v: %v", ref.ID.Short(), err)
			}
		})
	}
}

// A deniedStore does not let an object be read.
type deniedStore struct {
	store.Store
	name string
}

func (d *deniedStore) ReadAt(ctx context.Context, name string, b []byte, off int64) (int, error) {
	if name == d.name {
		return 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.Store.ReadAt(ctx, name, b, off)
}

// What this account may not read is not damaged.
func TestDeniedIsNotDamaged(t *testing.T) {
	w, st, _, _ := twoNights(t)
	victim := largestPack(st)
	r := fresh(t, &deniedStore{st, victim}, w.owner)
	if res, err := upkeep.Check(t.Context(), r, mark, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("check: %+v, %v", res, err)
	}
	bad, err := store.ParseName(victim[len("packs/ab/"):])
	if err == nil {
		err = upkeep.ReportDamaged(t.Context(), r, []store.Name{bad})
	}
	if err != nil {
		t.Fatal(err)
	}
	if res, err := upkeep.RepairPacks(t.Context(), r, upkeep.RepairOptions{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("repair: %+v, %v", res, err)
	}
}

// What a writer of another instance says of this one's packs is found and named, and makes none of them bad.
func TestLieIsNotTheVictims(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	r := fresh(t, st, evil)
	lies, err := r.PutSwaps(t.Context(), "evil.example")
	if err == nil {
		err = r.PublishRaw(t.Context(), evilSnapshot(lies...))
	}
	if err != nil {
		t.Fatal(err)
	}
	res, problems := check(t, fresh(t, st, w.owner), upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}})
	if len(res.Damaged) > 0 || !slices.ContainsFunc(problems, func(err error) bool { return strings.Contains(err.Error(), `"evil.example"`) }) {
		t.Errorf("bad %v, problems %v", res.Damaged, problems)
	}
	wholeAfterPrune(t, w, st, ref, c)
}

// A ghostStore lists a pack that nobody can open.
type ghostStore struct{ store.Store }

func (g *ghostStore) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for o, err := range g.Store.List(ctx, prefix) {
			if !yield(o, err) {
				return
			}
		}
		if strings.HasPrefix("packs/", prefix) {
			yield(store.Object{Name: "packs/ab/ab" + strings.Repeat("0", 62), Size: 7, Time: time.Now()}, nil)
		}
	}
}

// A listing that is not so keeps no repair busy for ever.
func TestRepairGhost(t *testing.T) {
	w, st, _, _ := twoNights(t)
	st.Delete(largestPack(st))
	for _, n := range objectsOf(st, "index") {
		st.Delete(n)
	}
	if res := mustRepairIndex(t, &ghostStore{st}, w.owner); !res.Lacking {
		t.Errorf("%+v", res)
	}
}

// An index object that claims to be of a format to come stops nobody for good.
func TestNewerIndexAccepted(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	r := fresh(t, st, evil)
	n, err := r.PutNewerIndex(t.Context())
	if err == nil {
		err = r.PublishRaw(t.Context(), evilSnapshot(n))
	}
	if err != nil {
		t.Fatal(err)
	}
	o := fresh(t, st, w.owner)
	if err := upkeep.Forget(t.Context(), o, []store.Name{o.Snapshots()[1].ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.Prune(t.Context(), o, mark, upkeep.PruneOptions{}); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("prune: %v", err)
	}
	accepting, err := openRepo(t.Context(), st, w.owner, repo.Options{AcceptHead: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.RepairIndex(t.Context(), accepting, mark, upkeep.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	wholeAfterPrune(t, w, st, ref, c)
}
