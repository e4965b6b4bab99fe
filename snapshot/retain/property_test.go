package retain

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

var histories = flag.Int("histories", 0, "how many random histories TestNothingGoodIsPushedOut tries; 0: 3,000, or 300 with the race detector")

const lifeSteps = 40

// A trial is a life whose every policy is looked at.
type trial struct {
	*life
	t       *testing.T
	seed    uint64
	before  *before // the retention that there was before verdicts
	removed int     // snapshots, by policies
	doubts  int     // in doubt when a policy was applied
	policy  int     // policies that were applied
	most    float64 // snapshots left, by what the policy keeps at most
}

func (tr *trial) errorf(format string, args ...any) {
	tr.t.Helper()
	tr.t.Errorf("history %d: "+format, append([]any{tr.seed}, args...)...)
}

// run lives a life.
func (tr *trial) run() {
	for range lifeSteps {
		h := tr.homes[tr.rng.IntN(2)]
		was := h.verdicts()
		confirmed := maps.Clone(h.log.Confirmed)
		tr.step(h)
		if maps.Equal(confirmed, h.log.Confirmed) {
			tr.unchanged(h, was, "a night, a forget or a prune")
		}
		tr.trueTimes(h)
		if tr.rng.IntN(3) == 0 {
			tr.apply(h)
		}
		if tr.rng.IntN(60) == 0 {
			tr.copyAll()
		}
	}
}

// unchanged sees that no verdict has changed.
func (tr *trial) unchanged(h *home, was map[store.Name]*Verdict, by string) {
	tr.t.Helper()
	now := h.verdicts()
	for id, v := range was {
		if n := now[id]; n.Confirmed != v.Confirmed || n.generation != v.generation || !slices.Equal(n.Doubts, v.Doubts) {
			tr.errorf("%s changes what is thought of %s: %+v, was %+v", by, id.Short(), n, v)
		}
	}
}

// trueTimes sees that the times of honest nights are in no doubt, whatever their schedule is, whatever the storage's clock says
// and whatever others say. A host that was taken over may have spoilt what is known of its own.
func (tr *trial) trueTimes(h *home) {
	j := Judge(&h.log)
	for _, r := range h.log.Snapshots {
		if h.honest[r.ID] && !h.hostile && slices.ContainsFunc(j.Of(r.ID).Doubts, func(d Doubt) bool { return d.Component == "" }) {
			tr.errorf("an honest night is in doubt: %+v", j.Of(r.ID).Doubts)
		}
	}
}

// copyAll copies the repository. What was recorded is thought of as before.
func (tr *trial) copyAll() {
	var was [2]map[store.Name]*Verdict
	recorded := tr.rng.IntN(2) == 0
	tr.seq++
	for i, h := range tr.homes {
		if recorded {
			tr.record(h)
		}
		was[i] = h.verdicts()
	}
	tr.copy()
	for i, h := range tr.homes {
		if recorded {
			tr.unchanged(h, was[i], "a copy")
		}
		tr.trueTimes(h)
	}
}

// apply applies the policy of the instance's owner, or any other, as forget does.
func (tr *trial) apply(h *home) {
	p := h.policy
	if tr.rng.IntN(6) == 0 {
		p = randomPolicy(tr.rng)
		p.AllowRemoveAll = tr.rng.IntN(10) == 0
	}
	refs := h.listed()
	j := Judgements{h.name: Judge(&h.log)}
	tr.before.apply(tr, h, p)
	decisions, err := p.Apply(refs, j, tr.now)
	if err != nil {
		return // it would have removed all
	}
	tr.policy++
	sound := slices.DeleteFunc(slices.Clone(refs), func(r ledger.SnapshotRef) bool { return !j.Of(&r).Sound() })
	tr.doubts += len(refs) - len(sound)
	var gone []store.Name
	for _, d := range decisions {
		if !d.Keep() {
			gone = append(gone, d.Snapshot.ID)
		}
	}
	if left := pushedOut(p, sound, j, gone, tr.life); left != "" {
		tr.errorf("%+v removes %s, which it keeps where those without doubt are alone", p, left)
	}
	if len(sound) > 0 && !p.AllowRemoveAll && !slices.ContainsFunc(sound, func(r ledger.SnapshotRef) bool { return !slices.Contains(gone, r.ID) }) {
		tr.errorf("%+v leaves none of %d without doubt", p, len(sound))
	}
	tr.bounded(p, h, len(refs)-len(gone))
	was := h.verdicts()
	if len(gone) > 0 {
		tr.forget(h, gone)
	}
	tr.removed += len(gone)
	tr.unchanged(h, was, "a policy")
}

