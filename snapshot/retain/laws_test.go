package retain

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// randomPolicy returns a policy that keeps something.
func randomPolicy(rng *rand.Rand) Policy {
	number := func() int {
		if rng.IntN(12) == 0 {
			return Unlimited
		}
		return max(rng.IntN(8)-4, 0)
	}
	p := Policy{AllowRemoveAll: true}
	p.Last, p.Hourly, p.Daily, p.Weekly, p.Monthly, p.Yearly = number(), number(), number(), number(), number(), number()
	if rng.IntN(3) == 0 {
		p.Within = Span{Years: rng.IntN(2), Months: rng.IntN(3), Days: rng.IntN(20), Hours: rng.IntN(30)}
	}
	if rng.IntN(3) == 0 || p.Empty() {
		p.Tags = append(p.Tags, []string{[]string{"a", "b"}[rng.IntN(2)]})
	}
	return p
}

// more returns p with one of its rules keeping more.
func more(p Policy, rng *rand.Rand) Policy {
	add := func(n *int) {
		if *n != Unlimited {
			*n += 1 + rng.IntN(3)
		}
		if rng.IntN(10) == 0 {
			*n = Unlimited
		}
	}
	switch rng.IntN(8) {
	case 0:
		p.Within.Days += 1 + rng.IntN(40)
	case 1:
		p.Tags = append(slices.Clone(p.Tags), []string{"c"})
	default:
		add([]*int{&p.Last, &p.Hourly, &p.Daily, &p.Weekly, &p.Monthly, &p.Yearly}[rng.IntN(6)])
	}
	return p
}

func randomRefs(rng *rand.Rand, now time.Time) []ledger.SnapshotRef {
	refs := make([]ledger.SnapshotRef, rng.IntN(40))
	reach := []time.Duration{6 * time.Hour, 5 * 24 * time.Hour, 900 * 24 * time.Hour}[rng.IntN(3)]
	for i := range refs {
		r := &refs[i]
		r.Seq = uint64(i)
		binary.BigEndian.PutUint64(r.ID[:], r.Seq)
		r.Instance = []string{"a.example", "b.example"}[rng.IntN(2)]
		r.Holding = held(100<<20, 1000, 10<<30)
		if rng.IntN(6) == 0 {
			r.Holding.Media = ledger.MediaHolding{State: ledger.Failed}
		}
		r.Time = now.Add(-time.Duration(rng.Int64N(int64(reach)))).Truncate(10 * time.Minute)
		if rng.IntN(20) == 0 {
			r.Time = now.AddDate(0, 0, rng.IntN(4)) // a clock that is ahead
		}
		r.Date = r.Time.AddDate(0, 0, rng.IntN(3)/2-rng.IntN(6)/5).Format(time.DateOnly)
		if rng.IntN(4) == 0 {
			r.Partial = 1
		}
		for _, tag := range []string{"a", "b", "c"} {
			if rng.IntN(8) == 0 {
				r.Tags = append(r.Tags, tag)
			}
		}
	}
	return refs
}

func apply(t *testing.T, p Policy, refs []ledger.SnapshotRef, now time.Time) map[store.Name][]string {
	t.Helper()
	decisions, err := p.Apply(refs, nil, now)
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	reasons := make(map[store.Name][]string)
	for i, d := range decisions {
		if d.Snapshot.ID != refs[i].ID {
			t.Fatalf("decision %d is of another snapshot", i)
		}
		if d.Keep() {
			reasons[d.Snapshot.ID] = d.Reasons
		}
	}
	return reasons
}

// checkLaws checks what holds for every policy and every set of snapshots.
func checkLaws(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	loc := zone(t, []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"}[rng.IntN(5)])
	now := time.Date(2026, []time.Month{1, 3, 6, 10, 11}[rng.IntN(5)], 1+rng.IntN(31), rng.IntN(24), rng.IntN(60), 0, 0, loc)
	refs, p := randomRefs(rng, now), randomPolicy(rng)
	kept := apply(t, p, refs, now)

	shuffled := slices.Clone(refs)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for id, reasons := range apply(t, p, shuffled, now) {
		if !slices.Equal(kept[id], reasons) {
			t.Errorf("%+v: order matters: %v then %v", p, kept[id], reasons)
		}
	}

	for id := range apply(t, more(p, rng), refs, now) {
		delete(kept, id)
	}
	for id, reasons := range kept {
		t.Errorf("%+v keeps %x (%v), and a policy that keeps more removes it", p, id[:8], reasons)
	}

	kept = apply(t, p, refs, now)
	left := slices.DeleteFunc(slices.Clone(refs), func(r ledger.SnapshotRef) bool { return kept[r.ID] == nil })
	if again := apply(t, p, left, now); len(again) != len(left) {
		t.Errorf("%+v keeps %d, of which another turn keeps only %d", p, len(left), len(again))
	}

	checkComplete(t, p, refs, kept)
}

// checkComplete checks that an instance with a partial snapshot kept keeps its newest complete one that is
// older, or a newer one.
func checkComplete(t *testing.T, p Policy, refs []ledger.SnapshotRef, kept map[store.Name][]string) {
	for _, partial := range refs {
		if partial.Partial == 0 || kept[partial.ID] == nil || strings.HasPrefix(kept[partial.ID][0], "dated in the future") {
			continue
		}
		have, stays := false, false
		for _, r := range refs {
			if r.Instance == partial.Instance && r.Partial == 0 {
				have = have || compareAge(&r, &partial) < 0
				stays = stays || kept[r.ID] != nil || compareAge(&r, &partial) > 0
			}
		}
		if have && !stays {
			t.Errorf("%+v keeps partial %x and no complete one", p, partial.ID[:8])
		}
	}
}

func TestPolicyLaws(t *testing.T) {
	for seed := range uint64(600) {
		checkLaws(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
