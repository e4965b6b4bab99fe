package ledger

import "slices"

// This is a model of how the log is read, remembered and added to. Machines of hosts and of the owner open it, read on number by
// number, and publish; each may stop at any step for good. Against them work a liar, who is on the list of keys until the owner
// takes it off and goes on signing then; and a storage that drops objects, puts them back and puts junk, which an entry under
// another number than its own is too. Each function names what it is a model of, and TestModelLog compares its reader
// with that of the code.
//
// Entries are what was ever signed, by the order in which that was. Where an entry is named, its place in that order stands
// for its hash.

const (
	logNumbers = 7 // numbers that a log of the model has
	logMade    = 9 // entries that are ever made
	nobody     = 0 // no entry: the first is 1
	junk       = 0xfe
	madeUp     = 0xff // a hash that nothing has
)

// A logBasis is a Basis.
type logBasis struct{ roster, epoch, snapshots uint8 }

func (b logBasis) covers(o logBasis) bool {
	return b.roster >= o.roster && b.epoch >= o.epoch && b.snapshots >= o.snapshots
}

func (b logBasis) with(o logBasis) logBasis {
	return logBasis{max(b.roster, o.roster), max(b.epoch, o.epoch), max(b.snapshots, o.snapshots)}
}

// A logBreak is a Break, by the entries on both sides.
type logBreak struct{ after, at uint8 }

// A logEntry is an Entry. Its kind is 'k' for a list of keys without the liar, 'e' for an epoch, 's' for a snapshot, 'b' for
// something idle, 'a' for an acceptance: the liar's accepts all.
type logEntry struct {
	seq, prev, prevSeq uint8
	on                 logBasis
	by                 byte // 'o'wner, 'h'ost, 'l'iar
	kind               byte
	accepts            [2]logBreak
}

// sets is Entry.sets.
func (e *logEntry) sets() (b logBasis) {
	switch e.kind {
	case 'k':
		b.roster = e.seq
	case 'e':
		b.epoch = e.seq
	}
	return b
}

// A logMachine is one that remembers, with what it has read of the log in the run that is under way.
type logMachine struct {
	step  byte     // 'o'pen, 'p'ublish, 'r'ead once more, 0: it has ended
	done  uint8    // of its jobs
	view  uint16   // entries that this run has read
	held  uint8    // numbers under which it has seen objects
	next  uint8    // the number to publish under
	gaps  uint8    // free numbers below the newest entry
	far   uint8    // numbers of objects out of reach
	seen  uint8    // remembered: the newest entry
	on    logBasis // and what that was built on
	below uint16   // and the newest entries below breaks
	knows uint16   // all valid entries that it has ever read: nothing goes by that
}

// A logState is comparable: it is its own key among those visited.
type logState struct {
	made     [logMade]logEntry
	n        uint8
	slots    [logNumbers]uint8 // what the storage has under each number
	acked    uint16            // entries that honest parties have published
	machines [3]logMachine
	forged   uint8 // by the liar
	dropped  uint8 // by the storage
	junked   uint8
	removed  uint16 // by an owner who cleans up
}

// A logWeakness is what a protocol leaves out.
type logWeakness int

const (
	logSound        logWeakness = iota
	anybodyAccepts              // any entry on the list of keys accepts all damage
	headAlone                   // likewise, and a machine remembers the newest entry's hash and nothing else
	noBasis                     // entries don't say what they build on
	forksPassed                 // an owner's entry that leaves others out is passed over like anybody's
	anyJump                     // an entry may stand under any number
	gapsLeft                    // an owner who accepts damage leaves the free numbers below
	farRemoved                  // an owner removes what is out of reach, though its signer is on the list
	breaksForgotten             // a machine does not remember what stands below breaks
	belowBreaks                 // the next entry follows the newest valid one, below what is broken
)

// logRules say who takes part, and what is left out.
type logRules struct {
	weak    logWeakness
	jump    uint8     // MaxJump
	jobs    [3]string // of each machine: the kinds of what it publishes, 'c' for cleaning up; the last one is the owner's
	accepts bool      // the owner accepts what is broken
	forged  uint8     // at most
	kinds   string    // of the liar's entries
	dropped uint8
	junked  uint8
}

const ownersMachine = 2

// A logHistory is a history.
type logHistory struct {
	head          uint8 // entry
	next, top     uint8
	gaps, far     uint8
	roster, epoch uint8
	basis         logBasis
	listed        bool // the liar is
	taken, view   uint16
	held          uint8
	free          uint8 // numbers below the next entry, down to the last valid one, under which there is nothing
	breaks        []logBreak
}

func bit(id uint8) uint16 { return 1 << id }

func (s *logState) entry(id uint8) *logEntry { return &s.made[id-1] }

