package repo_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

var (
	simulate     = flag.Int("simulate", 0, "interleavings to simulate; 0: some ten thousand, fewer with -short or the race detector")
	simulateSeed = flag.Uint64("simulate.seed", 0, "simulate this interleaving alone, and tell its trace")
)

// A simulation is one interleaving and what came of it.
type simulation struct {
	*simHistory
	mem    *storetest.Mem
	sched  *storetest.Sched
	chance *rand.Rand
	state  func() string // makes a directory for what a machine remembers

	mu        sync.Mutex
	acked     []ledger.SnapshotRef
	forgotten map[store.Name]bool // false: a forget may have been published
	repaired  map[string]bool     // what was, for certain
}

// simulated runs one interleaving in a bubble and returns what is wrong with the outcome.
func (h *simHistory) simulated(t *testing.T, seed uint64, scenario []string) (s *simulation, err error) {
	time.Sleep(time.Until(h.end))
	mem := h.mem.CloneFor(t)
	s = &simulation{simHistory: h, mem: mem, sched: storetest.NewSched(mem, seed, ledger.Grace+time.Hour), forgotten: make(map[store.Name]bool), repaired: make(map[string]bool)}
	s.state = sync.OnceValue(func() string {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			panic(err)
		}
		return dir
	})
	for _, id := range h.gone {
		s.forgotten[id.ID] = true
	}
	s.chance = rand.New(rand.NewPCG(seed, 1))
	s.start(scenario)
	s.sched.Run()
	for _, p := range s.sched.Parties() {
		if err := s.expected(p); err != nil {
			return s, err
		}
	}
	return s, s.judge(t.Context())
}

// start lets the parties of a scenario loose.
func (s *simulation) start(scenario []string) {
	grace := time.Duration(0)
	if s.chance.IntN(2) == 0 {
		grace = 1 // what a run uploads is taken for left over at once: only the log protects it
	}
	remembers := slices.ContainsFunc(scenario, func(name string) bool { return strings.HasSuffix(name, " again") })
	var first *storetest.Party
	for i, name := range scenario {
		f := s.party(name, grace)
		switch {
		case strings.HasSuffix(name, " again"):
			again := s.snapshot(scenario[0], true)
			f = func(ctx context.Context, st store.Store) error {
				<-first.Ended()
				return again(ctx, st)
			}
		case i == 0 && remembers:
			f = s.snapshot(name, true)
		}
		p := s.sched.Go(name, f)
		if first == nil {
			first = p
		}
	}
}

// party returns what a party does.
func (s *simulation) party(name string, grace time.Duration) func(context.Context, store.Store) error {
	switch name {
	case "prune":
		return s.prune(s.owner, grace)
	case "prune by the writer":
		return s.prune(s.writer, grace)
	case "prune by the other":
		return s.prune(s.other, grace)
	case "forget":
		return s.forget
	case "check":
		return s.check
	case "restore":
		return s.restore
	case "repair the index":
		return s.repair("index", repairIndex)
	case "repair packs":
		return s.repair("packs", repairPacks)
	case "repair":
		index, packs := s.repair("index", repairIndex), s.repair("packs", repairPacks)
		return func(ctx context.Context, st store.Store) error {
			if err := index(ctx, st); err != nil {
				return err
			}
			return packs(ctx, st)
		}
	}
	return s.snapshot(name, false)
}

func (s *simulation) snapshot(host string, remembers bool) func(context.Context, store.Store) error {
	return func(ctx context.Context, st store.Store) error {
		var o repo.Options
		if remembers {
			o.StateDir = s.state()
		}
		k := s.writer
		if simInstance(host) == simOther {
			k = s.other
		}
		r, err := openRepo(ctx, storetest.Alone(st), k, o)
		if err != nil {
			return err
		}
		ref, err := simSnapshot(ctx, r, host)
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.acked = append(s.acked, ref)
		}
		return err
	}
}

func (s *simulation) prune(k *keys.Keyring, grace time.Duration) func(context.Context, store.Store) error {
	return func(ctx context.Context, st store.Store) error {
		r, err := openFresh(ctx, st, k)
		if err != nil {
			return err
		}
		_, err = upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{Grace: grace})
		return err
	}
}

