package retain

import (
	"maps"
	"slices"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A Component is one of the four parts of a snapshot, as commands name them.
type Component string

// The components.
const (
	Secrets  Component = "secrets"
	Postgres Component = "postgres"
	Redis    Component = "redis"
	Media    Component = "media"
)

var components = []Component{Secrets, Postgres, Redis, Media}

// state returns what a snapshot has of the component.
func (c Component) state(h *ledger.Holding) ledger.State {
	switch c {
	case Secrets:
		return h.Secrets
	case Postgres:
		return h.Postgres.State
	case Redis:
		return h.Redis
	case Media:
		return h.Media.State
	}
	return ""
}

// A Doubt is why a snapshot may not be what it says.
type Doubt struct {
	Component Component    `json:"component,omitempty"` // "" where it is about the times of the whole
	What      string       `json:"what,omitempty"`      // that there is too little of: a table, "dump", "media", "files", a class of media
	State     ledger.State `json:"state,omitempty"`     // where the component was left out, or lies elsewhere
	Bytes     bool         `json:"bytes,omitempty"`     // the numbers are of bytes
	Have      int64        `json:"have"`                // the snapshot's number; of external media, files that still lie below the root
	Had       int64        `json:"had"`                 // the largest since a person last confirmed a smaller one
	In        store.Name   `json:"in,omitzero"`         // and the snapshot that has it
	Why       string       `json:"why,omitempty"`       // what else is wrong
}

// A Verdict is what is thought of a snapshot, whether or not it is still listed. It depends on the log up to the snapshot's
// entry and on what a person has confirmed since, never on which other snapshots are listed. The numbers are the writer's: one
// that stores junk under plausible numbers is not recognised.
type Verdict struct {
	Doubts    []Doubt // none: the snapshot is sound
	Confirmed bool    // a person has confirmed it: it counts as sound whatever the doubts say

	generation int // of those in doubt, from 1 on; 0 for a sound one
	log        *ledger.Chronicle
}

// Forgotten reports whether a snapshot that a doubt compares with is no longer listed, and returns the date that it has in the
// log.
func (v *Verdict) Forgotten(id store.Name) (date string, gone bool) {
	if v.log == nil {
		return "", false
	}
	i := slices.IndexFunc(v.log.Snapshots, func(r ledger.SnapshotRef) bool { return r.ID == id })
	if _, gone = v.log.Forgotten[id]; i < 0 || !gone {
		return "", false
	}
	return v.log.Snapshots[i].Date, true
}

// Sound reports whether there is no doubt that counts.
func (v *Verdict) Sound() bool { return v.Confirmed || len(v.Doubts) == 0 }

// doubted reports whether a component is in doubt.
func (v *Verdict) doubted(c Component) bool {
	about := func(d Doubt) bool { return d.Component == c || d.Component == "" }
	return !v.Confirmed && slices.ContainsFunc(v.Doubts, about)
}

// whole reports whether the times are in doubt, and so all of the snapshot.
func (v *Verdict) whole() bool {
	return !v.Confirmed && slices.ContainsFunc(v.Doubts, func(d Doubt) bool { return d.Component == "" })
}

// A Judgement has a verdict on each snapshot that an instance ever had.
type Judgement struct {
	verdicts map[store.Name]*Verdict
	clock    clock
	log      *ledger.Chronicle
}

// Judge returns the verdicts on an instance's snapshots.
func Judge(c *ledger.Chronicle) *Judgement {
	j := &Judgement{verdicts: make(map[store.Name]*Verdict, len(c.Snapshots)), log: c}
	base := make(baseline, len(measures))
	times := newTimes(c)
	var gens generations
	for i := range c.Snapshots {
		ref := &c.Snapshots[i]
		v := &Verdict{Confirmed: c.Confirmed[ref.ID], log: c}
		v.Doubts = base.judge(ref, v.Confirmed)
		if why := times.judge(i, v.Confirmed); why != "" {
			v.Doubts = append(v.Doubts, Doubt{Why: why})
		}
		if !v.Sound() {
			v.generation = gens.join(ref, v)
		}
		j.verdicts[ref.ID] = v
	}
	j.clock = times.clock
	return j
}

// Of returns the verdict on a snapshot. One that the chronicle did not have, since it came later, is in no doubt.
func (j *Judgement) Of(id store.Name) *Verdict {
	if v := j.verdicts[id]; v != nil {
		return v
	}
	return new(Verdict)
}

// Clock returns by how much the storage's clock has been ahead for days, or behind where it is negative; and whether that is
// news: no log entry says that somebody was told.
func (j *Judgement) Clock() (ahead string, news bool) { return j.clock.told(j.log.Recorded.Clock) }

// Record returns what a log entry is to record: what is thought of the times of snapshots that no entry has recorded, up to
// the entry through.
func (j *Judgement) Record(instance string, through uint64) ledger.Record {
	r := ledger.Record{Instance: instance, Through: through, Clock: j.clock.steady()}
	for i := range j.log.Snapshots {
		ref := &j.log.Snapshots[i]
		if ref.Seq <= j.log.Through || ref.Seq > through {
			continue
		}
		for _, d := range j.verdicts[ref.ID].Doubts {
			if d.Component == "" {
				r.Doubts = append(r.Doubts, ledger.TimesDoubt{Snapshot: ref.ID, Why: d.Why})
			}
		}
	}
	return r
}

// Judgements are by instance.
type Judgements map[string]*Judgement

// A Log says what was ever committed; *repo.Repo is one.
type Log interface {
	Chronicle(instance string) ledger.Chronicle
}

// JudgeAll judges the instances that some snapshots are of.
func JudgeAll(log Log, refs []ledger.SnapshotRef) Judgements {
	all := make(Judgements)
	for i := range refs {
		instance := refs[i].Instance
		if all[instance] == nil {
			c := log.Chronicle(instance)
			all[instance] = Judge(&c)
		}
	}
	return all
}

// Of returns the verdict on a snapshot.
func (all Judgements) Of(ref *ledger.SnapshotRef) *Verdict {
	if j := all[ref.Instance]; j != nil {
		return j.Of(ref.ID)
	}
	return new(Verdict)
}

// Records returns what a log entry is to record of all these instances: see Judgement.Record.
func (all Judgements) Records(through uint64) (records []ledger.Record) {
	for _, instance := range slices.Sorted(maps.Keys(all)) {
		j := all[instance]
		if n := len(j.log.Snapshots); n > 0 && j.log.Snapshots[n-1].Seq > j.log.Through {
			records = append(records, j.Record(instance, through))
		}
	}
	return records
}
