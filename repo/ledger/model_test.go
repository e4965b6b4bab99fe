package ledger_test

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"
)

// This is a model of the one-log protocol, every state of which is visited: two writers, two pruners, a forgetter and a liar,
// each of which may stop at any step for good. The liar is a writer of another instance that names what the others have just
// uploaded, as what a prune takes for left over. One blob is all that snapshots hold. A step is one operation of the store,
// with what a party decides on its answer; what it knows is frozen between its steps.
//
// What it leaves out of the code only lets more go wrong: what no entry names is left over at once, whatever its age, and
// no lease makes anybody wait.

const (
	modelWriters = 2
	modelPruners = 2
	modelParties = modelWriters + modelPruners + 2 // and the forgetter, and the liar
	modelLog     = modelParties + 2                // everybody publishes once, the liar twice, on top of the first snapshot
	noPack       = 7
)

// packSet is a set of packs that hold the blob. Pack 0 is the first snapshot's; each writer has names for two, and each
// pruner for one.
type packSet uint8

func (s packSet) has(p uint8) bool { return s>>p&1 != 0 }

// first is the pack of the lowest number, or noPack.
func (s packSet) first() uint8 { return uint8(min(bits.TrailingZeros8(uint8(s)), noPack)) }

func only(p uint8) packSet {
	if p == noPack {
		return 0
	}
	return 1 << p
}

type modelEntry struct {
	kind  byte    // 's'napshot, 'f'orget of entry 0, 'p'rune, 'l'ie
	pack  uint8   // that its index object lists, or noPack
	names packSet // a prune's, or a lie's
}

type modelParty struct {
	step   byte    // what it does next, 0: it has ended
	known  uint8   // how many entries it has read
	pack   uint8   // what a writer references; what a pruner keeps or wrote
	made   uint8   // packs that it has written
	doomed packSet // what a pruner deletes
	listed packSet // what it found in the store
}

// A modelState is comparable: it is its own key among those visited.
type modelState struct {
	log     [modelLog]modelEntry
	entries uint8
	packs   packSet // in the store
	parties [modelParties]modelParty
}

// index returns what the first n entries list and no prune among them names, and what one names: index.Loader.Load.
func (s *modelState) index(n uint8) (listed, named packSet) {
	for _, e := range s.log[:n] {
		listed |= only(e.pack)
		if e.kind != 'l' {
			named |= e.names
		}
	}
	return listed &^ named, named
}

// lied returns what the liar has named in the first n entries.
func (s *modelState) lied(n uint8) (names packSet) {
	for _, e := range s.log[:n] {
		if e.kind == 'l' {
			names |= e.names
		}
	}
	return names
}

// live reports whether a snapshot among the first n entries is not forgotten: history.live.
func (s *modelState) live(n uint8) bool {
	snapshots, forgotten := 0, 0
	for _, e := range s.log[:n] {
		switch e.kind {
		case 's':
			snapshots++
		case 'f':
			forgotten++
		}
	}
	return snapshots > forgotten
}

// whole is what must hold in every state: the blob is in a pack that the log leads to and that is there.
func (s *modelState) whole() bool {
	listed, _ := s.index(s.entries)
	return !s.live(s.entries) || listed&s.packs != 0
}

func (s modelState) publish(e modelEntry) modelState {
	s.log[s.entries] = e
	s.entries++
	return s
}

// A weakness is what a protocol leaves out.
type weakness int

const (
	sound            weakness = iota
	heedlessWriter            // publishes on whatever a prune entry below says
	heedlessPruner            // publishes what it decided before others published
	eagerPruner               // deletes before it has published
	blindDeduplicate          // a writer references what a prune entry has named
	trustingWriter            // does not look for what it has uploaded itself among what a prune entry names
	obedientWriter            // gives up what a writer of another instance has named
	sweepingPruner            // deletes what such a writer has named, without naming it anew
)

// next appends the states that a step of party i leads to.
func (s modelState) next(i int, weak weakness, out []modelState) []modelState {
	switch {
	case s.parties[i].step == 0:
		return out
	case i < modelWriters:
		return s.writer(i, weak, out)
	case i < modelWriters+modelPruners:
		return s.pruner(i, weak, out)
	}
	if i == modelParties-1 {
		return s.liar(i, out)
	}
	return s.forgetter(i, out)
}