// read is takeLog: a listing, and all entries within reach.
func (r *logRules) read(s *logState) *logHistory {
	h := &logHistory{}
	for seq, id := range s.slots {
		switch {
		case id == nobody:
			h.free++
		case h.free > r.jump && r.weak != anyJump: // logTake.reaches
			h.far |= 1 << seq
		default:
			h.held |= 1 << seq
			if id != junk {
				h.view |= bit(id)
				r.take(s, h, id)
			}
		}
	}
	h.next = h.top
	if r.weak == belowBreaks {
		h.next = s.entry(h.head).seq + 1
	}
	for seq, id := range s.slots[:h.next] {
		if id == nobody {
			h.gaps |= 1 << seq
		}
	}
	for int(h.next) < logNumbers && s.slots[h.next] != nobody {
		h.next++
	}
	return h
}

// history is what a run goes by that has read some entries.
func (r *logRules) history(s *logState, m *logMachine) *logHistory {
	h := &logHistory{next: m.next, gaps: m.gaps, view: m.view, held: m.held}
	for seq := range uint8(logNumbers) {
		if m.held>>seq&1 == 0 {
			h.free++
		}
		for id := uint8(1); id <= s.n; id++ {
			if m.view&bit(id) != 0 && s.entry(id).seq == seq {
				r.take(s, h, id)
			}
		}
	}
	return h
}

// take is history.take.
func (r *logRules) take(s *logState, h *logHistory, id uint8) {
	e := s.entry(id)
	if e.by == 'l' && !h.listed { // known
		return
	}
	if r.chain(s, h, id) {
		h.head, h.top = id, e.seq+1
		h.taken |= bit(id)
		h.free = 0
		r.apply(h, e)
	}
}

// chain is history.chain.
func (r *logRules) chain(s *logState, h *logHistory, id uint8) (goesOn bool) {
	e := s.entry(id)
	head := uint8(0)
	if h.head != nobody {
		head = s.entry(h.head).seq
	}
	passed := false
	switch {
	case e.prev == h.head:
		if h.free == 0 && e.on == h.basis || r.weak == noBasis {
			return true
		}
		passed = true
	case e.prev == nobody, e.prev != madeUp && h.taken&bit(e.prev) != 0:
		passed = true
	case e.prevSeq >= e.seq, e.on.roster > e.prevSeq, e.on.epoch > e.prevSeq, e.on.snapshots > e.prevSeq:
		passed = true
	}
	if passed && (e.by != 'o' || r.weak == forksPassed) {
		return false
	}
	h.breaks, h.top = append(h.breaks, logBreak{h.head, id}), e.seq+1
	if r.weak == noBasis {
		return e.prevSeq > head
	}
	goesOn = !passed && (h.head == nobody || e.prevSeq > head) && e.on.covers(h.basis)
	h.basis = h.basis.with(e.on)
	if !goesOn && e.by == 'o' {
		h.basis = h.basis.with(e.sets())
	}
	return goesOn
}

// apply is history.apply.
func (r *logRules) apply(h *logHistory, e *logEntry) {
	switch {
	case e.prev == nobody: // the first list of keys
		h.listed = true
	case e.kind == 's':
		h.basis.snapshots++
	case e.kind == 'a':
		r.accept(h, e)
	case e.by != 'o':
	case e.kind == 'k':
		h.listed, h.roster, h.basis.roster = false, e.seq, e.seq
	case e.kind == 'e':
		h.epoch, h.basis.epoch = e.seq, e.seq
	}
}

// accept is history.applyAccept.
func (r *logRules) accept(h *logHistory, e *logEntry) {
	if r.weak == anybodyAccepts || r.weak == headAlone {
		h.breaks, h.basis.roster, h.basis.epoch = nil, h.roster, h.epoch
	}
	if e.by == 'o' {
		h.breaks = slices.DeleteFunc(h.breaks, func(b logBreak) bool { return slices.Contains(e.accepts[:], b) })
	}
}

func (h *logHistory) lostRoster() bool { return h.basis.roster != h.roster }
func (h *logHistory) lostEpoch() bool  { return h.basis.epoch != h.epoch }

// mayAdd is history.mayAdd.
func (r *logRules) mayAdd(h *logHistory, kind byte) bool {
	switch {
	case kind == 'a':
		return true
	case len(h.breaks) > 0:
		return false
	case r.weak == noBasis, !h.lostRoster() && !h.lostEpoch():
		return true
	}
	return kind == 'k' || kind == 'e' && !h.lostRoster()
}

// rolledBack is logbook.Log.CheckHead, by what was seen before.
func (r *logRules) rolledBack(h *logHistory, m *logMachine) bool {
	switch {
	case m.seen == nobody:
		return false
	case h.taken&bit(m.seen) == 0, m.below&^h.taken != 0 && r.weak != headAlone && r.weak != breaksForgotten:
		return true
	}
	return !h.basis.covers(m.on) && r.weak != headAlone && r.weak != noBasis
}

