package ledger

import (
	"fmt"
	"testing"
)

// This is a model of what a prune relies on. Two instances have snapshots of one blob. The first has two copies of it, so that one
// may go, and the second has one. Against the prunes work a storage that lets a pack rot or loses it; and liars, who list packs as
// what they are not: a writer of the second instance, and one of the first, who is removed. An owner's prune reads all packs, a
// host's none. Each may stop at any step for good. A pack is marked for an instance and opens for no other.

// copyMarks are the instances that packs were written for. The last one is a liar's, and holds something else than its listing
// says.
var copyMarks = []byte{'A', 'A', 'B', 'A'}

const liarsPack = 3

// A copyListing says that a pack holds the blob for an instance, or another blob that nobody needs.
type copyListing struct {
	pack     uint8
	instance byte
	other    bool
	trusted  bool
}

// copyListings are the listings that there are in the beginning, and then those that liars may add. The index finds the later
// first.
var copyListings = []copyListing{
	{pack: 0, instance: 'A', trusted: true},
	{pack: 1, instance: 'A', trusted: true},
	{pack: 2, instance: 'B', trusted: true},
	{pack: 0, instance: 'B', trusted: true},
	{pack: 1, instance: 'B', trusted: true},
	{pack: 2, instance: 'A'},
	{pack: 0, instance: 'A', other: true},
	{pack: 1, instance: 'A', other: true},
	{pack: liarsPack, instance: 'A'},
}

const trueListings = 3

// A copySet is a set of packs, or of listings.
type copySet uint16

func (s copySet) has(i int) bool { return s>>i&1 != 0 }

type copyPruner struct {
	step   byte
	known  uint8 // entries of the log that it has read
	doomed copySet
	reads  copySet // listings whose copies it relies on
}

type copyState struct {
	entries uint8
	there   copySet // packs
	rotten  copySet
	listed  copySet
	named   [2]copySet // packs that entries name: the owner's, for all, and the host's, for its instance
	hurts   uint8      // what the storage has done
	lies    uint8
	pruners [2]copyPruner // the owner, and a host of the first instance
	lost    byte          // the instance that a prune has taken its last good copy
}

const (
	copyOwner = 0
	copyHost  = 1
)

type copyWeakness int

const (
	copySound      copyWeakness = iota
	copyUnread                  // what stays is not read
	copyReadAny                 // a copy is read that stays for any instance
	copyMarkAny                 // one copy stays for all instances
	copyOneListing              // a pack goes where one listing of it holds nothing that lives
)

// counts reports whether a listing is in the index: it is not of what a prune has named for its instance.
func (s *copyState) counts(i int) bool {
	l := copyListings[i]
	return s.listed.has(i) && !s.named[copyOwner].has(int(l.pack)) && (l.instance != 'A' || !s.named[copyHost].has(int(l.pack)))
}

// good reports whether a pack gives an instance the blob.
func (s *copyState) good(pack uint8, instance byte) bool {
	return copyMarks[pack] == instance && pack != liarsPack && s.there.has(int(pack)) && !s.rotten.has(int(pack))
}

// readable reports whether an instance has the blob: whoever reads tries each place.
func (s *copyState) readable(instance byte) bool {
	for i, l := range copyListings {
		if s.counts(i) && l.instance == instance && !l.other && s.good(l.pack, instance) {
			return true
		}
	}
	return false
}

// index returns what a pruner goes by: an owner leaves out what a pack's header gives the lie to, as headers.SortOut does.
func (w copyWeakness) index(s *copyState, who int) (x copySet) {
	for i, l := range copyListings {
		foreign := who == copyOwner && s.there.has(int(l.pack)) && copyMarks[l.pack] != l.instance && s.contested(l.pack)
		if s.counts(i) && !foreign {
			x |= 1 << i
		}
	}
	return x
}

// contested is index.Index.IsContested.
func (s *copyState) contested(pack uint8) bool {
	var all [2]bool
	for i, l := range copyListings {
		if l.pack == pack && s.counts(i) {
			all[l.instance-'A'] = true
		}
	}
	return all[0] && all[1]
}

// places returns the listings of an index that have the blob for an instance, in packs that are there.
func (s *copyState) places(x copySet, instance byte) (p copySet) {
	for i, l := range copyListings {
		if x.has(i) && !l.other && l.instance == instance && s.there.has(int(l.pack)) {
			p |= 1 << i
		}
	}
	return p
}

// best is what upkeep's marker chooses of the copies that a key can read: the newest of those that somebody vouches for who is on the
// list of keys, or else of all.
func (p copySet) best() copySet {
	best := -1
	for i := range copyListings {
		if p.has(i) && (best < 0 || copyListings[i].trusted || !copyListings[best].trusted) {
			best = i
		}
	}
	return 1 << best
}

// mark is marker.blob: it returns the listings whose copies stay, or none where an instance has no copy.
func (w copyWeakness) mark(s *copyState, who int, x copySet) (live copySet) {
	a, b := s.places(x, 'A'), s.places(x, 'B')
	switch {
	case a == 0 || b == 0:
		return 0
	case who == copyHost: // it can't read what stays
		return a | b
	case w == copyMarkAny:
		return (a | b).best()
	}
	return a.best() | b.best()
}

