package storetest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"permafrost/repo/store"
)

// A Sched lets several parties work on one store, one operation at a time, in an order that a seed decides. It also
// decides who dies at which of its operations, whose fails though it may have been done, and who is suspended for how long.
//
// It needs a bubble of testing/synctest: an operation is chosen only when every goroutine of every party waits for its
// turn, for another goroutine or for time to pass. So what may run at once inside a party does not change what there is
// to choose from, and a seed gives the same run again. What is left to chance: two objects of one kind and length that a
// party puts at once are told apart by names that no seed decides.
//
// Time passes between operations, by the bubble's clock, and much of it where a party is suspended for days:
// what it has uploaded is old then, and its leases are stale.
type Sched struct {
	mem     *Mem
	rng     *rand.Rand
	days    time.Duration
	stay    float64 // chance that the party that had the last turn has the next one too
	steps   int
	last    *Party
	parties []*Party
	trace   []string

	mu      sync.Mutex
	waiting []*turn
	aliases map[string]string // of objects whose names differ from run to run
	counts  map[string]int    // aliases given, by directory
}

// A Party is one of those who work on the store.
type Party struct {
	Name string
	Err  error // what its function returned
	Died bool  // it was stopped for good
	Hurt bool  // one of its operations failed, and it lived on

	s        *Sched
	cancel   context.CancelFunc
	ended    chan struct{}
	dieAt    int // the operation, counted from 0, at which it dies; -1: none
	hurtAt   int // the one that fails, though it may have been done
	sleepAt  int // the one at which it is suspended
	sleepFor int // turns of others; 0: until nobody else can go on
	restAt   int // the put or removal, counted from 0, before which it is suspended for days
	ops      int // that it has done
	changes  int // puts and removals among them
	asleep   int // the step until which it is suspended
	sizes    map[string]int
}

// A turn is an operation that waits to be let through.
type turn struct {
	party *Party
	op    Op
	size  int // of what is put
	grant chan Fault
}

// never is a step that does not come.
const never = 1 << 30

// NewSched returns a scheduler for parties that work on m. Who is suspended for days is for that long.
func NewSched(m *Mem, seed uint64, days time.Duration) *Sched {
	s := &Sched{mem: m, days: days, rng: rand.New(rand.NewPCG(seed, 0)), aliases: make(map[string]string), counts: make(map[string]int)}
	// Some runs change hands with every operation, and some rarely: much can then happen between two of one party.
	s.stay = []float64{0, 0.5, 0.9, 0.97}[s.rng.IntN(4)]
	for _, name := range m.byAge() {
		s.name(name)
	}
	return s
}

// Go adds a party. Its context ends when it dies.
func (s *Sched) Go(name string, f func(context.Context, store.Store) error) *Party {
	return s.GoOn(name, s.mem, f)
}

// GoOn adds a party that works on another store.
func (s *Sched) GoOn(name string, st store.Store, f func(context.Context, store.Store) error) *Party {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Party{Name: name, s: s, cancel: cancel, ended: make(chan struct{}), dieAt: -1, hurtAt: -1, sleepAt: -1, restAt: -1, sizes: make(map[string]int)}
	switch s.rng.IntN(8) {
	case 0, 1:
		p.dieAt = s.rng.IntN(50)
	case 2:
		p.hurtAt = s.rng.IntN(50)
	case 3, 4:
		p.sleepAt = s.rng.IntN(50)
		p.sleepFor = s.rng.IntN(3) * 20
	case 5:
		p.restAt = s.rng.IntN(8) // most operations read: between two changes is where it matters what others do
	}
	s.parties = append(s.parties, p)
	go func() {
		defer close(p.ended)
		defer cancel()
		p.Err = f(ctx, &view{&Hook{Store: st, Before: p.wait}, p})
	}()
	return p
}

// Ended is closed when the party's function has returned.
func (p *Party) Ended() <-chan struct{} { return p.ended }

