package ledger

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// These tests go over every short log, every set of its entries that a storage leaves out, and every entry that a removed
// writer can put behind or between those that are left: with the code that reads logs, and with weaker readers.

// A lossLog is a log as it was made, and as machines have seen it.
type lossLog struct {
	t       *testing.T
	owner   *keys.Keyring
	host    *keys.Keyring
	gone    *keys.Keyring
	stored  []OpenedEntry // by number
	kinds   string
	seen    Remembered
	removed bool
}

// newLossLog makes a log of these kinds behind the first list of keys, which has gone on it: 'r' removes gone, 'e' rotates, 's'
// is a snapshot by the host.
func newLossLog(t *testing.T, owner, host, gone *keys.Keyring, kinds string) *lossLog {
	l := &lossLog{t: t, owner: owner, host: host, gone: gone, kinds: kinds}
	h := New(owner)
	people := []Person{PersonOf(owner, nil), PersonOf(host, nil), PersonOf(gone, nil)}
	people[1].Instance, people[2].Instance, people[2].MayForget = "social.example", "social.example", true
	l.add(h, owner, &Entry{Roster: &RosterEntry{people}})
	for i, kind := range kinds {
		switch kind {
		case 'r':
			l.add(h, owner, &Entry{Roster: &RosterEntry{people[:2]}})
			l.removed = true
		case 'e':
			l.add(h, owner, &Entry{Epoch: &EpochEntry{Number: max(1, h.Epochs.Newest) + 1}})
		case 's':
			l.add(h, host, &Entry{Snapshot: &SnapshotEntry{Manifest: store.Name{byte(i + 1)}, SnapshotInfo: SnapshotInfo{Instance: "social.example"}}})
		}
	}
	if len(h.Problems()) > 0 || len(h.Requests) > 0 {
		t.Fatalf("%s: %v, %v", kinds, h.Problems(), h.Requests)
	}
	l.seen = h.Remember()
	return l
}

// add appends an entry as an honest signer makes it.
func (l *lossLog) add(h *History, by *keys.Keyring, e *Entry) {
	e.Seq, e.On = h.Next, h.Basis
	if !h.Empty {
		head := h.Head
		e.Prev = &head
	}
	o := sealed(l.t, by, e)
	h.Take(e.Seq, o)
	l.stored = append(l.stored, o)
}

func sealed(t *testing.T, by *keys.Keyring, e *Entry) OpenedEntry {
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return OpenedEntry{Hash: store.NameOf(append(body, by.VerifyKey()...)), Signer: by.VerifyKey(), body: body}
}

// A shownEntry is one that a storage shows under a number.
type shownEntry struct {
	seq uint64
	OpenedEntry
}

// without returns what is left of the log where those are left out whose bits are set in a mask. The first never is: without
// it nobody opens the repository.
func (l *lossLog) without(mask int) (left []shownEntry) {
	for seq, o := range l.stored {
		if seq == 0 || mask>>(seq-1)&1 == 0 {
			left = append(left, shownEntry{uint64(seq), o})
		}
	}
	return left
}

// forgeries returns what the removed writer can put among what is left: under each free number, behind each entry that there
// ever was or one that he makes up, with what was once true below some entry, and an acceptance of each break.
func (l *lossLog) forgeries(left []shownEntry) (all []shownEntry) {
	accept := new(AcceptEntry)
	for _, a := range l.stored {
		for _, b := range l.stored {
			accept.Breaks = append(accept.Breaks, Break{Head{l.number(a), a.Hash}, Head{l.number(b), b.Hash}})
		}
	}
	for seq := uint64(1); seq <= uint64(len(l.stored)); seq++ {
		if slices.ContainsFunc(left, func(s shownEntry) bool { return s.seq == seq }) {
			continue
		}
		for below := range seq {
			for _, prev := range []Head{{below, l.stored[below].Hash}, {below, store.Name{0xff}}} {
				for _, on := range l.bases() {
					all = append(all, shownEntry{seq, sealed(l.t, l.gone, &Entry{Seq: seq, Prev: &prev, On: on, Accept: accept})})
				}
			}
		}
	}
	return all
}

func (l *lossLog) number(o OpenedEntry) uint64 {
	return uint64(slices.IndexFunc(l.stored, func(s OpenedEntry) bool { return s.Hash == o.Hash }))
}

// bases returns what the log had said below each of its entries, and at its end.
func (l *lossLog) bases() []Basis {
	all := []Basis{l.seen.Basis}
	for _, o := range l.stored {
		e, err := parseEntry(o.body)
		if err != nil {
			l.t.Fatal(err)
		}
		if !slices.Contains(all, e.On) {
			all = append(all, e.On)
		}
	}
	return all
}

// A viewer is who is shown a log.
type viewer int

const (
	seenIt    viewer = iota // has seen the log as it was
	newcomer                // has not
	accepting               // has not, and an owner who has not either accepts what is broken
)

// A lossReader judges what is shown. It returns the state that it goes on from, and an error where nothing is added to that.
type lossReader func(l *lossLog, who viewer, shown []shownEntry) (*History, error)

// readLosses is the reader that there is: what opens a log, and adds to it.
func readLosses(l *lossLog, who viewer, shown []shownEntry) (*History, error) {
	h := New(l.owner)
	for _, s := range shown {
		h.Take(s.seq, s.OpenedEntry)
	}
	if who == seenIt && (h.Hashes[l.seen.Seq] != l.seen.Hash || !h.Basis.covers(l.seen.Basis)) {
		return h, &RollbackError{Remembered: l.seen.Head, Found: h.Head}
	}
	if who == accepting && len(h.Breaks) > 0 {
		l.accept(h)
	}
	return h, h.MayAdd(&Entry{Snapshot: new(SnapshotEntry)})
}

