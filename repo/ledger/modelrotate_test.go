package ledger

import (
	"errors"
	"testing"
)

// This is a model of rotations. Two owners' machines rotate the keys and remove somebody from the list of keys; each may die at
// any step, and be run again. What was once wrapped for the one who is removed he has for good: the storage gives it to him. A
// publishing step looks at the log and adds to it at once, as Repo.publish does.

// rotateTries is how often each machine rotates.
const rotateTries = 2

// A rotateEpoch is a set of keys under its number.
type rotateEpoch struct{ number, keys uint8 }

type rotateOwner struct {
	step   byte
	tries  uint8
	roster uint8       // as it was read
	listed bool        // likewise: the other one is on the list
	next   rotateEpoch // that it is about to announce
	saved  rotateEpoch // the newest in its key file that the log has not announced
}

type rotateState struct {
	roster uint8 // which list of keys is in use
	listed bool  // the one who is removed is on it
	epoch  rotateEpoch
	made   uint8 // keys
	given  uint16
	others uint16 // keys that everybody else on the list was given
	owners [2]rotateOwner
	wrong  byte
}

type rotateWeakness int

const (
	rotateSound    rotateWeakness = iota
	rotateResumes                 // a rotation announces the keys that one that died has made
	rotateAnyList                 // the keys are announced whatever the list of keys is by then
	rotateListOnce                // likewise, where the list is looked at when it is published, and not once more
	rotateEarly                   // the keys are announced before they are wrapped
	rotateByNumber                // what is written is under the keys that the key file has of the number in use
	rotateNewest                  // what is written is under the newest keys of the key file
)

var rotateErrors = map[byte]error{
	'g': errors.New("who is not on the list has the keys that come into use"),
	'o': errors.New("who is on the list does not have the keys that come into use"),
	'b': errors.New("who was removed is on the list again"),
	'w': errors.New("something is written under keys that are not in use"),
}

func (w rotateWeakness) next(s rotateState, out []rotateState) []rotateState {
	for i := range s.owners {
		if o := &s.owners[i]; o.step != 'o' { // it has died
			t := s
			t.owners[i].step = 'o'
			out = append(out, t)
		}
		out = w.step(s, i, out)
	}
	return out
}

// step is a step of Rotate or RemovePerson.
func (w rotateWeakness) step(s rotateState, i int, out []rotateState) []rotateState {
	o := &s.owners[i]
	switch o.step {
	case 'o':
		return w.open(s, i, out)
	case 's': // NewEpoch, and save
		w.save(&s, o)
		if o.step = 'w'; w == rotateEarly {
			o.step = 'l'
		}
	case 'w', 'v': // wrapEpoch, one by one
		if o.step == 'w' {
			s.others |= 1 << o.next.keys
			o.step = 'v'
			break
		}
		if o.listed {
			s.given |= 1 << o.next.keys
		}
		if o.step = 'l'; w == rotateEarly {
			o.step = 'o'
		}
	case 'l': // the list, with the objects that were put
		if o.step = 'o'; s.epoch.number >= o.next.number || s.roster != o.roster && w != rotateAnyList {
			break
		}
		if !s.listed && o.listed {
			s.wrong = 'b'
		}
		s.roster++
		s.listed, o.roster, o.step = o.listed, s.roster, 'a'
	case 'a': // the epoch
		if o.step = 'o'; s.epoch.number >= o.next.number || s.roster != o.roster && w != rotateAnyList && w != rotateListOnce {
			break
		}
		s.announce(o.next)
		if w == rotateEarly {
			o.step = 'w'
		}
	}
	return append(out, s)
}

// open is Open, what is written then, and the beginning of a command.
func (w rotateWeakness) open(s rotateState, i int, out []rotateState) []rotateState {
	o := &s.owners[i]
	if w != rotateByNumber && w != rotateNewest && o.saved.number <= s.epoch.number {
		o.saved = rotateEpoch{} // adoptEpoch: it gives way to what another has announced
	}
	switch {
	case w == rotateByNumber && o.saved.number == s.epoch.number, w == rotateNewest && o.saved.number >= s.epoch.number:
		if o.saved.keys != s.epoch.keys {
			s.wrong = 'w'
		}
	}
	o.roster, o.listed = s.roster, s.listed
	if s.listed { // RemovePerson
		t := s
		t.roster++
		t.listed = false
		out = append(out, t)
	}
	if o.tries < rotateTries {
		o.tries++
		o.step = 's'
	}
	return append(out, s)
}

// save makes the keys of a rotation and puts them into the key file.
func (w rotateWeakness) save(s *rotateState, o *rotateOwner) {
	if w == rotateResumes && o.saved.number == s.epoch.number+1 {
		o.next = o.saved
		return
	}
	s.made++
	o.next = rotateEpoch{max(o.saved.number, s.epoch.number) + 1, s.made}
	o.saved = o.next
}

// announce brings keys into use.
func (s *rotateState) announce(e rotateEpoch) {
	s.epoch = e
	switch {
	case !s.listed && s.given>>e.keys&1 != 0:
		s.wrong = 'g'
	case s.others>>e.keys&1 == 0:
		s.wrong = 'o'
	}
}

// Whoever is on the list when keys come into use has them, and nobody else; the model sees what goes wrong where the protocol is
// weaker.
func TestModelRotate(t *testing.T) {
	start := rotateState{listed: true, epoch: rotateEpoch{1, 0}, given: 1, others: 1}
	start.owners[0].step, start.owners[1].step = 'o', 'o'
	holds := func(s *rotateState) error { return rotateErrors[s.wrong] }
	if states, wrong, err := Explore(start, rotateSound.next, holds); err != nil {
		t.Errorf("%v: %+v", err, wrong)
	} else {
		t.Logf("%d states", states)
	}
	for weak, want := range map[rotateWeakness]byte{
		rotateResumes: 'g', rotateAnyList: 'b', rotateListOnce: 'g', rotateEarly: 'o', rotateByNumber: 'w', rotateNewest: 'w',
	} {
		states, _, err := Explore(start, weak.next, holds)
		if err != rotateErrors[want] {
			t.Errorf("weakness %d: %v", weak, err)
		}
		t.Logf("weakness %d: %v, within %d states", weak, err, states)
	}
}