// Parties returns those that were added.
func (s *Sched) Parties() []*Party { return s.parties }

// Run gives turns until every party has ended. Its caller is the bubble's first goroutine.
func (s *Sched) Run() {
	idle := 0
	for {
		synctest.Wait()
		if t := s.choose(); t != nil {
			idle = 0
			s.let(t)
		} else if s.over() {
			return
		} else if idle++; idle > 1000 {
			panic("the parties wait for each other:\n" + s.Trace())
		}
		s.pass()
	}
}

// pass lets time pass: mostly a little, now and then enough for a lease to be renewed.
func (s *Sched) pass() {
	if s.rng.IntN(50) == 0 {
		time.Sleep(5 * time.Minute)
	}
	time.Sleep(time.Second)
}

func (s *Sched) over() bool {
	for _, p := range s.parties {
		select {
		case <-p.ended:
		default:
			return false
		}
	}
	return true
}

// choose takes the operation that goes on from those that wait, or returns nil where none does.
func (s *Sched) choose() *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.waiting, func(a, b *turn) int {
		return cmp.Or(slices.Index(s.parties, a.party)-slices.Index(s.parties, b.party), cmp.Compare(s.label(a), s.label(b)))
	})
	var awake []*turn
	for _, t := range s.waiting {
		if t.party.asleep <= s.steps {
			awake = append(awake, t)
		}
	}
	if len(awake) == 0 { // nobody else is left to wait for
		awake = s.waiting
	}
	if len(awake) == 0 {
		return nil
	}
	mine := awake[s.rng.IntN(len(awake))].party
	if s.last != nil && s.rng.Float64() < s.stay && slices.ContainsFunc(awake, func(t *turn) bool { return t.party == s.last }) {
		mine = s.last
	}
	awake = slices.DeleteFunc(slices.Clone(awake), func(t *turn) bool { return t.party != mine })
	t := awake[s.rng.IntN(len(awake))]
	t.party.asleep = 0
	return t
}

// let lets an operation through, or what befalls its party happen.
func (s *Sched) let(t *turn) {
	p := t.party
	s.steps++
	switch {
	case p.ops == p.dieAt:
		s.die(p)
		return
	case p.ops == p.sleepAt:
		p.sleepAt = -1
		p.asleep = never
		if p.sleepFor > 0 {
			p.asleep = s.steps + p.sleepFor
		}
		s.note(t, "is suspended before")
		return
	case p.changes == p.restAt && t.op.Changes():
		p.restAt = -1
		p.asleep = never
		s.note(t, "is suspended for days before")
		time.Sleep(s.days)
		return
	}
	hurt := p.ops == p.hurtAt
	p.ops++
	if t.op.Changes() {
		p.changes++
	}
	s.last = p
	s.mu.Lock()
	s.waiting = slices.DeleteFunc(s.waiting, func(o *turn) bool { return o == t })
	s.mu.Unlock()
	if hurt {
		p.Hurt = true
		s.fail(t, "is hurt")
		return
	}
	s.note(t, "")
	t.grant <- None
}

// die stops a party for good. What is under way then is done, or not, or in part.
func (s *Sched) die(p *Party) {
	s.mu.Lock()
	p.Died = true
	var mine []*turn
	s.waiting = slices.DeleteFunc(s.waiting, func(t *turn) bool {
		if t.party == p {
			mine = append(mine, t)
		}
		return t.party == p
	})
	s.mu.Unlock()
	for _, t := range mine {
		s.fail(t, "dies")
		synctest.Wait() // so that the order of effects is the one noted
	}
	p.cancel()
}

// fail makes an operation fail that was done, or not, or in part.
func (s *Sched) fail(t *turn, what string) {
	fault := Fault(s.rng.IntN(3)) + NotDone
	s.note(t, fmt.Sprintf("%s with fault %d at", what, fault))
	t.grant <- fault
}