// accept has the owner accept all that is broken.
func (l *lossLog) accept(h *History) {
	e := &Entry{Seq: h.Next, Prev: &Head{h.Head.Seq, h.Head.Hash}, On: h.Basis, Accept: new(AcceptEntry)}
	for _, b := range h.Breaks {
		e.Accept.Breaks = append(e.Accept.Breaks, b.Break)
	}
	h.Take(e.Seq, sealed(l.t, l.owner, e))
	if len(h.Breaks) > 0 {
		l.t.Fatalf("an owner can't accept %v", h.Breaks)
	}
}

// heeds reports whether a reader that adds to h does so knowing all that those who wrote the log knew.
func (l *lossLog) heeds(h *History, who viewer) error {
	full := New(l.owner)
	for seq, o := range l.stored {
		full.Take(uint64(seq), o)
	}
	switch {
	case h.Roster.Seq < full.Roster.Seq:
		return fmt.Errorf("the list of keys is that of entry %d, and was that of %d", h.Roster.Seq, full.Roster.Seq)
	case h.Epochs.Newest < full.Epochs.Newest:
		return fmt.Errorf("the epoch is %d, and was %d", h.Epochs.Newest, full.Epochs.Newest)
	case len(h.Snapshots.All) < len(full.Snapshots.All) && who != accepting:
		return fmt.Errorf("there are %d snapshots, and were %d", len(h.Snapshots.All), len(full.Snapshots.All))
	}
	return nil
}

// tryLosses shows views of logs to a reader until one deceives it: to a machine that has seen the log, and to one that has not
// and is shown the newest entry. It returns how many it has shown.
func tryLosses(t *testing.T, read lossReader) (tried int, deceived error) {
	owner := storedKeys(t, "recovery.txt")
	host, err := owner.NewWriter("host")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := owner.NewWriter("gone")
	if err != nil {
		t.Fatal(err)
	}
	try := func(l *lossLog, mask int, shown []shownEntry) {
		for who := range accepting + 1 {
			if last := len(l.stored) - 1; who != seenIt && mask>>(last-1)&1 != 0 {
				continue // nobody can know what was cut off who has not seen it
			}
			tried++
			h, err := read(l, who, shown)
			if err == nil {
				err = l.heeds(h, who)
				if err != nil {
					deceived = fmt.Errorf("log %q, without the entries %b, shown to %d: %w", l.kinds, mask<<1, who, err)
				}
			} else if mask == 0 && len(shown) == len(l.stored) {
				t.Errorf("the whole log %q: %v", l.kinds, err)
			}
		}
	}
	for _, kinds := range words("res", 3) {
		l := newLossLog(t, owner, host, gone, kinds)
		for mask := range 1 << len(kinds) {
			left := l.without(mask)
			try(l, mask, left)
			if !l.removed {
				continue
			}
			for _, f := range l.forgeries(left) {
				if deceived != nil {
					return tried, deceived
				}
				shown := append(slices.Clone(left), f)
				slices.SortFunc(shown, func(a, b shownEntry) int { return int(a.seq) - int(b.seq) })
				try(l, mask, shown)
			}
		}
	}
	return tried, deceived
}

// words returns every word of 1 to n of some letters.
func words(letters string, n int) (all []string) {
	last := []string{""}
	for range n {
		var longer []string
		for _, w := range last {
			for _, c := range letters {
				longer = append(longer, w+string(c))
			}
		}
		all, last = append(all, longer...), longer
	}
	return all
}

// Whatever a storage leaves out, and a removed writer signs, nobody who has seen the log or is shown its end adds to it as if
// that was right.
func TestEveryLossIsNoticed(t *testing.T) {
	tried, deceived := tryLosses(t, readLosses)
	if deceived != nil {
		t.Error(deceived)
	}
	t.Logf("%d views of logs", tried)
}

// Weaker readers are deceived.
func TestLossesOfWeaker(t *testing.T) {
	for name, read := range map[string]lossReader{
		"obeys anybody's acceptance": func(l *lossLog, who viewer, shown []shownEntry) (*History, error) {
			h := New(l.owner)
			for _, s := range shown {
				h.Take(s.seq, s.OpenedEntry)
				if e, err := parseEntry(s.body); err == nil && e.Accept != nil && h.Head.Seq == s.seq {
					h.Breaks, h.Basis = nil, Basis{h.Roster.Seq, h.Epochs.seq, uint64(len(h.Snapshots.All))}
				}
			}
			if who == seenIt && h.Hashes[l.seen.Seq] != l.seen.Hash {
				return h, &RollbackError{}
			}
			return h, h.MayAdd(&Entry{Snapshot: new(SnapshotEntry)})
		},
		"does not remember": func(l *lossLog, _ viewer, shown []shownEntry) (*History, error) {
			return readLosses(l, newcomer, shown)
		},
		"is not told what entries build on": func(l *lossLog, who viewer, shown []shownEntry) (*History, error) {
			h, err := readLosses(l, who, shown)
			if len(h.Breaks) > 0 || who == seenIt {
				return h, err
			}
			return h, nil
		},
		"passes forks over": func(l *lossLog, who viewer, shown []shownEntry) (*History, error) {
			h, err := readLosses(l, who, shown)
			if who == newcomer && len(h.Breaks) > 0 && !slices.ContainsFunc(h.Breaks, func(b OpenBreak) bool { return h.Hashes[b.At.Seq] == b.At.Hash }) {
				return h, nil
			}
			return h, err
		},
	} {
		if tried, deceived := tryLosses(t, read); deceived == nil {
			t.Errorf("one who %s is deceived by none of %d views", name, tried)
		} else {
			t.Logf("one who %s: %v", name, deceived)
		}
	}
}
