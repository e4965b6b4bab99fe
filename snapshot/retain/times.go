package retain

import (
	"fmt"
	"slices"
	"time"

	"permafrost/repo/ledger"
)

// What a snapshot says of when it was made is its writer's word, and retention goes by it. Three things tell whether it can be:
// when its log entry came by the storage's clock, the order of the log, and the date that the operator gave the night.
const (
	// clockApart is how far the clocks of a host and of the storage may lie apart. A host that takes local time for UTC is up
	// to 14 hours off. A lie of a day wins one date, and no more.
	clockApart = 24 * time.Hour

	// longestRun is from a snapshot's beginning to its commit. A terabyte takes nine days at 10 Mbit/s: that is a first
	// snapshot, to which this does not apply.
	longestRun = 7 * 24 * time.Hour

	// datedApart is how far the night that a snapshot is of may lie from when it was made: a run at the weekend for the
	// Thursday before.
	datedApart = 3 * 24 * time.Hour

	// burstGap is the longest that the next entry of a copied repository takes to come: an entry has some kilobytes.
	burstGap = time.Hour

	// clockNights is of how many nights the storage's clock is known by, and clockSteady of how many it must have been off by
	// the same before anybody is told.
	clockNights, clockSteady = 15, 3
	clockTold                = time.Hour // off by less than this is nobody's concern
)

// times judges the times of an instance's snapshots in the order of the log.
type times struct {
	log    *ledger.Chronicle
	burst  []bool    // came together with those of other nights: a copied repository
	newest time.Time // that a snapshot without doubt claims
	clock  clock
}

func newTimes(c *ledger.Chronicle) *times {
	t := &times{log: c, burst: bursts(c.Snapshots)}
	if !c.First.Logged.IsZero() {
		t.clock.note(c.First)
	}
	return t
}

// judge returns why the times of snapshot i can't be, or "".
func (t *times) judge(i int, confirmed bool) (why string) {
	ref := &t.log.Snapshots[i]
	if ref.Seq <= t.log.Through {
		why = t.log.Doubts[ref.ID]
	} else {
		why = t.lie(i)
	}
	if (why == "" || confirmed) && ref.Time.After(t.newest) {
		t.newest = ref.Time
	}
	if !ref.Logged.IsZero() {
		t.clock.note(moment(ref))
	}
	return why
}

func (t *times) lie(i int) string {
	ref := &t.log.Snapshots[i]
	if night, err := time.Parse(time.DateOnly, ref.Date); err == nil && night.Sub(civilDate(ref.Time.UTC())).Abs() > datedApart {
		return fmt.Sprintf("it is dated %s, but was made on %s", ref.Date, ref.Time.UTC().Format(time.DateOnly))
	}
	inOrder := t.newest.Sub(ref.Time) <= longestRun
	if !ref.Logged.IsZero() {
		switch t.against(i) {
		case proven:
			return ""
		case early:
			return fmt.Sprintf("it says it was made at %s, after it came to the storage at %s", stamp(ref.Time), stamp(ref.Logged))
		case late:
			if !t.burst[i] && !ref.Time.Before(t.log.First.Logged) || !inOrder {
				return fmt.Sprintf("it says it was made at %s, but came to the storage at %s", stamp(ref.Time), stamp(ref.Logged))
			}
			return ""
		}
	}
	if !inOrder {
		return fmt.Sprintf("it says it was made at %s, but came after one of %s", stamp(ref.Time), stamp(t.newest))
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// What the storage's clock says of a snapshot's time.
type proof int

const (
	proven proof = iota
	early        // it came before it can have been made
	late         // it came long after
)

// against compares a snapshot's time with when it came: by the storage's clock as it stands, and as it has been off for days.
func (t *times) against(i int) proof {
	ref := &t.log.Snapshots[i]
	p := fits(ref, 0, i == 0)
	if p != proven {
		if off, known := t.clock.off(); known && fits(ref, off, i == 0) == proven {
			return proven
		}
	}
	return p
}

// fits is against for a storage's clock that is ahead by off.
func fits(ref *ledger.SnapshotRef, off time.Duration, first bool) proof {
	came := ref.Logged.Add(-off)
	switch {
	case ref.Time.Sub(came) > clockApart:
		return early
	case came.Sub(ref.Time) > longestRun && !(first && came.Sub(moment(ref).Signed) <= clockApart):
		return late
	}
	return proven
}

// moment is when a snapshot's entry was made and came.
func moment(ref *ledger.SnapshotRef) ledger.Moment {
	m := ledger.Moment{Signed: ref.Signed, Logged: ref.Logged}
	if m.Signed.IsZero() {
		m.Signed = ref.Time
	}
	return m
}

// bursts finds snapshots that came to the storage together with those before them, long after they say that they were made, and
// were made on several nights: somebody has copied what was new in the repository. That they came late proves nothing then.
func bursts(refs []ledger.SnapshotRef) []bool {
	in := make([]bool, len(refs))
	old := func(i int) bool {
		return !refs[i].Logged.IsZero() && refs[i].Logged.Sub(moment(&refs[i]).Signed) > clockApart
	}
	first := 0
	for i := range refs {
		if i == 0 || !old(i) || !old(i-1) || refs[i].Logged.Sub(refs[i-1].Logged).Abs() > burstGap {
			first = i
		}
		made := moment(&refs[i]).Signed.Sub(moment(&refs[first]).Signed).Abs()
		came := refs[i].Logged.Sub(refs[first].Logged).Abs()
		in[i] = made > came+clockApart/2
	}
	return in
}

// A clock is what is known of how far the storage's clock is ahead, each day counting once: a writer that lies needs days to
// move it.
type clock struct {
	day  int64
	seen []time.Duration // of the last days
}

// note takes a log entry into account.
func (c *clock) note(m ledger.Moment) {
	day := m.Logged.Unix() / (24 * 60 * 60)
	if len(c.seen) > 0 && day == c.day {
		return
	}
	c.day = day
	if c.seen = append(c.seen, m.Logged.Sub(m.Signed)); len(c.seen) > clockNights {
		c.seen = c.seen[1:]
	}
}

// off returns by how much the storage's clock is ahead.
func (c *clock) off() (ahead time.Duration, known bool) {
	if len(c.seen) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(c.seen))
	return sorted[len(sorted)/2], true
}

// steady returns by how much the storage's clock has been ahead for days, in full minutes; 0 where that is nobody's concern.
func (c *clock) steady() time.Duration {
	off, _ := c.off()
	same := 0
	for _, seen := range c.seen {
		if (seen - off).Abs() <= clockTold {
			same++
		}
	}
	if same < clockSteady || off.Abs() <= clockTold {
		return 0
	}
	return off.Round(time.Minute)
}

// told says how far the storage's clock is off, and whether that is not what was said before.
func (c *clock) told(before time.Duration) (text string, news bool) {
	off := c.steady()
	if off == 0 || (off-before).Abs() <= clockTold {
		return "", false
	}
	if off < 0 {
		return fmt.Sprintf("%v behind", -off), true
	}
	return fmt.Sprintf("%v ahead", off), true
}