// writer is a step of NewWriter, Add and Commit, and of the next run where that fails.
func (s modelState) writer(i int, weak weakness, out []modelState) []modelState {
	w := &s.parties[i]
	switch w.step {
	case 'o': // logbook.Log.ReadLog
		w.known, w.step = s.entries, 'h'
	case 'h': // Has: the index lists a pack, and present finds it there
		listed, named := s.index(w.known)
		if weak == blindDeduplicate {
			listed |= named
		}
		for have := listed & s.packs; have != 0; have &^= only(have.first()) {
			t := s
			t.parties[i].pack, t.parties[i].step = have.first(), 'p'
			out = append(out, t)
		}
		if listed&s.packs != 0 {
			return out
		}
		w.step = 'u'
		if w.made == 2 {
			w.step = 0 // enough tried
		}
	case 'u': // packing.put
		w.pack = 1 + 2*uint8(i) + w.made
		w.made++
		s.packs |= only(w.pack)
		w.step = 'p'
	case 'p': // publish
		if w.known == s.entries {
			w.step = 0
			return append(out, s.publish(modelEntry{kind: 's', pack: w.pack}))
		}
		w.known = s.entries // catchUp
		trusted := weak == heedlessWriter || weak == trustingWriter && w.pack > 0 && (w.pack-1)/2 == uint8(i)
		gone := s.lied(w.known).has(w.pack) && (weak == obedientWriter || !s.packs.has(w.pack)) // young
		if _, named := s.index(w.known); (named.has(w.pack) || gone) && !trusted {
			w.step = 'o' // stillThere: ErrPruned, and the next run
		}
	}
	return append(out, s)
}

// pruner is a step of tryPrune.
func (s modelState) pruner(i int, weak weakness, out []modelState) []modelState {
	p := &s.parties[i]
	switch p.step {
	case 'o': // catchUp
		p.known, p.step, p.pack = s.entries, 'l', noPack
	case 'l': // list
		p.listed, p.step = s.packs, 'm'
		return s.plan(i, out)
	case 'r': // readDuplicates
		p.step = 'p'
		if !s.packs.has(p.pack) {
			p.step = 'o' // logbook.Log.HasGrown
		}
		p.pack = noPack
	case 'c': // move
		p.step = 'p'
		listed, _ := s.index(p.known)
		if listed&s.packs == 0 {
			p.step = 'o' // logbook.Log.HasGrown
			break
		}
		p.pack = 1 + 2*modelWriters + uint8(i-modelWriters)
		p.made++
		s.packs |= only(p.pack)
	case 'p': // publish
		if weak == eagerPruner {
			t := s
			t.parties[i].step = 'd'
			out = append(out, t)
		}
		if p.known == s.entries || weak == heedlessPruner {
			p.step = 'd'
			names := p.doomed
			if weak == sweepingPruner {
				names &^= s.lied(p.known)
			}
			return append(out, s.publish(modelEntry{'p', p.pack, names}))
		}
		p.step = 'o' // logbook.ErrNewcomers
		if p.pack != noPack {
			p.step = 'x'
		}
	case 'x': // discard
		s.packs &^= only(p.pack)
		p.step = 'o'
	case 'd': // sweep
		s.packs &^= only((p.doomed & s.packs).first())
		if p.doomed&s.packs == 0 {
			p.step = 0
		}
	}
	return append(out, s)
}

// plan is mark and choose, on what was read and listed: no operation of its own.
func (s modelState) plan(i int, out []modelState) []modelState {
	p := &s.parties[i]
	listed, _ := s.index(p.known)
	have := listed & p.listed
	if !s.live(p.known) {
		p.doomed, p.step = p.listed, 'p'
		return append(out, s)
	}
	if have == 0 {
		p.step = 0 // what a snapshot needs is not there: nothing is pruned
		if p.known < s.entries {
			p.step = 'o' // logbook.Log.HasGrown
		}
		return append(out, s)
	}
	if p.made == 0 { // a pack that is mostly dead
		t := s
		t.parties[i].doomed, t.parties[i].step = p.listed, 'c'
		out = append(out, t)
	}
	p.pack = have.first()
	p.doomed, p.step = p.listed&^only(p.pack), 'r'
	return append(out, s)
}

// forgetter is a step of Forget.
func (s modelState) forgetter(i int, out []modelState) []modelState {
	f := &s.parties[i]
	switch {
	case f.step == 'o':
		f.known, f.step = s.entries, 'p'
	case f.known == s.entries:
		f.step = 0
		return append(out, s.publish(modelEntry{kind: 'f', pack: noPack}))
	default: // catchUp
		f.known = s.entries
	}
	return append(out, s)
}