// remember is Repo.rememberHead.
func (m *logMachine) remember(h *logHistory) {
	m.seen, m.on, m.below, m.knows = h.head, h.basis, 0, m.knows|h.taken
	for _, b := range h.breaks {
		if b.after != nobody {
			m.below |= bit(b.after)
		}
	}
}

// goBy takes what was read for what a run goes by. What stands above the number to publish under it has passed over, and reads
// once more when it gets there.
func (m *logMachine) goBy(s *logState, h *logHistory) {
	from := max(h.next, h.top)
	m.view, m.held, m.next, m.gaps, m.far = h.view, h.held&(1<<from-1), h.next, h.gaps, h.far
	for id := uint8(1); id <= s.n; id++ {
		if s.entry(id).seq >= from {
			m.view &^= bit(id)
		}
	}
}

// open is Open, and the beginning of a run.
func (r *logRules) open(s logState, i int, out []logState) []logState {
	m := &s.machines[i]
	h := r.read(&s)
	if r.rolledBack(h, m) && !r.accepting(i) {
		return out
	}
	m.remember(h)
	if r.mayAdd(h, r.kind(h, i, m)) {
		m.goBy(&s, h)
		m.step = 'p'
	}
	return append(out, s)
}

// accepting reports whether a machine is an owner's that takes the log as it is.
func (r *logRules) accepting(i int) bool { return i == ownersMachine && r.accepts }

// kind is what a machine does next: an owner who accepts what is broken does that first, as logbook.Log.AcceptDamage.
func (r *logRules) kind(h *logHistory, i int, m *logMachine) byte {
	if r.accepting(i) && len(h.breaks) > 0 {
		return 'a'
	}
	return r.jobs[i][m.done]
}

// publish is a step of Repo.publish.
func (r *logRules) publish(s logState, i int, out []logState) []logState {
	m := &s.machines[i]
	h := r.history(&s, m)
	kind := r.kind(h, i, m)
	switch {
	case !r.mayAdd(h, kind):
		m.step = 'o'
	case kind == 'c':
		r.clean(&s, m, h)
		m.ended(r.jobs[i])
	case kind == 'a' && m.gaps != 0 && r.weak != gapsLeft:
		r.fillFree(&s, m)
	case m.next == logNumbers || s.n == logMade:
		m.step = 0 // no room for more in this model
	case s.slots[m.next] != nobody: // catchUp
		for ; m.next < logNumbers && s.slots[m.next] != nobody; m.next++ {
			m.held |= 1 << m.next
			if id := s.slots[m.next]; id != junk {
				m.view |= bit(id)
			}
		}
	default:
		r.put(&s, i, h, kind)
	}
	return append(out, s)
}

// fillFree is what fillFree does under one number.
func (r *logRules) fillFree(s *logState, m *logMachine) {
	seq := 0
	for m.gaps>>seq&1 == 0 {
		seq++
	}
	if s.slots[seq] == nobody {
		s.slots[seq] = junk
	}
	if m.gaps &^= 1 << seq; m.gaps == 0 {
		m.step = 'r'
	}
}

// again reads the log once more, after what was free below is filled.
func (r *logRules) again(s logState, i int, out []logState) []logState {
	m := &s.machines[i]
	h := r.read(&s)
	m.knows |= h.taken
	m.goBy(&s, h)
	m.step = 'p'
	return append(out, s)
}

// put is the put of an entry that succeeds, and published.
func (r *logRules) put(s *logState, i int, h *logHistory, kind byte) {
	m := &s.machines[i]
	by := byte('h')
	if i == ownersMachine {
		by = 'o'
	}
	e := logEntry{seq: m.next, prev: h.head, prevSeq: s.entry(h.head).seq, on: h.basis, by: by, kind: kind}
	if kind == 'a' {
		copy(e.accepts[:], h.breaks)
	}
	id := s.sign(e)
	s.slots[m.next] = id
	m.view |= bit(id)
	m.held |= 1 << m.next
	m.next++
	s.acked |= bit(id)
	m.remember(r.history(s, m))
	if m.step = 'o'; kind != 'a' {
		m.ended(r.jobs[i])
	}
}

// clean is what a prune removes of log/: survey.listJunk.
func (r *logRules) clean(s *logState, m *logMachine, h *logHistory) {
	for seq, id := range s.slots {
		far := m.far>>seq&1 != 0 && seq > int(h.top+r.jump) // IsOutOfReach
		signed := id != junk && id != nobody && h.listed
		if far && (!signed || r.weak == farRemoved) {
			s.slots[seq] = nobody
			if id != junk && id != nobody {
				s.removed |= bit(id)
			}
		}
	}
}

// ended ends a job.
func (m *logMachine) ended(jobs string) {
	m.done++
	if m.step = 'o'; int(m.done) == len(jobs) {
		m.step = 0
	}
}

// sign makes an entry.
func (s *logState) sign(e logEntry) (id uint8) {
	s.made[s.n] = e
	s.n++
	return s.n
}