// repair makes the index, or packs, whole.
func (s *simulation) repair(what string, run func(context.Context, *repo.Repo) error) func(context.Context, store.Store) error {
	return func(ctx context.Context, st store.Store) error {
		r, err := openFresh(ctx, st, s.owner)
		if err == nil {
			err = run(ctx, r)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.repaired[what] = s.repaired[what] || err == nil
		return err
	}
}

// forget takes the instance's newest snapshot off the list, whoever made it.
func (s *simulation) forget(ctx context.Context, st store.Store) error {
	r, err := openFresh(ctx, st, s.writer)
	if err != nil {
		return err
	}
	all := slices.DeleteFunc(r.Snapshots(), func(ref ledger.SnapshotRef) bool { return ref.Instance != instance })
	id := all[len(all)-1].ID
	s.mu.Lock()
	s.forgotten[id] = false
	s.mu.Unlock()
	err = upkeep.Forget(ctx, r, []store.Name{id})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten[id] = err == nil
	return err
}

// check finds nothing wrong, whatever the others are doing, but for what was lost before.
func (s *simulation) check(ctx context.Context, st store.Store) error {
	r, err := openFresh(ctx, st, s.owner)
	if err != nil {
		return err
	}
	_, err = s.clean(ctx, r)
	if s.harmed() && errors.Is(err, errFound) {
		return nil
	}
	return err
}

// harmed reports whether something was lost before the parties came.
func (s *simulation) harmed() bool { return s.noIndex || s.noPack }

// restore reads what was there all the time.
func (s *simulation) restore(ctx context.Context, st store.Store) error {
	r, err := openFresh(ctx, st, s.owner)
	if err != nil {
		return err
	}
	return verify(ctx, r, s.kept[0], simContents[s.kept[0].Host])
}

// expected returns an error where a party that lived ended as none should.
func (s *simulation) expected(p *storetest.Party) error {
	var locked *lease.LockedError
	var damage *store.DamageError
	switch {
	case p.Died, p.Hurt, p.Err == nil, errors.Is(p.Err, repo.ErrPruned), errors.As(p.Err, &locked):
		return nil
	case s.harmed() && strings.HasPrefix(p.Name, "prune") && errors.As(p.Err, &damage):
		return nil // before it is repaired
	case s.noIndex && p.Name == "repair packs" && errors.As(p.Err, &damage):
		return nil
	}
	return fmt.Errorf("%s failed: %w", p.Name, p.Err)
}

// judge is the oracle: it reads the repository on a machine that has never seen it, now and after the next night.
func (s *simulation) judge(ctx context.Context) error {
	r, err := openFresh(ctx, s.mem, s.owner)
	if err != nil {
		return err
	}
	if err := s.listed(r); err != nil {
		return err
	}
	steps := []func(context.Context) error{s.night}
	lost := s.left
	if ((s.noIndex || s.lies) && !s.repaired["index"]) || (s.noPack && !s.repaired["packs"]) {
		lost = s.lost
		// A repair comes before the next night, or after it.
		steps = slices.Insert(steps, s.chance.IntN(2), s.repairs)
	}
	if err := s.whole(ctx, r, r.Snapshots(), lost); err != nil {
		return err
	}
	if len(steps) == 1 && len(lost) == 0 {
		if _, err := s.clean(ctx, r); err != nil {
			return err
		}
	}
	// All that the dead have left is old by then.
	time.Sleep(ledger.Grace + time.Hour)
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if _, err := upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{}); err != nil {
		return fmt.Errorf("the next prune: %w", err)
	}
	if err := s.afterwards(ctx, r); err != nil {
		return fmt.Errorf("after the next night: %w", err)
	}
	return nil
}

// night makes the next snapshot of each instance.
func (s *simulation) night(ctx context.Context) error {
	err := s.snapshot("next", false)(ctx, s.mem)
	if s.other != nil && err == nil {
		err = s.snapshot("other's next", false)(ctx, s.mem)
	}
	if err != nil {
		return fmt.Errorf("the next snapshot: %w", err)
	}
	return nil
}

// repairs returns an error where repairs leave more unread than they have to.
func (s *simulation) repairs(ctx context.Context) error {
	if err := repairAll(ctx, s.mem, s.owner); err != nil {
		return fmt.Errorf("the next repair: %w", err)
	}
	r, err := openFresh(ctx, s.mem, s.owner)
	if err != nil {
		return err
	}
	if err := s.whole(ctx, r, r.Snapshots(), s.left); err != nil {
		return fmt.Errorf("after the next repair: %w", err)
	}
	return nil
}

// listed returns an error unless what was acknowledged is listed, and what was forgotten is not.
func (s *simulation) listed(r *repo.Repo) error {
	listed := make(map[store.Name]bool)
	for _, ref := range r.Snapshots() {
		listed[ref.ID] = true
		if s.forgotten[ref.ID] {
			return fmt.Errorf("the snapshot of %s was forgotten and is listed", ref.Host)
		}
	}
	for _, ref := range slices.Concat(s.kept, s.acked) {
		if _, maybe := s.forgotten[ref.ID]; !maybe && !listed[ref.ID] {
			return fmt.Errorf("the snapshot of %s was acknowledged and is not listed", ref.Host)
		}
	}
	return nil
}

