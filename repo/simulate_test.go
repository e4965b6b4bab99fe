package repo_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
)

var (
	simulate     = flag.Int("simulate", 0, "interleavings to simulate; 0: some ten thousand, fewer with -short or the race detector")
	simulateSeed = flag.Uint64("simulate.seed", 0, "simulate this interleaving alone, and tell its trace")
)

// A history is what the parties of a simulation find: some snapshots, some of them forgotten, so that a prune has packs
// to delete, packs to rewrite and duplicates to drop.
type simHistory struct {
	mem           *storetest.Mem
	owner, writer *repo.Keyring
	kept, gone    []repo.SnapshotRef
	end           time.Time // by the bubble's clock
}

// simContents are what the hosts of a simulation's snapshots hold. Parties lean on what forgotten snapshots left, on what
// a prune moves, and on what another party stores at the same time. s3 leans on nothing: what a prune can name of it is what
// it has uploaded itself.
var simContents = map[string]content{
	"past1": simContent("ab"), "past2": simContent("bc"), "past3": simContent("d"), "past4": simContent("ce"),
	"s1": simContent("bdf"), "s2": simContent("adfg"), "s3": simContent("fi"), "next": simContent("abcdefghi"),
}

// simContent has two blobs for each letter, in two components.
func simContent(letters string) content {
	c := make(content)
	for _, l := range letters {
		c[repo.Meta] = append(c[repo.Meta], []byte(strings.Repeat(string(l), 40)))
		c[repo.Postgres] = append(c[repo.Postgres], []byte(strings.Repeat(string(l)+"data ", 100)))
	}
	return c
}

// simSnapshot makes the snapshot of a host, in an order that is always the same.
func simSnapshot(ctx context.Context, r *repo.Repo, host string) (repo.SnapshotRef, error) {
	w, err := r.NewWriter(ctx, instance)
	if err != nil {
		return repo.SnapshotRef{}, err
	}
	defer w.Abort()
	return simCommit(ctx, w, host)
}

