package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"permafrost/repo"
)

// A policy believes what a writer says of its snapshots: when they were made, and of which night they are. It also takes
// the newest for the best, though the media's disk may not have been mounted that night. So before a policy removes
// anything, the instance's snapshots are looked at for what a sound night seldom is.
//
// What is thought of a snapshot depends on the log up to its entry, and on what a person has confirmed since. It never
// depends on which other snapshots are still listed: the log keeps the sizes of those that were forgotten.
const (
	clockAhead   = time.Hour          // by which a writer's clock may be ahead of the storage's
	longestRun   = 7 * 24 * time.Hour // from a snapshot's beginning to its commit
	datedApart   = 3 * 24 * time.Hour // between the night that a snapshot is of, and when it was made
	floodWindow  = 24 * time.Hour
	floodAllowed = 4       // snapshots in a window, beside three times of what was usual
	bytesFloor   = 1 << 20 // a loss of fewer bytes is none
	filesFloor   = 100     // likewise of files
)

// A Suspicion is why a snapshot may not be what it says.
type Suspicion struct {
	Snapshot repo.SnapshotRef
	Why      string
}

// Judge looks at every instance of which the decisions remove something, or with all at every one. It returns what looks
// wrong, and what the log is told of that once the decisions are carried out.
func Judge(ctx context.Context, r *repo.Repo, decisions []Decision, all bool) ([]Suspicion, repo.Judgement, error) {
	j := repo.Judgement{Through: r.Head().Seq}
	instances := make(map[string]bool)
	for i := range decisions {
		if all || !decisions[i].Keep() {
			instances[decisions[i].Snapshot.Instance] = true
		}
	}
	var doubts []Suspicion
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		found, err := Doubts(ctx, r, instance)
		if err != nil {
			return nil, j, err
		}
		if len(found) == 0 {
			j.Sound = append(j.Sound, instance)
		} else {
			j.Confirmed = append(j.Confirmed, instance)
		}
		doubts = append(doubts, found...)
	}
	return doubts, j, nil
}

// Doubts returns what looks wrong with the snapshots of one instance that are listed and that nobody has confirmed.
func Doubts(ctx context.Context, r *repo.Repo, instance string) ([]Suspicion, error) {
	c := r.Chronicle(instance)
	found := Suspects(&c)
	for _, ref := range c.Snapshots {
		if _, gone := c.Forgotten[ref.ID]; gone || ref.Seq <= c.Judged {
			continue
		}
		m, err := Load(ctx, r, ref)
		switch d := (*repo.DamageError)(nil); {
		case errors.As(err, &d):
			found = append(found, Suspicion{ref, "can't be read: " + err.Error()})
		case err != nil:
			return nil, err
		case !reflect.DeepEqual(m.holding(), ref.Holding):
			found = append(found, Suspicion{ref, "holds other sizes than its log entry says"})
		}
	}
	return found, nil
}

// Suspects returns the listed snapshots of one instance that hold too little, whose dates contradict the storage's
// clock, the log's order or each other, and those that came in a flood.
func Suspects(c *repo.Chronicle) []Suspicion {
	var found []Suspicion
	var newest time.Time // that an honest snapshot below claims
	var largest largest
	for i := range c.Snapshots {
		ref := &c.Snapshots[i]
		why := []string{largest.compare(ref, c)}
		lie := datesLie(ref, newest)
		if ref.Seq > c.Judged {
			lie = cmp.Or(lie, flood(c.Snapshots[:i+1]))
			why = append(why, lie)
		}
		if lie == "" && ref.Time.After(newest) {
			newest = ref.Time
		}
		if _, gone := c.Forgotten[ref.ID]; gone {
			continue
		}
		for _, w := range why {
			if w != "" {
				found = append(found, Suspicion{*ref, w})
			}
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

// largest is the most that the snapshots of an instance have held of each part since a person last confirmed them, the
// newest that was confirmed included. To be compared with the snapshot before alone would not do: each night could
// lose a third, and a few bad nights would make the next one look sound.
//
// Redis is left out: its size is its queues', which come and go. So is what is cached of other servers.
type largest struct{ dump, files, media most }

// most is the most that any snapshot has held of a part, and which.
type most struct {
	n  int64
	in repo.Name
}

// compare returns why a snapshot holds suspiciously little, or "", and takes it into account for those that follow.
func (l *largest) compare(ref *repo.SnapshotRef, c *repo.Chronicle) (why string) {
	if ref.Seq <= c.Confirmed {
		if at, gone := c.Forgotten[ref.ID]; gone && at <= c.Confirmed {
			return "" // a person had it removed, and has not confirmed it
		}
		*l = largest{}
	}
	h := &ref.Holding
	switch {
	case l.dump.lost(h.Postgres.Size, bytesFloor):
		why = fmt.Sprintf("its dump has %d bytes, where snapshot %s has %d", h.Postgres.Size, l.dump.in.Short(), l.dump.n)
	case h.Media.State == repo.External && l.files.n > 0:
		why = fmt.Sprintf("its media are in object storage, where snapshot %s has %d files", l.files.in.Short(), l.files.n)
	case l.files.lost(h.Media.Files, filesFloor):
		why = fmt.Sprintf("it has %d media files, where snapshot %s has %d", h.Media.Files, l.files.in.Short(), l.files.n)
	case l.media.lost(h.Media.Size, bytesFloor):
		why = fmt.Sprintf("its media have %d bytes, where snapshot %s has %d", h.Media.Size, l.media.in.Short(), l.media.n)
	}
	l.dump.raise(h.Postgres.Size, ref.ID)
	l.files.raise(h.Media.Files, ref.ID)
	l.media.raise(h.Media.Size, ref.ID)
	return why
}

// lost reports whether n is less than half of the most, by more than what comes and goes.
func (m *most) lost(n, floor int64) bool {
	return n < m.n/2 && m.n-n > floor || n == 0 && m.n > 0
}

func (m *most) raise(n int64, in repo.Name) {
	if n > m.n {
		*m = most{n, in}
	}
}
