package repo_test

import (
	"cmp"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

var (
	hostileHistories = flag.Int("hostile-histories", 0, "hostile histories to simulate; 0: a few hundred, fewer with -short or the race detector")
	hostileFrom      = flag.Uint64("hostile-histories.from", 0, "the seed before the first one")
	hostileSeed      = flag.Uint64("hostile-histories.seed", 0, "simulate this hostile history alone, and tell its trace")
)

// A hostilePast is what the parties of a hostile history find.
type hostilePast struct {
	name       string
	mem        *storetest.Mem
	objects    simBranch
	owner      *keys.Keyring
	epoch      uint32
	keys       map[string]*keys.Keyring       // by name on the list of keys
	ids        map[string]*age.X25519Identity // of those who have these keys: shorter and cheaper than what key files bring
	onList     map[string]string
	closedTo   map[string]bool
	kept, gone []ledger.SnapshotRef
	end        time.Time
	forgedKeys []byte // of another repository, wrapped for the host
	head       []byte // what a machine remembers that has seen all that
	headFile   string // its file, in the state directory
}

// newHostilePasts makes the pasts: somebody is on the list of keys still who will be hostile once he is not; or was removed;
// or was, and the keys were rotated since.
func newHostilePasts(t *testing.T) (pasts []*hostilePast) {
	cheap(t)
	warm := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	ref, _ := mustSnapshot(t, warm.open(warm.writer), simContents["next"], 1)
	if err := verify(t.Context(), warm.open(warm.owner), ref, simContents["next"]); err != nil {
		t.Fatal(err)
	}
	rings, ids := make(map[string]*keys.Keyring), make(map[string]*age.X25519Identity)
	for _, name := range []string{"web1", "web9", "web2", "evil", "gone", "late"} {
		k, err := warm.owner.NewWriter(name)
		if err != nil {
			t.Fatal(err)
		}
		if ids[name], err = age.GenerateX25519Identity(); err != nil {
			t.Fatal(err)
		}
		k.Identity, rings[name] = nil, k
	}
	owner := *warm.owner
	owner.Identity = nil
	forged, err := keys.Wrap(newWorld(t, storetest.NewMem(t), repo.InitOptions{}).owner.ForWriter(), ids["web1"].Recipient())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"on the list", "removed", "removed, the keys rotated"} {
		p := &hostilePast{name: name, mem: storetest.NewMem(t), owner: &owner, epoch: 1, keys: rings, ids: ids, forgedKeys: forged,
			onList: map[string]string{keys.RecoveryName: "on", "web1": "on", "web9": "on", "web2": "on", "evil": "on", "gone": "on"}}
		synctest.Test(t, func(t *testing.T) { p.fill(t) })
		pasts = append(pasts, p)
	}
	return pasts
}

// cheap makes a simulation cheap: no disk where memory will do, no cryptography but that of packs and of keyrings, less
// collecting of garbage.
func cheap(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		before := os.Getenv("TMPDIR")
		os.Setenv("TMPDIR", "/dev/shm") // t.Setenv would forbid parallel tests
		t.Cleanup(func() { os.Setenv("TMPDIR", before) })
	}
	useEnvelopes(t, repo.PlainEnvelopes())
	before := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(before) })
}

func (p *hostilePast) fill(t *testing.T) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func(k *keys.Keyring) *repo.Repo {
		time.Sleep(time.Minute)
		return fresh(t, p.mem, k)
	}
	must(initRepo(ctx, p.mem, p.owner, p.keys["web1"], repo.InitOptions{Instance: instance}))
	people := []ledger.Person{{Name: keys.RecoveryName, Role: keys.RoleOwner, VerifyKey: p.owner.VerifyKey()}}
	for _, of := range [][2]string{{"web1", instance}, {"web9", instance}, {"web2", simOther}, {"evil", evilInstance}, {"gone", instance}} {
		people = append(people, p.person(of[0], of[1]))
	}
	must(open(p.owner).PublishRaw(ctx, &ledger.Entry{Roster: &ledger.RosterEntry{People: people}}))
	_, err := simSnapshotOf(ctx, open(p.keys["evil"]), evilInstance, "next") // copies of much that others hold
	must(err)
	early, err := open(p.keys["web1"]).NewWriter(ctx, instance) // knows of none of the others, and stores their blobs again
	must(err)
	defer early.Abort()
	refs := make(map[string]ledger.SnapshotRef)
	for _, by := range [][2]string{{"past1", "web1"}, {"past2", "web1"}, {"other's past2", "web2"}} {
		refs[by[0]], err = simSnapshot(ctx, open(p.keys[by[1]]), by[0])
		must(err)
	}
	refs["past4"], err = simCommit(ctx, early, "past4")
	must(err)
	p.kept, p.gone = []ledger.SnapshotRef{refs["past2"], refs["past4"], refs["other's past2"]}, []ledger.SnapshotRef{refs["past1"]}
	must(upkeep.Forget(ctx, open(p.owner), []store.Name{refs["past1"].ID}))
	if p.name != "on the list" {
		must(open(p.owner).RemovePerson(ctx, "gone"))
		p.onList["gone"] = "off"
	}
	if p.name == "removed, the keys rotated" {
		slow := &storetest.Hook{Store: p.mem, Before: func(storetest.Op) storetest.Fault { time.Sleep(time.Second); return storetest.None }} // no two objects of a time
		_, err := fresh(t, slow, p.owner).Rotate(ctx, func(k *keys.Keyring) error { p.owner = k; return nil })
		must(err)
		p.epoch, p.closedTo = 2, map[string]bool{"gone": true}
	}
	p.end = time.Now().Add(time.Minute)
	p.keep(t)
	dir := t.TempDir()
	_, err = openRepo(ctx, p.mem, p.owner, repo.Options{StateDir: dir})
	must(err)
	p.headFile = store.Name(p.owner.Repository).String()[:16] + "/head"
	p.head, err = os.ReadFile(filepath.Join(dir, p.headFile))
	must(err)
}

// person is how a writer stands on the list of keys.
func (p *hostilePast) person(name, of string) ledger.Person {
	return ledger.Person{Name: name, Role: keys.RoleWriter, Instance: of, VerifyKey: p.keys[name].VerifyKey(), MayForget: true, Recipient: p.ids[name].Recipient().String()}
}

// identities returns what somebody has beside a keyring.
func (p *hostilePast) identities(name string) []age.Identity {
	if p.ids[name] == nil {
		return nil
	}
	return []age.Identity{p.ids[name]}
}

// keep takes the objects, in the order of their times.
func (p *hostilePast) keep(t *testing.T) {
	p.objects = make(simBranch)
	for _, name := range p.mem.Names() {
		o, err := p.mem.Stat(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		p.objects[name] = simVersion{data: p.mem.Bytes(name), at: o.Time}
	}
	for i, name := range slices.SortedFunc(maps.Keys(p.objects), func(a, b string) int {
		x, y := p.objects[a], p.objects[b]
		return cmp.Or(x.at.Compare(y.at), cmp.Compare(len(x.data), len(y.data)))
	}) {
		v := p.objects[name]
		v.born = i
		p.objects[name] = v
	}
}

// tryHostile makes the history of a seed.
func tryHostile(t *testing.T, pasts []*hostilePast, seed uint64, weak weaker) (h *hostileHistory, err error) {
	synctest.Test(t, func(t *testing.T) {
		h, err = pasts[seed%uint64(len(pasts))].run(t, seed, weak)
	})
	return h, err
}

// Whatever a storage shows, writers of other instances and removed ones sign, and others put: nobody is deceived about what he
// has seen, who was removed learns nothing, what an owner wants done is done and nothing else, and nobody is kept from his
// work for good.
func TestHostileHistories(t *testing.T) {
	count := 300
	switch {
	case *hostileHistories > 0:
		count = *hostileHistories
	case raceDetector:
		count = 20
	case testing.Short():
		count = 100
	}
	pasts := newHostilePasts(t)
	if *hostileSeed != 0 {
		h, err := tryHostile(t, pasts, *hostileSeed, weaker{})
		t.Logf("%v\n%s", err, h.sched.Trace())
		return
	}
	var steps, next atomic.Int64
	began := time.Now()
	t.Run("histories", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					seed := next.Add(1)
					if seed > int64(count) {
						return
					}
					h, err := tryHostile(t, pasts, *hostileFrom+uint64(seed), weaker{})
					if err != nil {
						t.Errorf("history %d, where somebody was %s, and the storage %q: %v\n%s", *hostileFrom+uint64(seed), h.name, h.mode, err, h.sched.Trace())
					}
					steps.Add(int64(h.sched.Steps()))
				}
			})
		}
	})
	t.Logf("%d histories, %d operations in %v", count, steps.Load(), time.Since(began).Round(time.Second/10))
}

// A seed gives the same history again, so that a failure can be looked at.
func TestHostileHistoriesRepeat(t *testing.T) {
	pasts := newHostilePasts(t)
	for seed := range uint64(30) {
		first, err := tryHostile(t, pasts, seed, weaker{})
		again, err2 := tryHostile(t, pasts, seed, weaker{})
		if first.sched.Trace() != again.sched.Trace() || (err == nil) != (err2 == nil) {
			t.Errorf("history %d differs when it is made again: %v, %v\n%s\n\n%s", seed, err, err2, first.sched.Trace(), again.sched.Trace())
		}
	}
}

// Weaker ways are found out.
func TestHostileHistoriesOfWeaker(t *testing.T) {
	pasts := newHostilePasts(t)
	for what, weak := range map[string]weaker{
		"others may write to uploads":                             {uploads: true},
		"machines remember nothing":                               {forgets: true},
		"an owner announces keys that a rotation left which died": {takesUp: true},
	} {
		var found error
		seed := uint64(0)
		for ; found == nil && seed < 1000; seed++ {
			_, found = tryHostile(t, pasts, seed, weak)
		}
		if found == nil {
			t.Errorf("where %s, nothing is found in %d histories", what, seed)
		} else {
			t.Logf("where %s: history %d: %v", what, seed-1, found)
		}
	}
}