// whole returns an error unless every byte of the snapshots comes back, but for what the parties found lost. What they
// have made themselves has no part in that.
func (s *simulation) whole(ctx context.Context, r *repo.Repo, refs []ledger.SnapshotRef, lost map[simBlob]bool) error {
	return simRead(ctx, r, refs, func(b simBlob, err error) error {
		if lost[b] {
			return nil
		}
		return fmt.Errorf("blob %d of %v in the snapshot of %s: %w", b.i, b.comp, b.host, err)
	})
}

// errFound wraps what a check has found.
var errFound = errors.New("found damage")

// clean returns what a check found, which must be no damage.
func (s *simulation) clean(ctx context.Context, r *repo.Repo) (*upkeep.CheckResult, error) {
	var found error
	res, err := upkeep.Check(ctx, r, mark, upkeep.CheckOptions{Problem: func(err error) { found = fmt.Errorf("%w: %w", errFound, err) }})
	return res, errors.Join(err, found)
}

// afterwards returns an error where the next snapshot is not whole, or the next prune has left what nobody needs.
func (s *simulation) afterwards(ctx context.Context, r *repo.Repo) error {
	if err := s.listed(r); err != nil {
		return err
	}
	all := r.Snapshots()
	if !s.harmed() { // otherwise the night has made older ones whole
		all = all[len(all)-1:]
	}
	if err := s.whole(ctx, r, all, nil); err != nil {
		return err
	}
	res, err := s.clean(ctx, r)
	if err != nil {
		return err
	}
	if n, err := r.Spent(ctx); n > 0 || err != nil {
		return fmt.Errorf("%d index objects list only what is gone: %w", n, cmp.Or(err, errors.New("they were left")))
	}
	got := make(map[string]int)
	for _, name := range s.mem.Names() {
		dir, _, _ := strings.Cut(name, "/")
		got[dir]++
	}
	want := map[string]int{"packs": res.Packs, "index": res.Indexes, "manifests": res.Snapshots}
	for _, dir := range []string{"packs", "index", "manifests", "leases", "tmp"} {
		if got[dir] != want[dir] {
			return fmt.Errorf("there are %d objects below %s/, and %d are needed", got[dir], dir, want[dir])
		}
	}
	return nil
}

// Whatever the order of their steps, and wherever they stop: parties that work on one repository lose no snapshot that
// was acknowledged, list none that is not whole but for what the storage had lost before, and leave nothing that the next
// night, a repair and a prune do not make whole and clean.
func TestSimulate(t *testing.T) {
	count := 10_000
	switch {
	case *simulate > 0:
		count = *simulate
	case raceDetector:
		count = 100
	case testing.Short():
		count = 1200
	}
	past := newSimPast(t)
	if *simulateSeed != 0 {
		s := past.try(t, *simulateSeed)
		t.Logf("%s", s.sched.Trace())
		return
	}
	var steps, deaths, hurt, next atomic.Int64
	began := time.Now()
	t.Run("interleavings", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					seed := next.Add(1)
					if seed > int64(count) {
						return
					}
					s := past.try(t, uint64(seed))
					steps.Add(int64(s.sched.Steps()))
					for _, p := range s.sched.Parties() {
						if p.Died {
							deaths.Add(1)
						}
						if p.Hurt {
							hurt.Add(1)
						}
					}
				}
			})
		}
	})
	t.Logf("%d interleavings, %d parties died, %d lived on after a failure, %d operations in %v", count, deaths.Load(), hurt.Load(), steps.Load(), time.Since(began).Round(time.Second/10))
}

// try runs the interleaving of a seed and tells what is wrong with it.
func (p simPast) try(t *testing.T, seed uint64) (s *simulation) {
	n := uint64(len(simScenarios))
	scenario := simScenarios[seed%n]
	past := p[scenario.past]
	h := past[seed/n%uint64(len(past))]
	synctest.Test(t, func(t *testing.T) {
		var err error
		if s, err = h.simulated(t, seed, scenario.parties); err != nil {
			t.Errorf("interleaving %d of %q with %s: %v\n%s", seed, scenario.parties, h.name, err, s.sched.Trace())
		}
	})
	return s
}

// A seed gives the same run again, so that a failure can be looked at.
func TestSimulationRepeats(t *testing.T) {
	past := newSimPast(t)
	for seed := range uint64(60) {
		first, again := past.try(t, seed).sched.Trace(), past.try(t, seed).sched.Trace()
		if first != again {
			t.Errorf("interleaving %d differs when it is run again:\n%s\n\n%s", seed, first, again)
		}
	}
}