// liar names what is there and listed nowhere, twice.
func (s modelState) liar(i int, out []modelState) []modelState {
	l := &s.parties[i]
	if l.step == 'o' || l.known < s.entries { // catchUp
		l.known, l.step = s.entries, 'p'
		return append(out, s)
	}
	if l.made++; l.made == 2 {
		l.step = 0
	}
	listed, _ := s.index(l.known)
	return append(out, s.publish(modelEntry{'l', noPack, s.packs &^ listed}))
}

// oneSnapshot is a repository with a snapshot in it.
func oneSnapshot() modelState { return modelState{packs: only(0)}.publish(modelEntry{kind: 's'}) }

// explore visits every state that the parties can bring about, and returns how many there are and the first in which
// something does not hold.
func explore(start modelState, parties []int, weak weakness, holds func(*modelState) bool) (states int, lost *modelState) {
	for _, i := range parties {
		start.parties[i].step = 'o'
	}
	seen := map[modelState]bool{start: true}
	todo := []modelState{start}
	var next []modelState
	for len(todo) > 0 {
		s := todo[0]
		todo = todo[1:]
		if !holds(&s) {
			return len(seen), &s
		}
		for _, i := range parties {
			next = s.next(i, weak, next[:0])
			for _, t := range next {
				if !seen[t] {
					seen[t] = true
					todo = append(todo, t)
				}
			}
		}
	}
	return len(seen), nil
}

// String tells a state's log and packs.
func (s *modelState) String() string {
	var b strings.Builder
	for _, e := range s.log[:s.entries] {
		fmt.Fprintf(&b, "%c lists %d names %07b; ", e.kind, e.pack, e.names)
	}
	return fmt.Sprintf("%spacks %07b", b.String(), s.packs)
}

// No state that two writers, two pruners and a forgetter can reach, each stopping anywhere, has lost a snapshot.
func TestModel(t *testing.T) {
	const w1, w2, p1, p2, f, l = 0, 1, 2, 3, 4, 5
	all := [][]int{{w1, p1, f}, {w1, p1, f, l}, {w1, w2, p1, f}, {w1, p1, p2, f}, {w1, w2, p1, l}, {w1, w2, p1, p2, f}}
	if testing.Short() {
		all = all[:4]
	}
	for _, parties := range all {
		states, lost := explore(oneSnapshot(), parties, sound, (*modelState).whole)
		if lost != nil {
			t.Errorf("parties %v lose a snapshot: %v", parties, lost)
		}
		t.Logf("parties %v: %d states", parties, states)
	}
}

// The model sees what goes wrong where the protocol is weaker.
func TestModelOfWeaker(t *testing.T) {
	for weak, name := range map[weakness]string{
		heedlessWriter: "a writer that ignores prune entries", heedlessPruner: "a pruner that ignores newcomers",
		eagerPruner: "deletions before the entry", blindDeduplicate: "a writer that references what a prune has named",
		trustingWriter: "a writer whose own uploads were taken for left over",
	} {
		states, lost := explore(oneSnapshot(), []int{0, 1, 2, 3, 4}, weak, (*modelState).whole)
		if lost == nil {
			t.Errorf("%s: no snapshot is lost", name)
			continue
		}
		t.Logf("%s: a snapshot is lost within %d states: %v", name, states, lost)
	}
}

// In a new repository the liar costs no snapshot, and keeps no writer from one: where writers obey it, or pruners delete what it
// has named, it does.
func TestModelOfLiar(t *testing.T) {
	const w1, w2, p1, l = 0, 1, 2, 5
	committed := func(s *modelState) bool { return s.parties[w1].step != 0 || s.live(s.entries) }
	for _, c := range []struct {
		parties []int
		holds   func(*modelState) bool
		weak    weakness
	}{
		{[]int{w1, l}, committed, obedientWriter},
		{[]int{w1, w2, p1, l}, (*modelState).whole, sweepingPruner},
	} {
		if states, lost := explore(modelState{}, c.parties, sound, c.holds); lost != nil {
			t.Errorf("parties %v, after %d states: %v", c.parties, states, lost)
		}
		if states, lost := explore(modelState{}, c.parties, c.weak, c.holds); lost == nil {
			t.Errorf("parties %v, weakness %d: the liar does no harm in %d states", c.parties, c.weak, states)
		}
	}
}
