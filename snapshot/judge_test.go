package snapshot

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/repo"
)

// A life is two instances' nights in one repository: good ones and bad ones, policies, forgets by name, prunes.
type life struct {
	*world
	r    *repo.Repo
	rng  *rand.Rand
	now  time.Time
	size map[string]int64 // what an instance's media have
	all  map[string][]*lived

	removed, refused int
}

// A lived night is what the test itself remembers of a snapshot.
type lived struct {
	repo.SnapshotRef
	gone      bool
	confirmed bool // by a person, or gone by then
	base      bool // the newest that was confirmed
}

// night commits a snapshot of an instance, with so many bytes of media.
func (l *life) night(instance string, size int64) {
	l.t.Helper()
	m := sampleManifest()
	m.Instance, m.Created, m.Date = instance, l.now, l.now.Format(time.DateOnly)
	m.Media.Size, m.Media.LeftOut, m.Media.Left = size, 0, nil
	m.Secrets.Files[0].Size, m.Secrets.Files[0].Recipe = 1, wholeBlob(chunk.ID{byte(l.rng.Uint32())}, 1)
	data, err := m.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	w, err := l.r.NewWriter(l.t.Context(), instance)
	if err != nil {
		l.t.Fatal(err)
	}
	defer w.Abort()
	ref, err := w.Commit(l.t.Context(), data, m.Info())
	if err != nil {
		l.t.Fatal(err)
	}
	l.all[instance] = append(l.all[instance], &lived{SnapshotRef: ref})
}

// bad reports whether a night has less than half of any before it, back to the newest that a person confirmed.
func (l *life) bad(n *lived) bool {
	nights := l.all[n.Instance]
	for i := slices.Index(nights, n); i >= 0 && !n.confirmed; i-- {
		if n.Holding.Media.Size < nights[i].Holding.Media.Size/2 {
			return true
		}
		if nights[i].base {
			return false
		}
	}
	return false
}

func (l *life) listed(instance string) []*lived {
	return slices.DeleteFunc(slices.Clone(l.all[instance]), func(n *lived) bool { return n.gone })
}

// forgetOne forgets a snapshot by name: a bad one, the largest, or any.
func (l *life) forgetOne(instance string) {
	l.t.Helper()
	if nights := l.listed(instance); len(nights) > 0 {
		n := nights[l.rng.IntN(len(nights))]
		switch i := slices.IndexFunc(nights, l.bad); l.rng.IntN(4) {
		case 0:
			n = slices.MaxFunc(nights, func(a, b *lived) int { return cmp.Compare(a.Holding.Media.Size, b.Holding.Media.Size) })
		case 1, 2:
			n = nights[max(i, 0)]
		}
		if err := l.r.Forget(l.t.Context(), []repo.Name{n.ID}); err != nil {
			l.t.Fatal(err)
		}
		n.gone = true
	}
}

// prune deletes the manifests of what was forgotten.
func (l *life) prune() {
	for _, nights := range l.all {
		for _, n := range nights {
			if n.gone {
				l.store.Delete("manifests/" + n.ID.String())
			}
		}
	}
}

// policy applies a policy, as a nightly forget does.
func (l *life) policy(p Policy, force bool) {
	l.t.Helper()
	decisions, err := p.Apply(l.r.Snapshots(), l.now)
	if err != nil {
		return // it would remove all
	}
	doubts, judged, err := Judge(l.t.Context(), l.r, decisions, force)
	if err != nil {
		l.t.Fatal(err)
	}
	if len(doubts) > 0 && !force {
		l.refused++
		l.unremarkable(doubts)
		return
	}
	var gone []repo.Name
	for _, d := range decisions {
		if !d.Keep() {
			gone = append(gone, d.Snapshot.ID)
		}
	}
	l.removed += len(gone)
	for instance := range l.all {
		nights := l.listed(instance)
		removes := slices.ContainsFunc(nights, func(n *lived) bool { return slices.Contains(gone, n.ID) })
		if i := slices.IndexFunc(nights, l.bad); i >= 0 && removes && !force {
			l.t.Errorf("%s: %+v removes snapshots while one of %d bytes of media is listed", instance, p, nights[i].Holding.Media.Size)
		}
		if slices.Contains(judged.Confirmed, instance) {
			nights[len(nights)-1].base = true
			for _, n := range l.all[instance] {
				n.confirmed = true
			}
		}
		for _, n := range nights {
			n.gone = n.gone || slices.Contains(gone, n.ID)
		}
	}
	if err := l.r.ForgetJudged(l.t.Context(), gone, judged); err != nil {
		l.t.Fatal(err)
	}
}

// unremarkable sees that only bad nights are doubted.
func (l *life) unremarkable(doubts []Suspicion) {
	l.t.Helper()
	for _, d := range doubts {
		nights := l.all[d.Snapshot.Instance]
		i := slices.IndexFunc(nights, func(n *lived) bool { return n.ID == d.Snapshot.ID })
		if !l.bad(nights[i]) {
			l.t.Errorf("a good night of %d bytes: %s", d.Snapshot.Holding.Media.Size, d.Why)
		}
	}
}

// step is what happens in a day.
func (l *life) step() {
	l.now = l.now.AddDate(0, 0, 1)
	instance := []string{"a.example", "b.example"}[l.rng.IntN(2)]
	usual := l.size[instance]
	switch n := l.rng.IntN(20); {
	case n < 7:
		l.size[instance] = usual + l.rng.Int64N(usual/20)
		l.night(instance, l.size[instance])
	case n < 9:
		l.night(instance, l.rng.Int64N(usual/2))
	case n < 10: // something goes wrong little by little
		l.size[instance] = usual * 6 / 10
		l.night(instance, l.size[instance])
	case n < 14:
		l.forgetOne(instance)
	case n < 15:
		l.prune()
	default:
		p := randomPolicy(l.rng)
		if p.AllowRemoveAll = false; l.rng.IntN(2) == 0 {
			p = Policy{Last: 1}
		}
		l.policy(p, n == 19 && l.rng.IntN(2) == 0)
	}
}

// No policy removes anything while a bad night is listed that no person has confirmed, whatever was forgotten by name,
// pruned or confirmed before, in this instance or the other.
func TestNoBadNightDisplacesAGoodOne(t *testing.T) {
	t.Parallel()
	removed, refused := 0, 0
	for seed := range uint64(20) {
		w := newWorld(t)
		l := &life{world: w, r: w.open(w.owner), rng: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC),
			size: map[string]int64{"a.example": 1 << 32, "b.example": 1 << 36}, all: make(map[string][]*lived)}
		for range 80 {
			l.step()
		}
		removed, refused = removed+l.removed, refused+l.refused
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d snapshots removed by policies, %d policies refused", removed, refused)
}
