package repo

import (
	"cmp"
	"slices"
	"strings"
)

// choose decides what goes.
func (p *prunePlan) choose() {
	living := p.livingListings()
	for i := range p.index.packs {
		ip := &p.index.packs[i]
		if ip.gone {
			continue
		}
		dead := ip.total - p.keeps[i]
		p.res.Live += p.keeps[i]
		p.res.Dead += dead
		switch {
		case !p.mine(ip), p.index.isContested(ip.name), p.livesElsewhere(uint32(i), living):
			// Where this key can't tell whose a pack is, it is left to the one that can. Where its listings contradict each
			// other, a check that reads it calls it bad.
		case p.keeps[i] == 0 && p.mayBeOthers(uint32(i)):
			// It waits until it is so old that a run would take notice.
		case p.keeps[i] == 0 && len(p.dead) < p.opts.packs():
			p.dead = append(p.dead, uint32(i))
		case float64(dead) <= p.opts.MaxUnused*float64(ip.total), ip.bad, p.opts.lean, len(p.dead)+len(p.rewrite) >= maxPruned:
		case p.canRead(ip):
			p.rewrite = append(p.rewrite, uint32(i))
		default:
			p.res.Waiting++
			p.res.WaitingFor += dead
		}
	}
	if most := p.opts.most; most > 0 && len(p.rewrite) > most { // first those that take the least room
		slices.SortStableFunc(p.rewrite, func(a, b uint32) int { return cmp.Compare(p.keeps[a], p.keeps[b]) })
		p.rewrite = p.rewrite[:most]
	}
	named := make(map[Name]bool)
	for _, n := range slices.Concat(p.dead, p.rewrite) {
		name := p.index.packs[n].name
		if named[name] {
			continue
		}
		named[name] = true
		p.entry.Packs = append(p.entry.Packs, name)
		p.res.Removed++
		p.res.Freed += p.sizes[n]
	}
	p.res.Rewritten = len(p.rewrite)
	p.chooseObjects()
}

// livingListings returns by how many of its listings a pack has something that lives, of packs that are listed several times.
func (p *prunePlan) livingListings() map[Name]int {
	living := make(map[Name]int)
	for same := range p.index.groups() {
		if len(same) == 1 {
			continue
		}
		for _, n := range same {
			if p.keeps[n] > 0 {
				living[p.index.packs[n].name]++
			}
		}
	}
	return living
}

// livesElsewhere reports whether something that lives is listed for a pack by another listing than n: somebody has listed it as
// what it is not, and a pack that goes is gone by all of its listings.
func (p *prunePlan) livesElsewhere(n uint32, living map[Name]int) bool {
	others := living[p.index.packs[n].name]
	if p.keeps[n] > 0 {
		others--
	}
	return others > 0
}

// chooseObjects names index objects that are spent, the manifests of forgotten snapshots, and what is left over.
func (p *prunePlan) chooseObjects() {
	p.entry.Indexes = p.spent()
	p.entry.Manifests = p.forgotten()
	p.res.Manifests = len(p.entry.Manifests)
	if p.res.Lost > 0 {
		// What is lost may yet be found in a pack that no index object lists.
		p.leftover = slices.DeleteFunc(p.leftover, func(o Object) bool { return strings.HasPrefix(o.Name, "packs/") })
	}
	for _, o := range p.leftover[:min(len(p.leftover), p.opts.packs())] {
		name, err := ParseName(o.Name[strings.LastIndexByte(o.Name, '/')+1:])
		if err != nil {
			continue // not one of ours: left alone
		}
		switch {
		case o.Name == packObject(name):
			p.entry.Packs = append(p.entry.Packs, name)
			p.res.Removed++
		case o.Name == indexObject(name):
			p.entry.Indexes = append(p.entry.Indexes, name)
		case o.Name == manifestObject(name):
			p.entry.Manifests = append(p.entry.Manifests, name)
		default:
			continue
		}
		p.res.LeftOver++
		p.res.Freed += o.Size
		p.doomed = append(p.doomed, o)
	}
}

// spent returns the index objects that this key may drop and that list nothing any more: prunes have named all that they
// list, or it never counted. A writer's prune leaves such objects where the owner has named them.
func (p *prunePlan) spent() (names []Name) {
	me := p.repo.log.scope(p.repo.key.verifyKey())
	there := func(ip indexedPack) bool {
		return ip.instance != "" && !ip.foreign && !p.repo.log.gone(packObject(ip.name), ip.instance)
	}
	for _, o := range p.index.objects {
		if o.live && !slices.ContainsFunc(p.index.packs[o.first:o.first+o.packs], there) && p.repo.log.mayDrop(me, o.name) {
			names = append(names, o.name)
		}
	}
	return names
}

// forgotten returns the manifests of forgotten snapshots that this key may prune, without those that a snapshot is made of
// which is not forgotten.
func (p *prunePlan) forgotten() (names []Name) {
	log := p.repo.log
	needed, seen := log.needed(), make(map[Name]bool)
	for _, s := range log.snapshots {
		object := manifestObject(s.Manifest)
		if _, gone := log.forgotten[s.ID]; !gone || seen[s.Manifest] || needed[object] || p.sentenced(object) {
			continue
		}
		if p.mine(&indexedPack{instance: s.Instance}) {
			seen[s.Manifest] = true
			names = append(names, s.Manifest)
		}
	}
	slices.SortFunc(names, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
	return names
}