// note adds to the trace.
func (s *Sched) note(t *turn, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	label := s.label(t)
	if t.op.Kind == "Put" {
		label += " = " + s.name(t.op.Name)
	}
	s.trace = append(s.trace, strings.Join(strings.Fields(fmt.Sprintf("%4d %s: %s %s", s.steps, t.party.Name, what, label)), " "))
}

// Tell adds to the trace what nobody has done who takes turns.
func (s *Sched) Tell(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = append(s.trace, fmt.Sprintf("%4d - %s", s.steps, what))
}

// Know numbers an object that no party has put.
func (s *Sched) Know(object string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name(object)
}

// Trace returns what was done, a line for each step. Objects that are named by chance have numbers in it.
func (s *Sched) Trace() string { return strings.Join(s.trace, "\n") }

// Steps returns how many operations there were.
func (s *Sched) Steps() int { return s.steps }

// label is what a turn is sorted by, and how a trace names it.
func (s *Sched) label(t *turn) string {
	name := t.op.Name
	if dir, _, _ := strings.Cut(name, "/"); chancy[dir] && t.op.Kind != "List" {
		name = s.aliases[t.op.Name]
		if name == "" {
			name = fmt.Sprintf("%s/ of %d bytes", dir, t.size)
		}
	}
	return t.op.Kind + " " + name
}

// chancy are the directories whose objects are named by a hash, or at random.
var chancy = map[string]bool{"packs": true, "index": true, "manifests": true, "leases": true, "keys": true}

// name gives an object its alias, in the order of the puts.
func (s *Sched) name(object string) string {
	dir, _, _ := strings.Cut(object, "/")
	if !chancy[dir] {
		return object
	}
	if s.aliases[object] == "" {
		s.counts[dir]++
		s.aliases[object] = fmt.Sprintf("%s/#%d", dir, s.counts[dir])
	}
	return s.aliases[object]
}

// wait returns what befalls an operation, once it is its turn.
func (p *Party) wait(op Op) Fault {
	p.s.mu.Lock()
	if p.Died {
		p.s.mu.Unlock()
		return NotDone
	}
	t := &turn{p, op, p.sizes[op.Name], make(chan Fault)}
	p.s.waiting = append(p.s.waiting, t)
	p.s.mu.Unlock()
	return <-t.grant
}

// A view is the store as a party has it.
type view struct {
	*Hook
	party *Party
}

// Put implements store.Store.
func (v *view) Put(ctx context.Context, name string, data ...[]byte) error {
	if err := ctx.Err(); err != nil {
		return err // a call that comes too late takes no turn: whether it was made is a matter of chance
	}
	size := 0
	for _, d := range data {
		size += len(d)
	}
	v.party.s.mu.Lock()
	v.party.sizes[name] = size
	v.party.s.mu.Unlock()
	return v.Hook.Put(ctx, name, data...)
}

// List implements store.Store. A listing is not a moment: half of the objects are looked at in one turn and half in
// another. They come in the order of their aliases, so that chance has no part in what is done with them.
func (v *view) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		for half := range 2 {
			found, err := v.half(ctx, prefix, half)
			for _, o := range found {
				if !yield(o, nil) {
					return
				}
			}
			if err != nil {
				yield(store.Object{}, err)
				return
			}
		}
	}
}

// half returns every other object below a prefix, as it is when the turn comes.
func (v *view) half(ctx context.Context, prefix string, half int) (found []store.Object, err error) {
	byName := make(map[string]store.Object)
	for o, lerr := range v.Hook.List(ctx, prefix) {
		if err = lerr; err == nil {
			byName[o.Name] = o
		}
	}
	s := v.party.s
	s.mu.Lock()
	defer s.mu.Unlock()
	aliases := make(map[string]string)
	for name := range byName {
		if a := s.name(name); int(a[len(a)-1])%2 == half {
			aliases[a] = name
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(aliases), byNumber) {
		found = append(found, byName[aliases[a]])
	}
	return found, err
}

// byNumber compares aliases.
func byNumber(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }
