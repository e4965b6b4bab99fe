package upkeep

import (
	"cmp"
	"slices"
	"strings"

	"permafrost/repo/internal/index"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A prunePlan is what a prune, or a repair of packs, is to do. Packs and index objects are numbered as in the index.
type prunePlan struct {
	head     ledger.Head       // of the log that it was made by: the entry stands upon that, or not at all
	dead     []uint32          // packs that go
	rewrite  []uint32          // packs that go once their live part is moved
	goes     index.Bitset      // both, by pack
	touched  []uint32          // index objects that list a pack which goes
	replaced []uint32          // of these, those that give way to new ones
	entry    ledger.PruneEntry // without the index objects that the rewriting adds
	deletes  []string          // objects, once the entry stands: those that it names, and what earlier ones have named
	result   PruneResult
}

// planPrune decides what goes. It asks nobody: the same survey and marks give the same plan.
func planPrune(s *survey, m *marks, o PruneOptions) *prunePlan {
	p := &prunePlan{head: s.head, result: PruneResult{Lost: m.lost}}
	for _, obj := range s.junk {
		p.result.LeftOver++
		p.result.Freed += obj.Size
	}
	p.choosePacks(s, m, o)
	p.namePacks(s)
	p.entry.Indexes = s.emptied()
	p.entry.Manifests = s.forgotten()
	p.result.Manifests = len(p.entry.Manifests)
	for _, obj := range s.deletable {
		p.deletes = append(p.deletes, obj.Name)
	}
	p.nameLeftover(s, o.packs())
	p.follow(&s.inventory)
	if !o.lean { // else what is listed of packs that are gone is passed over, as where it can't be replaced
		p.replace(&s.inventory)
		p.entry.Records = s.by.Recordable(o.Records)
	}
	p.deleteNamed(s.index)
	return p
}

// empty reports whether nothing is left to be said by an entry.
func (p *prunePlan) empty() bool {
	return len(p.entry.Packs)+len(p.entry.Indexes)+len(p.entry.Manifests) == 0
}

// choosePacks decides which packs go, and of which a part is moved.
func (p *prunePlan) choosePacks(s *survey, m *marks, o PruneOptions) {
	living := m.livingListings(s.index)
	for i := range s.index.Packs {
		ip := &s.index.Packs[i]
		if ip.Hidden {
			continue
		}
		dead := ip.Total - m.keeps[i]
		p.result.Live += m.keeps[i]
		p.result.Dead += dead
		switch {
		case !s.by.Serves(ip.Instance), s.index.IsContested(ip.Name), m.livesElsewhere(ip, i, living):
			// Where this key can't tell whose a pack is, it is left to the one that can. Where its listings contradict each
			// other, a check that reads it reports it damaged.
		case m.keeps[i] == 0 && m.others.Has(i):
			// It waits until it is so old that a run would take notice.
		case m.keeps[i] == 0 && len(p.dead) < o.packs():
			p.dead = append(p.dead, uint32(i))
		case float64(dead) <= o.MaxUnused*float64(ip.Total), ip.Reported, o.lean, len(p.dead)+len(p.rewrite) >= maxPruned:
		case s.canRead(ip):
			p.rewrite = append(p.rewrite, uint32(i))
		default:
			p.result.Waiting++
			p.result.WaitingFor += dead
		}
	}
	if o.most > 0 && len(p.rewrite) > o.most { // first those that take the least room
		slices.SortStableFunc(p.rewrite, func(a, b uint32) int { return cmp.Compare(m.keeps[a], m.keeps[b]) })
		p.rewrite = p.rewrite[:o.most]
	}
	p.result.Rewritten = len(p.rewrite)
}

// livingListings returns by how many of its listings a pack has something that lives, of packs that are listed several times.
func (m *marks) livingListings(x *index.Index) map[store.Name]int {
	living := make(map[store.Name]int)
	for same := range x.Groups() {
		if len(same) == 1 {
			continue
		}
		for _, n := range same {
			if m.keeps[n] > 0 {
				living[x.Packs[n].Name]++
			}
		}
	}
	return living
}

// livesElsewhere reports whether something that lives is listed for a pack by another listing than the one numbered n: somebody
// has listed it as what it is not, and a pack that goes is gone by all of its listings.
func (m *marks) livesElsewhere(ip *index.Pack, n int, living map[store.Name]int) bool {
	others := living[ip.Name]
	if m.keeps[n] > 0 {
		others--
	}
	return others > 0
}

// namePacks names the packs that go, each once however often it is listed.
func (p *prunePlan) namePacks(s *survey) {
	listed := make(map[store.Name]bool)
	for _, n := range p.going() {
		name := s.index.Packs[n].Name
		if listed[name] {
			continue
		}
		listed[name] = true
		p.entry.Packs = append(p.entry.Packs, name)
		p.result.Removed++
		p.result.Freed += s.sizes[n]
	}
}

// going returns the packs that go.
func (p *prunePlan) going() []uint32 { return slices.Concat(p.dead, p.rewrite) }

// nameLeftover names what is left over, as much as one entry may name.
func (p *prunePlan) nameLeftover(s *survey, most int) {
	leftover := s.leftover
	if p.result.Lost > 0 {
		// What is lost may yet be found in a pack that no index object lists.
		leftover = slices.DeleteFunc(slices.Clone(leftover), func(o store.Object) bool {
			kind, _ := store.Parse(o.Name)
			return kind == store.Pack
		})
	}
	for _, o := range leftover[:min(len(leftover), most)] {
		switch kind, name := store.Parse(o.Name); kind {
		case store.Pack:
			p.entry.Packs = append(p.entry.Packs, name)
			p.result.Removed++
		case store.Index:
			p.entry.Indexes = append(p.entry.Indexes, name)
		case store.Manifest:
			p.entry.Manifests = append(p.entry.Manifests, name)
		default:
			continue // not one of ours: left alone
		}
		p.result.LeftOver++
		p.result.Freed += o.Size
		p.deletes = append(p.deletes, o.Name)
	}
}

// follow notes what follows for the index of the packs that go.
func (p *prunePlan) follow(v *inventory) {
	p.goes = index.NewBitset(len(v.index.Packs))
	for _, n := range p.going() {
		p.goes.Set(int(n))
	}
	p.touched = v.touched(p.going())
}

// replace names the index objects that list a pack which goes and give way to new ones. What can't be replaced stays as it
// is: it then lists packs that are gone, until all that it lists are (see emptied).
func (p *prunePlan) replace(v *inventory) {
	for _, o := range p.touched {
		if v.replaceable(o) {
			p.replaced = append(p.replaced, o)
			p.entry.Indexes = append(p.entry.Indexes, v.index.Objects[o].Name)
		}
	}
}

// deleteNamed has the packs that go deleted, and the other objects that the entry names.
func (p *prunePlan) deleteNamed(x *index.Index) {
	for _, n := range p.going() {
		p.deletes = append(p.deletes, store.Pack.Object(x.Packs[n].Name))
	}
	for _, n := range p.entry.Indexes {
		p.deletes = append(p.deletes, store.Index.Object(n))
	}
	for _, n := range p.entry.Manifests {
		p.deletes = append(p.deletes, store.Manifest.Object(n))
	}
}

// emptied returns the index objects that this key may drop and that list nothing any more: prunes have named all that they
// list, or it never counted. A writer's prune leaves such objects where the owner has named them.
func (v *inventory) emptied() (names []store.Name) {
	there := func(ip index.Pack) bool {
		return ip.Instance != "" && !ip.Foreign && !v.log.PrunedFor(store.Pack.Object(ip.Name), ip.Instance)
	}
	for _, o := range v.index.Objects {
		if o.Live && !slices.ContainsFunc(v.index.Packs[o.First:o.First+o.Packs], there) && v.log.Indexes.MayDrop(v.by, o.Name) {
			names = append(names, o.Name)
		}
	}
	return names
}

// forgotten returns the manifests of forgotten snapshots that this key may prune, without those that a snapshot is made of
// which is not forgotten.
func (v *inventory) forgotten() (names []store.Name) {
	needed, seen := v.log.Needed(), make(map[store.Name]bool)
	for _, s := range v.log.Snapshots.All {
		object := store.Manifest.Object(s.Manifest)
		if _, gone := v.log.Snapshots.Forgotten[s.ID]; !gone || seen[s.Manifest] || needed[object] || v.mayDelete(object) {
			continue
		}
		if v.by.Serves(s.Instance) {
			seen[s.Manifest] = true
			names = append(names, s.Manifest)
		}
	}
	slices.SortFunc(names, func(a, b store.Name) int { return strings.Compare(a.String(), b.String()) })
	return names
}
