package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"permafrost/internal/hint"
	"permafrost/repo"
)

// Unlimited as a number in a Policy keeps one snapshot of every period, however long ago.
const Unlimited = -1

// A Policy says which snapshots are kept when old ones are forgotten. Each instance is judged by itself, and
// a snapshot stays where any of the rules keeps it.
//
// Hours are told from a snapshot's Time, as a clock of the given time zone showed it: the hour that an autumn
// night repeats counts as two. Days, ISO weeks, months and years are told from its Date, the night as the
// operator names it, so that a run that began at 00:10 stays with the night that it belongs to; a Date that
// is none is taken from Time. Of each period the newest snapshot is kept.
//
// A snapshot with files left out never pushes out a whole one: where the newest of a period is partial, the
// newest complete one of that period is kept too, and the instance's newest complete snapshot stays for as
// long as a later partial one does.
//
// A snapshot that is dated more than a day in the future is kept and counts for nothing: it tells of a wrong
// clock, and must not push out the true ones.
type Policy struct {
	Last    int // newest snapshots
	Hourly  int // hours, of which the newest snapshot is kept; likewise below
	Daily   int
	Weekly  int
	Monthly int
	Yearly  int

	Within Span       // everything so much older than the instance's newest snapshot, or less
	Tags   [][]string // what bears all the tags of any one of these lists

	AllowRemoveAll bool // lets the policy remove every snapshot of an instance
}

// A Decision says what a Policy makes of one snapshot.
type Decision struct {
	Snapshot repo.SnapshotRef
	Reasons  []string // what keeps it ("daily 3 of 7: 2026-06-27"); none: it is to be removed
}

// Keep reports whether the snapshot stays.
func (d *Decision) Keep() bool { return len(d.Reasons) > 0 }

// Empty reports whether the policy keeps nothing at all.
func (p *Policy) Empty() bool {
	for _, tags := range p.Tags {
		if len(tags) > 0 {
			return false
		}
	}
	return p.Last == 0 && p.Hourly == 0 && p.Daily == 0 && p.Weekly == 0 && p.Monthly == 0 && p.Yearly == 0 && p.Within.IsZero()
}

// Apply judges snapshots and returns the decisions in the order of refs. Time zone is now's location. The
// order of refs does not matter, and what one Apply keeps the next one keeps.
//
// It fails where the policy keeps nothing, and where it would remove every snapshot of an instance.
func (p *Policy) Apply(refs []repo.SnapshotRef, now time.Time) ([]Decision, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	decisions := make([]Decision, len(refs))
	instances := make(map[string][]*candidate)
	for i, ref := range refs {
		decisions[i].Snapshot = ref
		c := newCandidate(&decisions[i], now.Location())
		instances[ref.Instance] = append(instances[ref.Instance], c)
	}
	for _, name := range slices.Sorted(maps.Keys(instances)) {
		group := instances[name]
		p.judge(group, now)
		if !p.AllowRemoveAll && !slices.ContainsFunc(group, func(c *candidate) bool { return c.Keep() }) {
			return nil, hint.Wrap(fmt.Errorf("the policy would remove every snapshot of %s", name),
				"keep at least the newest with --keep-last 1; if all are to go, say --allow-remove-all")
		}
	}
	return decisions, nil
}

func (p *Policy) validate() error {
	if p.Empty() {
		return hint.Wrap(errors.New("the policy keeps nothing"),
			"say what to keep, for example --keep-daily 7 --keep-weekly 4 --keep-monthly 12")
	}
	for _, n := range []int{p.Last, p.Hourly, p.Daily, p.Weekly, p.Monthly, p.Yearly} {
		if n < Unlimited {
			return fmt.Errorf("a policy can't keep %d snapshots: give a number, or %d for all", n, Unlimited)
		}
	}
	return nil
}

// A candidate is a snapshot about to be judged.
type candidate struct {
	*Decision
	time time.Time // in the policy's time zone
	date time.Time // civil date at midnight UTC
}

func newCandidate(d *Decision, zone *time.Location) *candidate {
	c := &candidate{Decision: d, time: d.Snapshot.Time.In(zone)}
	date, err := time.Parse(time.DateOnly, d.Snapshot.Date)
	if err != nil {
		date = civilDate(c.time)
	}
	c.date = date
	return c
}

