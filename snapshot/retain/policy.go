// Package retain says what snapshots are worth and which of them a policy keeps: verdicts by what the log says, the rules of
// retention, and which snapshot a name means. It reads no manifest and no storage.
package retain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"permafrost/repo/cause"
	"permafrost/repo/ledger"
)

// Unlimited as a number in a Policy keeps one snapshot of every period, however long ago.
const Unlimited = -1

// A Policy says which snapshots are kept when old ones are forgotten. Each instance is judged by itself.
//
// The rules are applied, for each component by itself, to the snapshots that captured it without doubt; a snapshot stays where
// any rule keeps it for any component. Likewise to those without any doubt by themselves. So nothing that is known to be bad, and no night that lacks a component, pushes out what
// is good. Snapshots in doubt form generations, and the rules are applied to each of the last four by itself: see generations.
//
// Hours are told from a snapshot's Time, as a clock of the given time zone showed it: the hour that an autumn
// night repeats counts as two. Days, ISO weeks, months and years are told from its Date, the night as the
// operator names it, so that a run that began at 00:10 stays with the night that it belongs to; a Date that
// is none is taken from Time. Of each period the newest snapshot is kept.
//
// A snapshot with files left out never pushes out a whole one: where the newest of a period is partial, the
// newest complete one of that period is kept too, and the newest complete snapshot stays for as
// long as a later partial one does.
//
// Snapshots that are dated more than a day in the future are a group of their own: they tell of a wrong clock, and must not
// push out the true ones.
type Policy struct {
	Last    int // newest snapshots
	Hourly  int // hours, of which the newest snapshot is kept; likewise below
	Daily   int
	Weekly  int
	Monthly int
	Yearly  int

	Within Span       // everything so much older than the instance's newest snapshot, or less
	Tags   [][]string // what bears all the tags of any one of these lists

	AllowRemoveAll bool // lets the policy remove every snapshot of an instance, or every one without doubt
}

// boundDays is of how many days the newest snapshot stays too, by the storage's clock, where the writer may not forget and the
// policy counts snapshots or hours: a host that was taken over can make any number of these in an hour, and pushes out nothing
// that an owner who looks every other week would miss.
const boundDays = 14

