package retain

import (
	"math/rand/v2"
	"slices"
	"time"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A before is retention as it was before there were verdicts: what looks wrong makes a policy refuse to remove anything, until
// a person has forgotten by name what is named, or says --force. Other policies than that of all snapshots there are none.
type before struct {
	rng      *rand.Rand
	gone     map[store.Name]bool
	judged   map[string]uint64 // to the newest entry that a policy has looked at, or a person has confirmed
	forced   map[string]uint64
	violated map[string]bool // how a snapshot without doubt was pushed out
}

func newBefore(rng *rand.Rand) *before {
	return &before{rng, make(map[store.Name]bool), make(map[string]uint64), make(map[string]uint64), make(map[string]bool)}
}

// apply applies a policy to what this one has not removed yet, and notes whether it pushes out anything good.
func (b *before) apply(tr *trial, h *home, p Policy) {
	refs := slices.DeleteFunc(slices.Clone(h.log.Snapshots), func(r ledger.SnapshotRef) bool { return b.gone[r.ID] })
	how := "never refused"
	if suspects := b.suspects(h); len(suspects) > 0 {
		switch b.rng.IntN(4) {
		default:
			return // refused
		case 0:
			how = "bad ones forgotten by name"
			for _, id := range suspects[:1+b.rng.IntN(len(suspects))] {
				b.gone[id] = true
			}
			if b.suspects(h) != nil {
				return
			}
			refs = slices.DeleteFunc(refs, func(r ledger.SnapshotRef) bool { return b.gone[r.ID] })
		case 1:
			how = "with --force"
			b.forced[h.name] = tr.seq
		}
	}
	b.judged[h.name] = tr.seq
	decisions, err := p.Apply(asOneComponent(refs), nil, tr.now)
	if err != nil {
		return
	}
	var gone []store.Name
	for _, d := range decisions {
		if !d.Keep() {
			gone = append(gone, d.Snapshot.ID)
			b.gone[d.Snapshot.ID] = true
		}
	}
	j := Judgements{h.name: Judge(&h.log)}
	sound := slices.DeleteFunc(refs, func(r ledger.SnapshotRef) bool { return !j.Of(&r).Sound() })
	if pushedOut(p, sound, j, gone, tr.life) != "" {
		b.violated[how] = true
	}
}

// asOneComponent returns refs of which each has all components: rules knew of none.
func asOneComponent(refs []ledger.SnapshotRef) []ledger.SnapshotRef {
	all := slices.Clone(refs)
	for i := range all {
		all[i].Bound, all[i].Holding = false, held(1, 1, 1)
	}
	return all
}

// suspects returns what looked wrong: too small a dump, too few media, times, more than four in a day beside three times what
// was usual.
func (b *before) suspects(h *home) (found []store.Name) {
	var newest time.Time
	var dump, files, media int64
	refs := h.log.Snapshots
	for i := range refs {
		r := &refs[i]
		if r.Seq <= b.forced[h.name] && !b.gone[r.ID] {
			dump, files, media = 0, 0, 0
		}
		lost := func(n, most, floor int64) bool { return n < most/2 && most-n > floor || n == 0 && most > 0 }
		m := &r.Holding.Media
		wrong := lost(r.Holding.Postgres.Size, dump, 1<<20) || m.State == ledger.External && files > 0 || lost(m.Files, files, 100) || lost(m.Size, media, 1<<20)
		if r.Seq <= b.forced[h.name] {
			wrong = false
		}
		dump, files, media = max(dump, r.Holding.Postgres.Size), max(files, m.Files), max(media, m.Size)
		lie := r.Time.Sub(r.Logged) > time.Hour || r.Logged.Sub(r.Time) > longestRun || newest.Sub(r.Time) > longestRun
		if night, err := time.Parse(time.DateOnly, r.Date); err == nil && night.Sub(civilDate(r.Time)).Abs() > datedApart {
			lie = true
		}
		if r.Seq > b.judged[h.name] {
			wrong = wrong || lie || flooded(refs[:i+1])
		}
		if !lie && r.Time.After(newest) {
			newest = r.Time
		}
		if wrong && !b.gone[r.ID] {
			found = append(found, r.ID)
		}
	}
	return found
}

func flooded(refs []ledger.SnapshotRef) bool {
	end, first := refs[len(refs)-1].Logged, len(refs)-1
	for first > 0 && end.Sub(refs[first-1].Logged) < aDay {
		first--
	}
	usual, from := 0, 0
	for i := range first {
		for refs[i].Logged.Sub(refs[from].Logged) >= aDay {
			from++
		}
		usual = max(usual, i-from+1)
	}
	return first > 0 && len(refs)-first > 4+3*usual
}