// civilDate returns midnight UTC of the day that t shows in its own zone.
func civilDate(t time.Time) time.Time {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

func (c *candidate) keep(format string, args ...any) {
	c.Reasons = append(c.Reasons, fmt.Sprintf(format, args...))
}

func (c *candidate) complete() bool { return c.Snapshot.Partial == 0 }

// judge gives the snapshots of one instance their reasons.
func (p *Policy) judge(group []*candidate, now time.Time) {
	lastTime, lastDate := now.Add(24*time.Hour), civilDate(now).AddDate(0, 0, 1)
	var byTime []*candidate
	for _, c := range group {
		if c.time.After(lastTime) || c.date.After(lastDate) {
			c.keep("dated in the future")
			continue
		}
		byTime = append(byTime, c)
	}
	slices.SortFunc(byTime, func(a, b *candidate) int { return -compareAge(&a.Snapshot, &b.Snapshot) })
	byDate := slices.Clone(byTime)
	slices.SortStableFunc(byDate, func(a, b *candidate) int { return b.date.Compare(a.date) })

	keepLast(byTime, p.Last)
	keepWithin(byTime, p.Within)
	keepPeriods(byTime, "hourly", p.Hourly, func(c *candidate) string { return c.time.Format("2006-01-02 15:00 -0700") })
	keepPeriods(byDate, "daily", p.Daily, func(c *candidate) string { return c.date.Format(time.DateOnly) })
	keepPeriods(byDate, "weekly", p.Weekly, func(c *candidate) string {
		year, week := c.date.ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week)
	})
	keepPeriods(byDate, "monthly", p.Monthly, func(c *candidate) string { return c.date.Format("2006-01") })
	keepPeriods(byDate, "yearly", p.Yearly, func(c *candidate) string { return c.date.Format("2006") })
	keepTagged(byTime, p.Tags)
	keepLastComplete(byTime)
}

// compareAge orders snapshots from the oldest to the newest: by time, then as the log has them.
func compareAge(a, b *repo.SnapshotRef) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Seq, b.Seq), slices.Compare(a.ID[:], b.ID[:]))
}

func keepLast(newestFirst []*candidate, n int) {
	for i, c := range newestFirst {
		if i == n {
			return
		}
		c.keep("last %s", ordinal(i+1, n))
	}
}

func keepWithin(newestFirst []*candidate, span Span) {
	if span.IsZero() || len(newestFirst) == 0 {
		return
	}
	since := span.Before(newestFirst[0].time)
	for _, c := range newestFirst {
		if c.time.Before(since) {
			return
		}
		c.keep("within %v", span)
	}
}

// keepPeriods keeps the newest snapshot of each of the n newest periods that have any. Candidates of one
// period stand together.
func keepPeriods(newestFirst []*candidate, rule string, n int, period func(*candidate) string) {
	rest := newestFirst
	for i := 0; i != n && len(rest) > 0; i++ {
		name := period(rest[0])
		size := 1
		for size < len(rest) && period(rest[size]) == name {
			size++
		}
		reason := fmt.Sprintf("%s %s: %s", rule, ordinal(i+1, n), name)
		rest[0].keep("%s", reason)
		if whole := slices.IndexFunc(rest[:size], (*candidate).complete); whole > 0 {
			rest[whole].keep("complete, %s", reason)
		}
		rest = rest[size:]
	}
}

func keepTagged(group []*candidate, lists [][]string) {
	for _, c := range group {
		for _, tags := range lists {
			missing := func(tag string) bool { return !slices.Contains(c.Snapshot.Tags, tag) }
			if len(tags) > 0 && !slices.ContainsFunc(tags, missing) {
				c.keep("tag %s", strings.Join(tags, ","))
			}
		}
	}
}

// keepLastComplete keeps the newest complete snapshot where a later, partial one stays.
func keepLastComplete(newestFirst []*candidate) {
	laterStays := false
	for _, c := range newestFirst {
		if c.complete() {
			if laterStays && !c.Keep() {
				c.keep("last complete")
			}
			return
		}
		laterStays = laterStays || c.Keep()
	}
}

// ordinal returns "3 of 7", or "3" of an unlimited number.
func ordinal(i, n int) string {
	if n == Unlimited {
		return fmt.Sprint(i)
	}
	return fmt.Sprintf("%d of %d", i, n)
}
