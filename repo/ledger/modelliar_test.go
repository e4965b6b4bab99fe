package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// next appends the states that one step of anybody leads to.
func (r *logRules) next(s logState, out []logState) []logState {
	for i := range s.machines {
		switch {
		case len(r.jobs[i]) == 0:
		case s.machines[i].step == 'o':
			out = r.open(s, i, out)
		case s.machines[i].step == 'r':
			out = r.again(s, i, out)
		case s.machines[i].step == 'p':
			out = r.publish(s, i, out)
		}
	}
	if s.forged < r.forged && s.n < logMade {
		out = r.forge(s, out)
	}
	return r.store(s, out)
}

// forge is the liar: it puts an entry of its own under any free number, behind any entry or one that it makes up, with anything
// that was once true below some entry, or that never was.
func (r *logRules) forge(s logState, out []logState) []logState {
	s.forged++
	tip := r.read(&s)
	bases := []logBasis{tip.basis}
	for i := range s.n {
		bases = distinct(bases, s.made[i].on)
	}
	if r.dropped == 0 {
		bases = append(bases, logBasis{tip.basis.roster, tip.basis.epoch, tip.basis.snapshots + 1})
	}
	for seq, id := range s.slots {
		if id != nobody || seq == 0 {
			continue
		}
		e := logEntry{seq: uint8(seq), prev: madeUp, prevSeq: uint8(seq) - 1, by: 'l'}
		for prev := range s.n + 1 {
			if prev > 0 {
				e.prev, e.prevSeq = prev, s.entry(prev).seq
			}
			if e.prevSeq >= e.seq {
				continue
			}
			for _, e.on = range bases {
				for _, kind := range r.kinds {
					e.kind = byte(kind)
					t := s
					t.slots[seq] = t.sign(e)
					out = append(out, t)
				}
			}
		}
	}
	return out
}

// store is the storage: it drops what it has, puts back what it had, and puts junk.
func (r *logRules) store(s logState, out []logState) []logState {
	for seq := 1; seq < logNumbers; seq++ {
		t := s
		if s.slots[seq] == nobody {
			if s.junked < r.junked {
				t.slots[seq] = junk
				t.junked++
				out = append(out, t)
			}
			continue
		}
		if s.dropped < r.dropped {
			t.slots[seq] = nobody
			t.dropped++
			out = append(out, t)
		}
	}
	for id := uint8(2); id <= s.n && s.dropped > 0; id++ {
		if seq := s.entry(id).seq; s.slots[seq] == nobody {
			t := s
			t.slots[seq] = id
			out = append(out, t)
		}
	}
	return out
}

// start is a log with the first list of keys, on which the liar is.
func (r *logRules) start() (s logState) {
	s.slots[0] = s.sign(logEntry{by: 'o', kind: 'k'})
	s.acked = bit(1)
	for i := range s.machines {
		if len(r.jobs[i]) > 0 {
			s.machines[i].step = 'o'
		}
	}
	return s
}

// String tells what was made and what the storage has.
func (s *logState) String() string {
	var b strings.Builder
	for i, e := range s.made[:s.n] {
		fmt.Fprintf(&b, "%d: %c by %c at %d behind %d on %v; ", i+1, e.kind, e.by, e.seq, e.prev, e.on)
	}
	return fmt.Sprintf("%sstored %v", b.String(), s.slots)
}

// undeceived is what must hold where the storage lies too: whoever adds to a log that he is shown heeds all that honest parties
// have said, as far as he has seen it, or is shown it or something above it.
func (r *logRules) undeceived(s *logState) error {
	h := r.read(s)
	whole := r.mayAdd(h, 's')
	for i := range s.machines {
		m := &s.machines[i]
		if m.seen == nobody || !whole || r.rolledBack(h, m) {
			continue
		}
		if lost := m.knows & s.acked &^ h.taken; lost != 0 {
			return fmt.Errorf("machine %d adds to a log without the entries %b, which it has seen", i, lost)
		}
	}
	accepted := *h
	accepted.breaks = nil
	for id := uint8(1); id <= s.n; id++ {
		if s.acked&h.view&bit(id) == 0 {
			continue
		}
		e := s.entry(id)
		on := e.on.with(e.sets())
		if (whole || r.mayAdd(&accepted, 's')) && (h.roster < on.roster || h.epoch < on.epoch) {
			return fmt.Errorf("a newcomer who is shown entry %d adds by the list of keys of entry %d, the epoch of %d",
				id, h.roster, h.epoch)
		}
		for below := e.prev; whole && below != nobody && below != madeUp; below = s.entry(below).prev {
			if s.acked&^h.taken&bit(below) != 0 {
				return fmt.Errorf("a newcomer who is shown entry %d adds to a log without entry %d", id, below)
			}
		}
	}
	return nil
}

// unharmed is what must hold where the storage is honest: what was committed is there, nobody uses the numbers up, and nothing is
// removed that anybody has seen.
func (r *logRules) unharmed(s *logState) error {
	h := r.read(s)
	if lost := s.acked &^ h.taken; lost != 0 {
		return fmt.Errorf("the entries %b were published, and are passed over", lost)
	}
	objects := 0
	for _, id := range s.slots {
		if id != nobody {
			objects++
		}
	}
	if h.next == logNumbers && objects*int(r.jump+1) < logNumbers {
		return fmt.Errorf("the log has ended with %d objects", objects)
	}
	for i := range s.machines {
		if seen := s.removed & s.machines[i].knows; seen != 0 {
			return fmt.Errorf("the entries %b were removed, which machine %d has seen: to it that is a rollback", seen, i)
		}
	}
	return nil
}

