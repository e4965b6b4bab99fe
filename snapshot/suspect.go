package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"permafrost/repo"
)

// A policy believes what a writer says of its snapshots: when they were made, and of which night they are. Whoever has
// taken a host over could make it remove the good ones, by bad ones that seem newer or are many. So before a policy
// removes anything the snapshots that came since the last time are looked at for what an honest host seldom does.
const (
	clockAhead   = time.Hour          // by which a writer's clock may be ahead of the storage's
	longestRun   = 7 * 24 * time.Hour // from a snapshot's beginning to its commit
	datedApart   = 3 * 24 * time.Hour // between the night that a snapshot is of, and when it was made
	floodWindow  = 24 * time.Hour
	floodAllowed = 4 // snapshots in a window, beside three times of what was usual
	shrinkFloor  = 1 << 20
)

// A Suspicion is why a snapshot may not be what it says.
type Suspicion struct {
	Snapshot repo.SnapshotRef
	Why      string
}

// Suspects looks at the snapshots of one instance that stand in the log above the entry since, and returns those whose
// dates contradict the storage's clock, the log's order or each other, and those that came in a flood.
func Suspects(refs []repo.SnapshotRef, since uint64) []Suspicion {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b repo.SnapshotRef) int { return cmp.Compare(a.Seq, b.Seq) })
	var found []Suspicion
	var newest time.Time // that an honest snapshot below claims
	for i := range refs {
		why := cmp.Or(datesLie(&refs[i], newest), flood(refs[:i+1]))
		if why == "" && refs[i].Time.After(newest) {
			newest = refs[i].Time
		}
		if why != "" && refs[i].Seq > since {
			found = append(found, Suspicion{refs[i], why})
		}
	}
	return found
}

// datesLie returns what is wrong with a snapshot's dates, or "".
func datesLie(r *repo.SnapshotRef, newest time.Time) string {
	night, err := time.Parse(time.DateOnly, r.Date)
	switch {
	case !r.Logged.IsZero() && r.Time.Sub(r.Logged) > clockAhead:
		return fmt.Sprintf("says it was made at %s, after it came to the storage at %s", stamp(r.Time), stamp(r.Logged))
	case !r.Logged.IsZero() && r.Logged.Sub(r.Time) > longestRun:
		return fmt.Sprintf("says it was made at %s, but came to the storage at %s", stamp(r.Time), stamp(r.Logged))
	case newest.Sub(r.Time) > longestRun:
		return fmt.Sprintf("says it was made at %s, but came after one of %s", stamp(r.Time), stamp(newest))
	case err == nil && night.Sub(civilDate(r.Time)).Abs() > datedApart:
		return fmt.Sprintf("is dated %s, but was made on %s", r.Date, r.Time.Format(time.DateOnly))
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// flood returns why the last of refs is one of too many in a day, or "". What is usual is seen from the days before: an
// instance's first day may be one of trials.
func flood(refs []repo.SnapshotRef) string {
	end := came(&refs[len(refs)-1])
	first := len(refs) - 1 // of the last window
	for first > 0 && end.Sub(came(&refs[first-1])) < floodWindow {
		first--
	}
	if first == 0 {
		return ""
	}
	usual, from := 0, 0
	for i := range first {
		for came(&refs[i]).Sub(came(&refs[from])) >= floodWindow {
			from++
		}
		usual = max(usual, i-from+1)
	}
	if n := len(refs) - first; n > floodAllowed+3*usual {
		return fmt.Sprintf("is one of %d within a day, where %d were usual", n, usual)
	}
	return ""
}

// came is when a snapshot came to the storage, as far as that is known.
func came(r *repo.SnapshotRef) time.Time {
	if r.Logged.IsZero() {
		return r.Time
	}
	return r.Logged
}

// Shrunk returns why a snapshot holds suspiciously little beside the one before it, or "". Redis is left out: its size
// is its queues', which come and go.
func Shrunk(before, after *Manifest) string {
	for _, c := range []struct {
		name          string
		before, after int64
	}{
		{"the dump", before.Postgres.Size, after.Postgres.Size},
		{"the media", before.Media.Size, after.Media.Size},
	} {
		external := c.name == "the media" && after.Media.State == External
		if !external && c.after < c.before/2 && c.before-c.after > shrinkFloor {
			return fmt.Sprintf("%s has %d bytes, in the snapshot before it has %d", c.name, c.after, c.before)
		}
	}
	return ""
}