// pushedOut returns a snapshot that is gone and that the policy keeps where those without doubt are alone, or "".
func pushedOut(p Policy, sound []ledger.SnapshotRef, j Judgements, gone []store.Name, l *life) string {
	p.AllowRemoveAll = true
	alone, err := p.Apply(sound, j, l.now)
	if err != nil {
		return err.Error()
	}
	for _, d := range alone {
		if d.Keep() && slices.Contains(gone, d.Snapshot.ID) {
			return d.Snapshot.ID.Short() + ": " + d.Reasons[0]
		}
	}
	return ""
}

// bounded sees that what a policy leaves is some times what it keeps, if that has a bound.
func (tr *trial) bounded(p Policy, h *home, left int) {
	most := 1
	for _, n := range []int{p.Last, p.Hourly, p.Daily, p.Weekly, p.Monthly, p.Yearly} {
		if n == Unlimited {
			return
		}
		most += 2 * n // a partial one, and a complete one
	}
	if !p.Within.IsZero() || len(p.Tags) > 0 {
		return
	}
	if h.bound && (p.Last != 0 || p.Hourly != 0) {
		most += 2 * boundDays
	}
	times := float64(left) / float64(most)
	tr.most = max(tr.most, times)
	if times > 1+keptGenerations {
		tr.errorf("%+v leaves %d snapshots", p, left)
	}
}

// Whatever nights come, and whatever is forgotten, confirmed, copied and lied: a policy never removes a snapshot that the same
// policy would keep were only those without doubt there; no verdict changes by a forget; a regular schedule is never in doubt;
// and storage stays bounded. Without verdicts it would not be so: the first history that shows it is logged.
func TestNothingGoodIsPushedOut(t *testing.T) {
	t.Parallel()
	count := *histories
	switch {
	case count > 0:
	case raceDetector:
		count = 300 // each is on one goroutine
	default:
		count = 3000
	}
	var next, removed, doubts, policies atomic.Int64
	var mu sync.Mutex
	most, first := 0.0, map[string]uint64{}
	var g sync.WaitGroup
	for range 2 {
		g.Go(func() {
			for !t.Failed() {
				seed := uint64(next.Add(1))
				if seed > uint64(count) {
					return
				}
				tr := &trial{life: newLife(seed), t: t, seed: seed}
				tr.before = newBefore(rand.New(rand.NewPCG(seed, 12)))
				tr.run()
				removed.Add(int64(tr.removed))
				doubts.Add(int64(tr.doubts))
				policies.Add(int64(tr.policy))
				mu.Lock()
				most = max(most, tr.most)
				for how := range tr.before.violated {
					if first[how] == 0 || seed < first[how] {
						first[how] = seed
					}
				}
				mu.Unlock()
			}
		})
	}
	g.Wait()
	t.Logf("%d histories: %d policies removed %d snapshots, %d in doubt were looked at; at most %.1f times what a policy keeps was left",
		count, policies.Load(), removed.Load(), doubts.Load(), most)
	for _, how := range slices.Sorted(maps.Keys(first)) {
		t.Logf("before verdicts, %s: violated by history %d", how, first[how])
	}
	if len(first) == 0 && !t.Failed() {
		t.Error("retention without verdicts passes too: this test can't fail")
	}
}