func simCommit(ctx context.Context, w *repo.Writer, host string) (repo.SnapshotRef, error) {
	m := manifest{make(map[string][]string)}
	c := simContents[host]
	for _, comp := range slices.Sorted(maps.Keys(c)) {
		for _, b := range c[comp] {
			id := w.Sum(comp, b)
			if _, err := w.Add(ctx, comp, id, b); err != nil {
				return repo.SnapshotRef{}, err
			}
			m.Blobs[comp.String()] = append(m.Blobs[comp.String()], id.String())
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return repo.SnapshotRef{}, err
	}
	when := time.Now().UTC()
	return w.Commit(ctx, text, repo.SnapshotInfo{Instance: instance, Host: host, Date: when.Format(time.DateOnly), Time: when})
}

// newSimHistory makes the past, in a bubble, so that its times fit those of the simulations.
func newSimHistory(t *testing.T) *simHistory {
	// What makes a run cheap: no disk where memory will do, no cryptography but that of packs, less collecting of garbage.
	if _, err := os.Stat("/dev/shm"); err == nil {
		before := os.Getenv("TMPDIR")
		os.Setenv("TMPDIR", "/dev/shm") // t.Setenv would forbid parallel tests
		t.Cleanup(func() { os.Setenv("TMPDIR", before) })
	}
	repo.PlainEnvelopes(t)
	before := debug.SetGCPercent(400)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	// What the package shares for good must be made outside any bubble: it outlives it.
	warm := storetest.NewMem(t)
	ww := newWorld(t, warm, repo.InitOptions{})
	ref, _ := mustSnapshot(t, ww.open(ww.writer), simContents["next"], 1)
	if err := verify(t.Context(), ww.open(ww.owner), ref, simContents["next"]); err != nil {
		t.Fatal(err)
	}
	h := &simHistory{mem: storetest.NewMem(t), owner: w.owner, writer: w.writer}
	synctest.Test(t, func(t *testing.T) { h.fill(t) })
	return h
}

func (h *simHistory) fill(t *testing.T) {
	ctx := t.Context()
	if err := repo.Init(ctx, h.mem, h.owner, h.writer, repo.InitOptions{Instance: instance}); err != nil {
		t.Fatal(err)
	}
	open := func(k *repo.Keyring) *repo.Repo {
		time.Sleep(time.Minute)
		r, err := openFresh(ctx, h.mem, k)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var refs []repo.SnapshotRef
	early := open(h.writer)
	w, err := early.NewWriter(ctx, instance) // knows of none of the others, and stores their blobs again
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, host := range []string{"past1", "past2", "past3"} {
		ref, err := simSnapshot(ctx, open(h.writer), host)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	time.Sleep(time.Minute)
	ref, err := simCommit(ctx, w, "past4")
	if err != nil {
		t.Fatal(err)
	}
	h.kept, h.gone = []repo.SnapshotRef{refs[1], ref}, []repo.SnapshotRef{refs[0], refs[2]}
	if err := open(h.owner).Forget(ctx, []repo.Name{refs[0].ID, refs[2].ID}); err != nil {
		t.Fatal(err)
	}
	h.end = time.Now().Add(time.Minute)
}

// simScenarios are who works at once. "s1 again" goes on from the journal that s1, the first, left where that died.
var simScenarios = [][]string{
	{"s1", "prune"},
	{"s1", "s2", "prune"},
	{"s1", "prune", "prune by the writer"},
	{"s1", "s1 again", "prune"},
	{"s1", "forget", "prune", "restore"},
	{"s1", "s2", "prune", "prune by the writer", "forget", "check"},
	{"s3", "prune", "prune by the writer"},
	{"s3", "s3 again", "prune"},
}

// A simulation is one interleaving and what came of it.
type simulation struct {
	*simHistory
	mem   *storetest.Mem
	sched *storetest.Sched
	state func() string // makes a directory for what a machine remembers

	mu        sync.Mutex
	acked     []repo.SnapshotRef
	forgotten map[repo.Name]bool // false: a forget may have been published
}

// simulated runs one interleaving in a bubble and returns what is wrong with the outcome.
func (h *simHistory) simulated(t *testing.T, seed uint64, scenario []string) (s *simulation, err error) {
	time.Sleep(time.Until(h.end))
	mem := h.mem.CloneFor(t)
	s = &simulation{simHistory: h, mem: mem, sched: storetest.NewSched(mem, seed), forgotten: make(map[repo.Name]bool)}
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
	s.start(scenario, seed)
	s.sched.Run()
	for _, p := range s.sched.Parties() {
		if err := s.expected(p); err != nil {
			return s, err
		}
	}
	return s, s.judge(t.Context())
}

// start lets the parties of a scenario loose.
func (s *simulation) start(scenario []string, seed uint64) {
	grace := time.Duration(0)
	if seed/8%2 == 0 {
		grace = 1 // what a run uploads is taken for left over at once: only the log protects it
	}
	remembers := slices.ContainsFunc(scenario, func(name string) bool { return strings.HasSuffix(name, " again") })
	var first *storetest.Party
	for _, name := range scenario {
		var f func(context.Context, repo.Store) error
		switch name {
		case "s1", "s2", "s3":
			f = s.snapshot(name, remembers)
		case "s1 again", "s3 again":
			again := s.snapshot(scenario[0], true)
			f = func(ctx context.Context, st repo.Store) error {
				<-first.Ended()
				return again(ctx, st)
			}
		case "prune":
			f = s.prune(s.owner, grace)
		case "prune by the writer":
			f = s.prune(s.writer, grace)
		case "forget":
			f = s.forget
		case "check":
			f = s.check
		case "restore":
			f = s.restore
		}
		p := s.sched.Go(name, f)
		if first == nil {
			first = p
		}
	}
}

func (s *simulation) snapshot(host string, remembers bool) func(context.Context, repo.Store) error {
	return func(ctx context.Context, st repo.Store) error {
		var o repo.Options
		if remembers {
			o.StateDir = s.state()
		}
		r, err := repo.Open(ctx, st, s.writer, o)
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

func (s *simulation) prune(k *repo.Keyring, grace time.Duration) func(context.Context, repo.Store) error {
	return func(ctx context.Context, st repo.Store) error {
		r, err := openFresh(ctx, st, k)
		if err != nil {
			return err
		}
		_, err = r.Prune(ctx, mark, repo.PruneOptions{Grace: grace})
		return err
	}
}

// forget takes the newest snapshot off the list, whoever made it.
func (s *simulation) forget(ctx context.Context, st repo.Store) error {
	r, err := openFresh(ctx, st, s.writer)
	if err != nil {
		return err
	}
	all := r.Snapshots()
	id := all[len(all)-1].ID
	s.mu.Lock()
	s.forgotten[id] = false
	s.mu.Unlock()
	err = r.Forget(ctx, []repo.Name{id})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten[id] = err == nil
	return err
}

// check finds nothing wrong, whatever the others are doing.
func (s *simulation) check(ctx context.Context, st repo.Store) error {
	r, err := openFresh(ctx, st, s.owner)
	if err != nil {
		return err
	}
	var found error
	_, err = r.Check(ctx, mark, repo.CheckOptions{Problem: func(err error) { found = fmt.Errorf("found meanwhile: %w", err) }})
	return errors.Join(err, found)
}

// restore reads what was there all the time.
func (s *simulation) restore(ctx context.Context, st repo.Store) error {
	r, err := openFresh(ctx, st, s.owner)
	if err != nil {
		return err
	}
	return verify(ctx, r, s.kept[0], simContents[s.kept[0].Host])
}

// expected returns an error where a party that lived ended as none should.
func (s *simulation) expected(p *storetest.Party) error {
	var locked *repo.LockedError
	switch {
	case p.Died, p.Hurt, p.Err == nil, errors.Is(p.Err, repo.ErrPruned), errors.As(p.Err, &locked):
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
	if err := s.whole(ctx, r, r.Snapshots()); err != nil {
		return err
	}
	if _, err := s.clean(ctx, r); err != nil {
		return err
	}
	// All that the dead have left is old by then.
	time.Sleep(repo.DefaultGrace + time.Hour)
	if err := s.snapshot("next", false)(ctx, s.mem); err != nil {
		return fmt.Errorf("the next snapshot: %w", err)
	}
	if _, err := r.Prune(ctx, mark, repo.PruneOptions{}); err != nil {
		return fmt.Errorf("the next prune: %w", err)
	}
	if err := s.nextNight(ctx, r); err != nil {
		return fmt.Errorf("after the next night: %w", err)
	}
	return nil
}

// listed returns an error unless what was acknowledged is listed, and what was forgotten is not.
func (s *simulation) listed(r *repo.Repo) error {
	listed := make(map[repo.Name]bool)
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

// whole returns an error unless every byte of the snapshots comes back.
func (s *simulation) whole(ctx context.Context, r *repo.Repo, refs []repo.SnapshotRef) error {
	rd, err := r.NewReader(ctx, instance)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		text, err := r.Manifest(ctx, ref)
		if err != nil {
			return fmt.Errorf("the snapshot of %s: %w", ref.Host, err)
		}
		var m manifest
		if err := json.Unmarshal(text, &m); err != nil {
			return err
		}
		for comp, blobs := range simContents[ref.Host] {
			for i, want := range blobs {
				id, err := chunk.ParseID(m.Blobs[comp.String()][i])
				if err != nil {
					return err
				}
				if got, err := rd.Blob(ctx, id); err != nil || !bytes.Equal(got, want) {
					return fmt.Errorf("blob %d of %v in the snapshot of %s: %w", i, comp, ref.Host, cmp.Or(err, errors.New("other bytes")))
				}
			}
		}
	}
	return nil
}

// clean returns what a check found, which must be no damage.
func (s *simulation) clean(ctx context.Context, r *repo.Repo) (*repo.CheckResult, error) {
	var found error
	res, err := r.Check(ctx, mark, repo.CheckOptions{Problem: func(err error) { found = err }})
	return res, errors.Join(err, found)
}

// nextNight returns an error where the next snapshot is not whole, or the next prune has left what nobody needs.
func (s *simulation) nextNight(ctx context.Context, r *repo.Repo) error {
	if err := s.listed(r); err != nil {
		return err
	}
	all := r.Snapshots()
	if err := s.whole(ctx, r, all[len(all)-1:]); err != nil {
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
// was acknowledged, list none that is not whole, and leave nothing that the next night does not clean up.
func TestSimulate(t *testing.T) {
	count := 10_000
	switch {
	case *simulate > 0:
		count = *simulate
	case raceDetector:
		count = 300
	case testing.Short():
		count = 1200
	}
	h := newSimHistory(t)
	if *simulateSeed != 0 {
		s := h.try(t, *simulateSeed)
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
					s := h.try(t, uint64(seed))
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
func (h *simHistory) try(t *testing.T, seed uint64) (s *simulation) {
	scenario := simScenarios[seed%uint64(len(simScenarios))]
	synctest.Test(t, func(t *testing.T) {
		var err error
		if s, err = h.simulated(t, seed, scenario); err != nil {
			t.Errorf("interleaving %d of %q: %v\n%s", seed, scenario, err, s.sched.Trace())
		}
	})
	return s
}

// A seed gives the same run again, so that a failure can be looked at.
func TestSimulationRepeats(t *testing.T) {
	h := newSimHistory(t)
	for seed := range uint64(60) {
		first, again := h.try(t, seed).sched.Trace(), h.try(t, seed).sched.Trace()
		if first != again {
			t.Errorf("interleaving %d differs when it is run again:\n%s\n\n%s", seed, first, again)
		}
	}
}