// listStays is what must hold of the list of keys alone: who has seen the liar removed goes by no log on which it is.
func (r *logRules) listStays(s *logState) error {
	h := r.read(s)
	for i := range s.machines {
		m := &s.machines[i]
		for id := uint8(2); id <= s.n; id++ {
			if m.knows&bit(id) != 0 && s.entry(id).kind == 'k' && r.mayAdd(h, 's') && !r.rolledBack(h, m) && h.listed {
				return fmt.Errorf("machine %d has seen the removal, and adds to a log without it", i)
			}
		}
	}
	return nil
}

// A logModel is rules, and what holds under them.
type logModel struct {
	name string
	logRules
	holds func(*logRules, *logState) error
}

func (m *logModel) explore(holds func(*logState) error) (int, *logState, error) {
	return Explore(m.start(), m.next, holds)
}

// storageLog and liarLog are the rules of models in which the storage lies, and in which it is honest.
func storageLog(jobs [3]string, forged uint8, kinds string, dropped, junked uint8) logRules {
	return logRules{jump: 2, jobs: jobs, forged: forged, kinds: kinds, dropped: dropped, junked: junked}
}

func liarLog(jobs [3]string, forged uint8, kinds string) logRules {
	return logRules{jump: 1, jobs: jobs, accepts: true, forged: forged, kinds: kinds}
}

// soundLogs are the models of the protocol as it is.
func soundLogs() []logModel {
	undeceived, unharmed := (*logRules).undeceived, (*logRules).unharmed
	all := []logModel{
		{"a removed writer and the storage", storageLog([3]string{"s", "", "ke"}, 1, "a", 2, 0), undeceived},
		{"a removed writer and the storage, with junk", storageLog([3]string{"s", "", "k"}, 1, "a", 2, 1), undeceived},
		{"a liar on the list", liarLog([3]string{"s", "s", "kc"}, 1, "bs"), unharmed},
		{"a writer that lies twice", liarLog([3]string{"s", "", "c"}, 2, "b"), unharmed},
		{"a removed writer that lies twice, and the storage", storageLog([3]string{"s", "", "k"}, 2, "a", 1, 0), undeceived},
	}
	if testing.Short() {
		return all[:1]
	}
	return all
}

// No state in which anybody is deceived, or harmed, is reached; and of what the storage has in each so many states, the code makes
// what the model makes of it.
func TestModelLog(t *testing.T) {
	code, compared := newCodeLog(t), 0
	for _, m := range soundLogs() {
		n := 0
		states, wrong, err := m.explore(func(s *logState) error {
			if n++; n%401 == 0 {
				compared++
				if err := code.compare(&m.logRules, s); err != nil {
					return err
				}
			}
			return m.holds(&m.logRules, s)
		})
		if err != nil {
			t.Errorf("%s: %v: %v", m.name, err, wrong)
		}
		t.Logf("%s: %d states", m.name, states)
	}
	t.Logf("in %d states, the code reads the same", compared)
}

// The model sees what goes wrong where the protocol is weaker.
func TestModelLogOfWeaker(t *testing.T) {
	undeceived, unharmed := (*logRules).undeceived, (*logRules).unharmed
	storage := storageLog([3]string{"s", "", "ke"}, 1, "a", 2, 0)
	junk := storageLog([3]string{"", "", "k"}, 1, "a", 1, 1)
	liar := liarLog([3]string{"s", "s", "k"}, 1, "b")
	twice := liarLog([3]string{"s", "", "c"}, 2, "b")
	twiceSeen := storageLog([3]string{"ss", "", "k"}, 1, "s", 2, 2)
	for weak, m := range map[logWeakness]logModel{
		anybodyAccepts:  {"anybody accepts damage", storage, undeceived},
		headAlone:       {"anybody accepts damage, and machines remember a hash", storage, (*logRules).listStays},
		noBasis:         {"entries don't say what they build on", storage, undeceived},
		forksPassed:     {"an owner's entry is passed over", junk, undeceived},
		anyJump:         {"entries stand under any number", liar, unharmed},
		gapsLeft:        {"free numbers are left below", liar, unharmed},
		breaksForgotten: {"machines don't remember what stood below a break", twiceSeen, undeceived},
		belowBreaks:     {"entries are added below what is broken", twice, unharmed},
		farRemoved:      {"what is out of reach is removed", twice, unharmed},
	} {
		if weak == breaksForgotten && testing.Short() {
			continue // this takes millions of states
		}
		m.weak = weak
		states, wrong, err := m.explore(func(s *logState) error { return m.holds(&m.logRules, s) })
		if err == nil {
			t.Errorf("%s: nothing goes wrong", m.name)
			continue
		}
		t.Logf("%s: %v, within %d states: %v", m.name, err, states, wrong)
	}
}

// distinct appends x to list unless it is there.
func distinct[T comparable](list []T, x T) []T {
	if slices.Contains(list, x) {
		return list
	}
	return append(list, x)
}
