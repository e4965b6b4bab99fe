package repo_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

const raceDetector = storetest.RaceDetector

// A process that dies at any of its writes, in any of three ways, or that lives on with the error of any of its
// operations, loses nothing that was acknowledged: every snapshot listed afterwards is whole, a check finds no damage,
// and the next run succeeds.
func TestCrashPoints(t *testing.T) {
	useEnvelopes(t, repo.PlainEnvelopes()) // most of the time would be theirs
	h := newCrashes(t)
	for _, k := range h.cases {
		t.Run(k.name, func(t *testing.T) {
			points := 0
			for i, m := range crashModes {
				points += k.crash(t, fmt.Sprint("mode ", i), m, func(what string, st store.Store, done bool) {
					h.sound(t, k, what, st, done)
				})
			}
			if points == 0 {
				t.Fatal("no crash points")
			}
			t.Logf("%d crash points", points)
		})
	}
}

// crashes are the runs that are to die, over repositories with two nights.
type crashes struct {
	owner  *keys.Keyring
	nights []content
	refs   []ledger.SnapshotRef
	cases  []crashCase
}

// sound fails the test where the repository lacks what it must have.
func (h *crashes) sound(t *testing.T, k crashCase, what string, st store.Store, done bool) {
	t.Helper()
	r := afterCrash(t, what, st, h.owner, k.must, h.nights, h.refs, done && k.name == "snapshot")
	_, problems := check(t, r, upkeep.CheckOptions{})
	for _, p := range problems {
		t.Fatalf("%s: check: %v", what, p)
	}
}

func newCrashes(t *testing.T) *crashes {
	nights := []content{night(1), night(1), night(1)}
	nights[1][repo.Media] = append(slices.Clone(nights[0][repo.Media][:12]), blobs(70, 8, 60000)...)
	nights[2][repo.Postgres] = blobs(80, 60, 20000)

	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	var refs []ledger.SnapshotRef
	for i, c := range nights[:2] {
		ref, _ := mustSnapshot(t, w.open(w.writer), c, i+1)
		refs = append(refs, ref)
	}
	forgotten := st.Clone()
	w.store = forgotten
	if err := upkeep.Forget(t.Context(), w.open(w.owner), []store.Name{refs[0].ID}); err != nil {
		t.Fatal(err)
	}

	bob, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	peopled := st.Clone()
	r, err := openFresh(t.Context(), peopled, viaFile(t, w.owner))
	if err == nil {
		err = addPerson(t.Context(), r, bob)
	}
	if err != nil {
		t.Fatal(err)
	}

	unlisted, cut := st.Clone(), st.Clone()
	unlisted.Delete(objectsOf(unlisted, "index")[0])
	victim := largestPack(cut)
	cut.Set(victim, append(cut.Bytes(victim), 1)) // so that everything in it can be saved

	prune := func(ctx context.Context, r *repo.Repo) error {
		_, err := upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{MaxUnused: 0.01})
		return err
	}
	pruned := func(r *repo.Repo) bool {
		res, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{MaxUnused: 0.01, DryRun: true})
		return err == nil && res.Removed == 0
	}
	return &crashes{w.owner, nights, refs, []crashCase{
		{"snapshot", st, w.writer, refs, false, func(ctx context.Context, r *repo.Repo) error {
			_, _, err := snapshot(ctx, r, nights[2], 3)
			return err
		}, nil},
		{"forget", st, w.writer, refs[1:], false, func(ctx context.Context, r *repo.Repo) error {
			if len(r.Snapshots()) < 2 {
				return nil // the run before has done it
			}
			return upkeep.Forget(ctx, r, []store.Name{refs[0].ID})
		}, func(r *repo.Repo) bool { return len(r.Snapshots()) == 1 }},
		{"prune by the owner", forgotten, w.owner, refs[1:], false, prune, pruned},
		{"prune by the writer", forgotten, w.writer, refs[1:], false, prune, nil},
		{"adding a key", st, w.owner, refs, false, func(ctx context.Context, r *repo.Repo) error { return addPerson(ctx, r, bob) },
			func(r *repo.Repo) bool { return onRoster(r, "bob") }},
		{"removing a key", peopled, w.owner, refs, false, func(ctx context.Context, r *repo.Repo) error {
			if !onRoster(r, "bob") {
				return nil
			}
			return r.RemovePerson(ctx, "bob")
		}, func(r *repo.Repo) bool { return !onRoster(r, "bob") }},
		{"repair of the index", unlisted, w.owner, refs, true, repairIndex, nil},
		{"repair of packs", cut, w.owner, refs, true, repairPacks, nil},
		{"rotation", peopled, w.owner, refs, false, func(ctx context.Context, r *repo.Repo) error {
			_, err := r.Rotate(ctx, func(*keys.Keyring) error { return nil })
			return err
		}, func(r *repo.Repo) bool { return len(r.Key().Epochs) > 1 }},
	}}
}

