package retain

import (
	"permafrost/repo/ledger"
)

// keptGenerations is how many generations of snapshots in doubt a policy is applied to. A disk that is lost, a setting that is
// wrong, a database that is restored: each makes one. With the snapshots without doubt that is five times what the policy
// keeps, and it is the most that an instance which nobody looks after takes.
const keptGenerations = 4

// generations are snapshots in doubt, in the order of the log, as far as they are alike: if a doubt turns out to be unfounded,
// the generation that begins with it is what the instance has been like since, and a policy has kept of it what it should.
type generations struct {
	number int
	first  *ledger.SnapshotRef
	whole  bool // its snapshots are in doubt for their times
}

// join returns the generation that a snapshot in doubt belongs to.
func (g *generations) join(ref *ledger.SnapshotRef, v *Verdict) int {
	if g.first == nil || g.whole != v.whole() || !alike(&g.first.Holding, &ref.Holding) {
		g.number++
		g.first, g.whole = ref, v.whole()
	}
	return g.number
}

// alike reports whether neither of two snapshots has lost much of what the other has. Components that one of them does not
// have, since they failed that night, say nothing.
func alike(a, b *ledger.Holding) bool {
	for i := range measures {
		m := &measures[i]
		x, known := m.of(a)
		y, also := m.of(b)
		if known && also && (m.lost(&most{n: x}, y) || m.lost(&most{n: y}, x)) {
			return false
		}
	}
	return true
}