// A Decision says what a Policy makes of one snapshot.
type Decision struct {
	Snapshot ledger.SnapshotRef
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
// It fails where the policy keeps nothing, and where it would remove every snapshot of an instance, or every one of those
// without doubt.
func (p *Policy) Apply(refs []ledger.SnapshotRef, verdicts Judgements, now time.Time) ([]Decision, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	decisions := make([]Decision, len(refs))
	instances := make(map[string][]*candidate)
	for i, ref := range refs {
		decisions[i].Snapshot = ref
		c := newCandidate(&decisions[i], verdicts.Of(&ref), now)
		instances[ref.Instance] = append(instances[ref.Instance], c)
	}
	for _, name := range slices.Sorted(maps.Keys(instances)) {
		group := instances[name]
		p.judge(group)
		if err := p.mayRemove(name, group); err != nil {
			return nil, err
		}
	}
	return decisions, nil
}

// mayRemove returns an error where too little of an instance's snapshots would stay.
func (p *Policy) mayRemove(name string, group []*candidate) error {
	sound := func(c *candidate) bool { return c.verdict.Sound() }
	kept := func(c *candidate) bool { return c.Keep() }
	what := ""
	switch {
	case p.AllowRemoveAll:
	case !slices.ContainsFunc(group, kept):
		what = "every snapshot of " + name
	case slices.ContainsFunc(group, sound) && !slices.ContainsFunc(group, func(c *candidate) bool { return sound(c) && kept(c) }):
		what = "every snapshot of " + name + " that does not look wrong"
	}
	if what == "" {
		return nil
	}
	return cause.Errorf(cause.PolicyRemovesAll, "the policy would remove %s", what)
}

func (p *Policy) validate() error {
	if p.Empty() {
		return cause.Errorf(cause.PolicyKeepsNothing, "the policy keeps nothing")
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
	verdict *Verdict
	time    time.Time // in the policy's time zone
	date    time.Time // civil date at midnight UTC
	came    time.Time // by the storage's clock, in the policy's time zone
	ahead   bool      // it is dated in the future

	counts map[Component]bool // it captured these without doubt
	kept   []keeping
}

// A keeping is a reason to keep a snapshot, and for which components.
type keeping struct {
	reason string
	of     []Component
}

func newCandidate(d *Decision, v *Verdict, now time.Time) *candidate {
	ref := &d.Snapshot
	c := &candidate{Decision: d, verdict: v, time: ref.Time.In(now.Location()), came: ref.Logged.In(now.Location()), counts: make(map[Component]bool)}
	date, err := time.Parse(time.DateOnly, ref.Date)
	if err != nil {
		date = civilDate(c.time)
	}
	c.date = date
	if ref.Logged.IsZero() {
		c.came = c.time
	}
	c.ahead = c.time.After(now.Add(24*time.Hour)) || c.date.After(civilDate(now).AddDate(0, 0, 1))
	for _, comp := range components {
		if comp.state(&ref.Holding) == ledger.Captured && !v.doubted(comp) {
			c.counts[comp] = true
		}
	}
	return c
}

// civilDate returns midnight UTC of the day that t shows in its own zone.
func civilDate(t time.Time) time.Time {
	year, month, day := t.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// complete reports whether no file was left out.
func (c *candidate) complete() bool { return c.Snapshot.Partial == 0 }

// keep notes a reason.
func (c *candidate) keep(comp Component, format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	i := slices.IndexFunc(c.kept, func(k keeping) bool { return k.reason == reason })
	if i < 0 {
		i = len(c.kept)
		c.kept = append(c.kept, keeping{reason: reason})
	}
	if !slices.Contains(c.kept[i].of, comp) {
		c.kept[i].of = append(c.kept[i].of, comp)
	}
}

// explain turns what was noted into reasons. Components are named where a reason is not one for all that the snapshot captured.
func (c *candidate) explain() {
	captured := 0
	for _, comp := range components {
		if comp.state(&c.Snapshot.Holding) == ledger.Captured {
			captured++
		}
	}
	for _, k := range c.kept {
		if len(k.of) < captured {
			k.reason += " (" + joinComponents(k.of) + ")"
		}
		c.Reasons = append(c.Reasons, k.reason)
	}
}

func joinComponents(of []Component) string {
	names := make([]string, len(of))
	for i, comp := range of {
		names[i] = string(comp)
	}
	return strings.Join(names, ", ")
}

// judge gives the snapshots of one instance their reasons.
func (p *Policy) judge(group []*candidate) {
	slices.SortFunc(group, func(a, b *candidate) int { return -compareAge(&a.Snapshot, &b.Snapshot) })
	bound := slices.ContainsFunc(group, func(c *candidate) bool { return c.Snapshot.Bound })
	last := lastGenerations(group)
	for _, comp := range components {
		captured := func(match func(*candidate) bool) (list []*candidate) {
			for _, c := range group {
				if comp.state(&c.Snapshot.Holding) == ledger.Captured && match(c) {
					list = append(list, c)
				}
			}
			return list
		}
		for _, ahead := range []bool{false, true} {
			prefix := map[bool]string{true: "dated in the future: "}[ahead]
			good := captured(func(c *candidate) bool { return c.counts[comp] && c.ahead == ahead })
			p.apply(comp, prefix, good)
			// Those without any doubt also by themselves: what one in doubt has of this component is good, and yet pushes out
			// nothing that is good altogether.
			sound := captured(func(c *candidate) bool { return c.verdict.Sound() && c.ahead == ahead })
			if len(sound) < len(good) {
				p.apply(comp, prefix, sound)
			}
			if bound && !ahead && (p.Last != 0 || p.Hourly != 0) {
				keepBound(comp, sound)
			}
		}
		for _, g := range last {
			p.apply(comp, "looks wrong, kept beside the sound ones: ", captured(func(c *candidate) bool { return c.verdict.generation == g }))
		}
	}
	for _, c := range group {
		c.explain()
	}
}

// lastGenerations returns the last generations of which there are snapshots.
func lastGenerations(group []*candidate) []int {
	var all []int
	for _, c := range group {
		if g := c.verdict.generation; g > 0 {
			all = append(all, g)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[max(0, len(all)-keptGenerations):]
}

// A round applies the rules to some snapshots for the sake of one component.
type round struct {
	comp   Component
	prefix string // of each reason
	kept   map[*candidate]bool
}

func (r *round) keep(c *candidate, format string, args ...any) {
	c.keep(r.comp, "%s", r.prefix+fmt.Sprintf(format, args...))
	r.kept[c] = true
}

// apply applies the rules to snapshots of one instance, the newest first.
func (p *Policy) apply(comp Component, prefix string, byTime []*candidate) {
	if len(byTime) == 0 {
		return
	}
	r := &round{comp, prefix, make(map[*candidate]bool)}
	byDate := slices.Clone(byTime)
	slices.SortStableFunc(byDate, func(a, b *candidate) int { return b.date.Compare(a.date) })

	r.last(byTime, p.Last)
	r.within(byTime, p.Within)
	r.periods(byTime, "hourly", p.Hourly, func(c *candidate) string { return c.time.Format("2006-01-02 15:00 -0700") })
	r.periods(byDate, "daily", p.Daily, func(c *candidate) string { return c.date.Format(time.DateOnly) })
	r.periods(byDate, "weekly", p.Weekly, func(c *candidate) string {
		year, week := c.date.ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week)
	})
	r.periods(byDate, "monthly", p.Monthly, func(c *candidate) string { return c.date.Format("2006-01") })
	r.periods(byDate, "yearly", p.Yearly, func(c *candidate) string { return c.date.Format("2006") })
	r.tagged(byTime, p.Tags)
	r.lastComplete(byTime)
}

// keepBound keeps the newest snapshot of each of the last days by the storage's clock.
func keepBound(comp Component, good []*candidate) {
	byLog := slices.Clone(good)
	slices.SortFunc(byLog, func(a, b *candidate) int {
		return cmp.Or(b.came.Compare(a.came), cmp.Compare(b.Snapshot.Seq, a.Snapshot.Seq))
	})
	r := &round{comp, "by the storage's clock, since its writer may not forget: ", make(map[*candidate]bool)}
	r.periods(byLog, "daily", boundDays, func(c *candidate) string { return c.came.Format(time.DateOnly) })
}

// compareAge orders snapshots from the oldest to the newest: by time, then as the log has them.
func compareAge(a, b *ledger.SnapshotRef) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Seq, b.Seq), slices.Compare(a.ID[:], b.ID[:]))
}

func (r *round) last(newestFirst []*candidate, n int) {
	for i, c := range newestFirst {
		if i == n {
			return
		}
		if n == 1 {
			r.keep(c, "the newest")
			continue
		}
		r.keep(c, "last %s", ordinal(i+1, n))
	}
}

func (r *round) within(newestFirst []*candidate, span Span) {
	if span.IsZero() || len(newestFirst) == 0 {
		return
	}
	since := span.Before(newestFirst[0].time)
	for _, c := range newestFirst {
		if c.time.Before(since) {
			return
		}
		r.keep(c, "within %v", span)
	}
}

// periods keeps the newest snapshot of each of the n newest periods that have any. Candidates of one
// period stand together.
func (r *round) periods(newestFirst []*candidate, rule string, n int, period func(*candidate) string) {
	rest := newestFirst
	for i := 0; i != n && len(rest) > 0; i++ {
		name := period(rest[0])
		size := 1
		for size < len(rest) && period(rest[size]) == name {
			size++
		}
		reason := fmt.Sprintf("%s %s: %s", rule, ordinal(i+1, n), name)
		r.keep(rest[0], "%s", reason)
		if whole := slices.IndexFunc(rest[:size], (*candidate).complete); whole > 0 {
			r.keep(rest[whole], "complete, %s", reason)
		}
		rest = rest[size:]
	}
}

func (r *round) tagged(group []*candidate, lists [][]string) {
	for _, c := range group {
		for _, tags := range lists {
			missing := func(tag string) bool { return !slices.Contains(c.Snapshot.Tags, tag) }
			if len(tags) > 0 && !slices.ContainsFunc(tags, missing) {
				r.keep(c, "tag %s", strings.Join(tags, ","))
			}
		}
	}
}

// lastComplete keeps the newest complete snapshot where a later, partial one stays.
func (r *round) lastComplete(newestFirst []*candidate) {
	laterStays := false
	for _, c := range newestFirst {
		if c.complete() {
			if laterStays && !r.kept[c] {
				r.keep(c, "last complete")
			}
			return
		}
		laterStays = laterStays || r.kept[c]
	}
}

// ordinal returns "3 of 7", or "3" of an unlimited number.
func ordinal(i, n int) string {
	if n == Unlimited {
		return fmt.Sprint(i)
	}
	return fmt.Sprintf("%d of %d", i, n)
}