// A crashCase is a run that is to die at each of its operations.
type crashCase struct {
	name string
	st   *storetest.Mem
	key  *keys.Keyring
	must []ledger.SnapshotRef // what has to be listed afterwards, whatever happens
	ill  bool                 // it is the run that makes the repository whole
	run  func(context.Context, *repo.Repo) error
	done func(*repo.Repo) bool // whether the run has done what it is for; nil: see must
}

// A crashMode is how operation number n fails, and whether the process dies of it.
type crashMode struct {
	fault storetest.Fault
	at    func(store.Store, int, storetest.Fault) (*storetest.Hook, func() bool)
}

var crashModes = []crashMode{
	{storetest.NotDone, storetest.CrashAt}, {storetest.Done, storetest.CrashAt}, {storetest.Part, storetest.CrashAt},
	{storetest.Done, failAt}, {storetest.NotDone, failAnyAt}, {storetest.Part, failAnyAt},
}

// crash runs the case as often as it has operations, each time with the next one failing, and then once more as the next
// night would. The oracle looks at the repository in between, and is told whether a run said that it was done.
func (k *crashCase) crash(t *testing.T, mode string, m crashMode, oracle func(what string, st store.Store, done bool)) (points int) {
	stride := 1
	if raceDetector {
		stride = 11
	}
	for n := 0; ; n += stride {
		mine := k.st.Clone()
		view, crashed := m.at(mine, n, m.fault)
		dir := t.TempDir()
		err := runOn(t.Context(), view, viaFile(t, k.key), dir, k.run)
		if !crashed() {
			if err != nil {
				t.Fatalf("without a crash: %v", err)
			}
			return points
		}
		points++
		what := fmt.Sprintf("%s, fault %d at operation %d", mode, m.fault, n)
		if !k.ill || err == nil {
			oracle(what, mine, err == nil)
		}
		if err := runOn(t.Context(), mine, viaFile(t, k.key), dir, k.run); err != nil {
			t.Fatalf("%s: the next run: %v", what, err)
		}
		oracle(what+", after the next run", mine, true)
	}
}

// failAt returns a view of st on which change number n meets the fault and the process lives on: it may yet do harm.
func failAt(st store.Store, n int, fault storetest.Fault) (view *storetest.Hook, failed func() bool) {
	return failNth(st, n, fault, storetest.Op.Changes)
}

// failAnyAt is failAt with every operation counted, those that only read too.
func failAnyAt(st store.Store, n int, fault storetest.Fault) (view *storetest.Hook, failed func() bool) {
	return failNth(st, n, fault, func(storetest.Op) bool { return true })
}

func failNth(st store.Store, n int, fault storetest.Fault, counts func(storetest.Op) bool) (view *storetest.Hook, failed func() bool) {
	var ops atomic.Int64
	return &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if counts(op) && ops.Add(1) == int64(n)+1 {
			return fault
		}
		return storetest.None
	}}, func() bool { return ops.Load() > int64(n) }
}

func addPerson(ctx context.Context, r *repo.Repo, id *age.X25519Identity) error {
	if onRoster(r, "bob") {
		return nil // the run before has done it
	}
	k, err := r.Key().ForOwner("bob")
	if err != nil {
		return err
	}
	return r.AddPerson(ctx, k, ledger.Person{Name: "bob"}, id.Recipient(), id.Recipient().String())
}

func onRoster(r *repo.Repo, name string) bool {
	return slices.ContainsFunc(r.Roster(), func(p ledger.Person) bool { return p.Name == name })
}

// runOn opens the repository as a machine that remembers below dir.
func runOn(ctx context.Context, st store.Store, k *keys.Keyring, dir string, run func(context.Context, *repo.Repo) error) error {
	r, err := openRepo(ctx, storetest.Alone(st), k, repo.Options{StateDir: filepath.Join(dir, "state"), CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		return err
	}
	return run(ctx, r)
}

// afterCrash reads the whole repository on a machine that has never seen it.
func afterCrash(t *testing.T, what string, st store.Store, owner *keys.Keyring, must []ledger.SnapshotRef, nights []content, refs []ledger.SnapshotRef, third bool) *repo.Repo {
	t.Helper()
	r, err := openFresh(t.Context(), st, viaFile(t, owner))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	listed := make(map[store.Name]bool)
	for _, s := range r.Snapshots() {
		listed[s.ID] = true
		i := slices.IndexFunc(refs, func(ref ledger.SnapshotRef) bool { return ref.ID == s.ID })
		if i < 0 {
			i = 2 // the one that the run made, or the run after it
			third = false
		}
		if err := verify(t.Context(), r, s, nights[i]); err != nil {
			t.Fatalf("%s: snapshot of night %d: %v", what, i+1, err)
		}
	}
	for _, s := range must {
		if !listed[s.ID] {
			t.Fatalf("%s: snapshot %s is not listed any more", what, s.ID.Short())
		}
	}
	if third {
		t.Fatalf("%s: the snapshot was acknowledged and is not listed", what)
	}
	return r
}
