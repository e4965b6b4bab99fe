package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// A codeLog makes of the entries of a model those that the code reads.
type codeLog struct {
	t    *testing.T
	by   map[byte]*keys.Keyring
	made map[codeEntry]OpenedEntry
}

// A codeEntry is all that an entry goes by.
type codeEntry struct {
	logEntry
	id      uint8
	prev    Head
	accepts [2]Break
}

// real returns an entry as its signer would have made it.
func (c *codeLog) real(s *logState, id uint8) OpenedEntry {
	key := codeEntry{logEntry: *s.entry(id), id: id}
	key.prev = c.head(s, key.prevSeq, key.logEntry.prev)
	for i, b := range key.logEntry.accepts {
		if b.at != nobody {
			key.accepts[i] = Break{c.head(s, s.entry(b.after).seq, b.after), c.head(s, s.entry(b.at).seq, b.at)}
		}
	}
	o, ok := c.made[key]
	if !ok {
		o = sealed(c.t, c.by[key.by], c.entry(&key))
		c.made[key] = o
	}
	return o
}

// head returns what entries say that they continue from, or accept.
func (c *codeLog) head(s *logState, seq, id uint8) Head {
	switch id {
	case nobody:
		return Head{}
	case madeUp:
		return Head{uint64(seq), store.Name{0xff}}
	}
	return Head{uint64(seq), c.real(s, id).Hash}
}

// entry makes an entry.
func (c *codeLog) entry(k *codeEntry) *Entry {
	e := &Entry{Seq: uint64(k.seq), Time: time.Unix(int64(k.id), 0).UTC()}
	e.On = Basis{uint64(k.on.roster), uint64(k.on.epoch), uint64(k.on.snapshots)}
	if k.seq > 0 {
		e.Prev = &k.prev
	}
	people := []Person{PersonOf(c.by['o'], nil), PersonOf(c.by['h'], nil), PersonOf(c.by['l'], nil)}
	switch k.kind {
	case 'k':
		e.Roster = &RosterEntry{people[:3-min(1, k.seq)]}
	case 'e':
		e.Epoch = &EpochEntry{Number: uint32(k.seq) + 1}
	case 's':
		e.Snapshot = &SnapshotEntry{Manifest: store.Name{k.id}, SnapshotInfo: SnapshotInfo{Instance: "social.example"}}
	case 'b':
		e.Damage = &DamageEntry{[]store.Name{{1}}}
	case 'a':
		e.Accept = &AcceptEntry{k.accepts[:]}
	}
	return e
}

// compare returns an error where the code makes something else of a stored log than the model's reader.
func (c *codeLog) compare(r *logRules, s *logState) error {
	m, h := r.read(s), New(c.by['o'])
	for seq, id := range s.slots {
		switch {
		case m.held>>seq&1 == 0:
		case id == junk:
			h.Take(uint64(seq), OpenedEntry{Hash: fillerHash})
		default:
			h.Take(uint64(seq), c.real(s, id))
		}
	}
	taken := []uint64{}
	for id := uint8(1); id <= s.n; id++ {
		if m.taken&bit(id) != 0 {
			taken = append(taken, uint64(s.entry(id).seq))
		}
	}
	slices.Sort(taken)
	gaps := uint8(0)
	for _, g := range h.Gaps {
		for seq := g.From; seq < g.To && g.From < h.Top; seq++ {
			gaps |= 1 << seq
		}
	}
	basis := logBasis{uint8(h.Basis.Roster), uint8(h.Basis.Epoch), uint8(h.Basis.Snapshots)}
	differ := func(e *Entry, kind byte) bool { return (h.MayAdd(e) == nil) != r.mayAdd(m, kind) }
	code := slices.Sorted(maps.Keys(h.Hashes))
	switch {
	case !slices.Equal(taken, code) || h.Head.Seq != uint64(s.entry(m.head).seq):
		return fmt.Errorf("the code takes %v, up to %d", code, h.Head.Seq)
	case basis != m.basis || h.Roster.Seq != uint64(m.roster) || h.Epochs.seq != uint64(m.epoch):
		return fmt.Errorf("the code builds on %v, by %d and %d", h.Basis, h.Roster.Seq, h.Epochs.seq)
	case h.Roster.Known(c.by['l'].VerifyKey()) != m.listed:
		return errors.New("the code has another list of keys")
	case len(h.Breaks) != len(m.breaks) || h.Top != uint64(m.top) || gaps != m.gaps:
		return fmt.Errorf("the code finds %d breaks and the free numbers %b, and goes on behind %d", len(h.Breaks), gaps, h.Top)
	case differ(&Entry{Snapshot: new(SnapshotEntry)}, 's'), differ(&Entry{Roster: new(RosterEntry)}, 'k'),
		differ(&Entry{Epoch: new(EpochEntry)}, 'e'):
		return fmt.Errorf("the code may add something else: %v", h.Damage())
	}
	return nil
}

// newCodeLog returns one with keys.
func newCodeLog(t *testing.T) *codeLog {
	owner := storedKeys(t, "recovery.txt")
	c := &codeLog{t: t, by: map[byte]*keys.Keyring{'o': owner}, made: make(map[codeEntry]OpenedEntry)}
	for _, name := range []string{"host", "liar"} {
		k, err := owner.NewWriter(name)
		if err != nil {
			t.Fatal(err)
		}
		c.by[name[0]] = k
	}
	return c
}