// plan is survey, mark and choose. A pruner sees the log and the storage at once, and time passes until it reads.
func (w copyWeakness) plan(s *copyState, who int) bool {
	p := &s.pruners[who]
	x := w.index(s, who)
	live := w.mark(s, who, x)
	if live == 0 {
		return false
	}
	p.known, p.doomed, p.reads = s.entries, 0, 0
	for i, l := range copyListings {
		mine := who == copyOwner || l.instance == 'A'
		contested := who == copyHost && s.contested(l.pack)
		if !x.has(i) || live.has(i) || !mine || contested || !w.dead(x&live, l.pack) {
			continue
		}
		p.doomed |= 1 << l.pack
	}
	for i, l := range copyListings { // staying
		if live.has(i) && !p.doomed.has(int(l.pack)) && who == copyOwner && w.relies(x, p.doomed, l.instance) {
			p.reads |= 1 << i
		}
	}
	return p.doomed != 0
}

// dead reports whether a pack may go by its other listings: livesElsewhere.
func (w copyWeakness) dead(live copySet, pack uint8) bool {
	for i, l := range copyListings {
		if live.has(i) && l.pack == pack && w != copyOneListing {
			return false
		}
	}
	return true
}

// relies reports whether a copy goes for the sake of one that stays for an instance.
func (w copyWeakness) relies(x, doomed copySet, instance byte) bool {
	for i, l := range copyListings {
		if x.has(i) && doomed.has(int(l.pack)) && !l.other && (l.instance == instance || w == copyReadAny) {
			return true
		}
	}
	return false
}

// read is readDuplicates: it reports whether all that was chosen verifies.
func (w copyWeakness) read(s *copyState, p *copyPruner) bool {
	one := false
	for i, l := range copyListings {
		if !p.reads.has(i) {
			continue
		}
		good := s.good(l.pack, l.instance)
		if one = one || good; !good && w != copyUnread && w != copyReadAny {
			return false
		}
	}
	return one || p.reads == 0 || w == copyUnread
}

// prune is a step of tryPrune.
func (w copyWeakness) prune(s copyState, who int, out []copyState) []copyState {
	p := &s.pruners[who]
	switch p.step {
	case 'o':
		if p.step = 'r'; !w.plan(&s, who) {
			return out
		}
	case 'r':
		if p.step = 'p'; !w.read(&s, p) {
			p.step = 'o'
		}
	case 'p': // logbook.Log.PublishAt
		if p.step = 'o'; p.known == s.entries {
			a, b := s.readable('A'), s.readable('B')
			s.named[who] |= p.doomed
			s.entries++
			s.judge(a, b)
			p.step = 'd'
		}
	case 'd': // sweep
		a, b := s.readable('A'), s.readable('B')
		first := p.doomed & s.there & -(p.doomed & s.there)
		if s.there &^= first; first == 0 {
			p.step = 0
		}
		s.judge(a, b)
	}
	return append(out, s)
}

// judge notes which instance has lost its blob, of those that had it.
func (s *copyState) judge(a, b bool) {
	switch {
	case a && !s.readable('A'):
		s.lost = 'A'
	case b && !s.readable('B'):
		s.lost = 'B'
	}
}

func (w copyWeakness) next(s copyState, out []copyState) []copyState {
	relied := false
	for i, p := range s.pruners {
		relied = relied || p.step == 'p' || p.step == 'd'
		if p.step != 0 {
			out = w.prune(s, i, out)
		}
	}
	for i := range copyMarks {
		// What rots once it was read, nobody can help.
		if relied || s.hurts == 2 || !s.there.has(i) {
			continue
		}
		t := s
		t.hurts++
		t.rotten |= 1 << i
		u := s
		u.hurts++
		u.there &^= 1 << i
		out = append(out, t, u)
	}
	for i := trueListings; i < len(copyListings) && s.lies < 3; i++ {
		if !s.listed.has(i) {
			t := s
			t.lies++
			t.entries++
			t.listed |= 1 << i
			out = append(out, t)
		}
	}
	return out
}

// No prune takes an instance its last good copy, whatever is listed; where it is weaker, it does.
func TestModelCopies(t *testing.T) {
	start := copyState{there: 1<<len(copyMarks) - 1, listed: 1<<trueListings - 1}
	start.pruners[copyOwner].step, start.pruners[copyHost].step = 'o', 'o'
	holds := func(s *copyState) error {
		if s.lost != 0 {
			return fmt.Errorf("a prune takes instance %c its last good copy", s.lost)
		}
		return nil
	}
	for weak, name := range map[copyWeakness]string{
		copySound: "the protocol as it is", copyUnread: "what stays is not read", copyReadAny: "any instance's copy is read",
		copyMarkAny: "one copy stays for all", copyOneListing: "one listing decides",
	} {
		states, wrong, err := Explore(start, weak.next, holds)
		if (err != nil) != (weak != copySound) {
			t.Errorf("%s: %v: %+v", name, err, wrong)
		}
		t.Logf("%s: %v, within %d states", name, err, states)
	}
}
