package upkeep

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

const (
	here  = "here.example"
	there = "there.example"
)

// A listedPack is a pack of 100 bytes as index object `object` lists it for an instance, here if none is said.
type listedPack struct {
	pack, object byte
	instance     string
	live         int64 // bytes that snapshots need of it by this listing
	component    pack.Component
	digest       byte // listings with different ones say different things of the pack
	young        bool
	others       bool // it may have been written for another instance than this one
	removed      bool // who lists it is no longer on the list of keys
	size         int64
	stored       int64 // 0: as listed; -1: missing
}

// A scene is what a plan is made of.
type scene struct {
	packs  []listedPack   // those of an object together
	writer bool           // the key is that of here's writer, not the owner's
	store  []store.Object // further objects
	log    func(h *ledger.History)
	lost   int
	opts   PruneOptions
}

var (
	sceneNow   = time.Date(2026, 6, 30, 3, 0, 0, 0, time.UTC)
	longAgo    = sceneNow.Add(-1000 * time.Hour)
	sceneOwner = ed25519.PublicKey(bytes.Repeat([]byte{1}, ed25519.PublicKeySize))
	hereKey    = ed25519.PublicKey(bytes.Repeat([]byte{2}, ed25519.PublicKeySize))
	thereKey   = ed25519.PublicKey(bytes.Repeat([]byte{3}, ed25519.PublicKeySize))
)

func (s *scene) history() *ledger.History {
	h := ledger.New(&keys.Keyring{OwnerKey: sceneOwner})
	h.Roster.People = []ledger.Person{
		{Name: "a", Role: keys.RoleWriter, Instance: here, MayForget: true, VerifyKey: hereKey},
		{Name: "b", Role: keys.RoleWriter, Instance: there, MayForget: true, VerifyKey: thereKey},
	}
	if s.log != nil {
		s.log(h)
	}
	return h
}

// instanceOf returns for whom a pack is listed.
func instanceOf(l *listedPack) string { return cmp.Or(l.instance, here) }

// indexOf returns the index of a scene, by the log, and names its objects there.
func (s *scene) indexOf(h *ledger.History) *index.Index {
	x := &index.Index{}
	for i := range s.packs {
		l := &s.packs[i]
		if n := len(x.Objects); n == 0 || x.Objects[n-1].Name != (store.Name{l.object}) {
			key := map[string]ed25519.PublicKey{here: hereKey, there: thereKey}[instanceOf(l)]
			h.Indexes.Add(store.Name{l.object}, h.Roster.Scope(key))
			x.Objects = append(x.Objects, index.Object{Name: store.Name{l.object}, Instance: instanceOf(l), Trusted: !l.removed, Live: true, First: uint32(i)})
		}
		o := &x.Objects[len(x.Objects)-1]
		o.Packs++
		x.Packs = append(x.Packs, index.Pack{Instance: instanceOf(l), Trusted: o.Trusted, Listing: index.Listing{
			Name: store.Name{l.pack}, Digest: [16]byte{l.digest}, Size: cmp.Or(l.size, 100), Component: l.component, Total: 100, Object: uint32(len(x.Objects) - 1)}})
	}
	for i := range x.Packs {
		p := &x.Packs[i]
		p.Hidden, p.Reported = h.PrunedFor(store.Pack.Object(p.Name), p.Instance), h.IsReported(p.Name, p.Instance)
	}
	x.Arrange()
	return x
}

// newInventory returns a scene's inventory, with the sizes of packs.
func (s *scene) inventory() inventory {
	h := s.history()
	v := inventory{head: ledger.Head{Seq: 7}, log: h, me: sceneOwner, reads: !s.writer, index: s.indexOf(h)}
	if s.writer {
		v.me = hereKey
	}
	v.by = h.Roster.Scope(v.me)
	v.sizes = make([]int64, len(s.packs))
	return v
}

// plan makes the plan of a scene as a prune does, with a survey of what is in the store.
func (s *scene) plan() *prunePlan {
	sv := newSurveyor(s.inventory(), sceneNow, ledger.Grace)
	m := &marks{keeps: make([]int64, len(s.packs)), others: index.NewBitset(len(s.packs)), lost: s.lost}
	for i, l := range s.packs {
		if m.keeps[i] = l.live; l.others {
			m.others.Set(i)
		}
		o := store.Object{Name: store.Pack.Object(store.Name{l.pack}), Size: cmp.Or(l.stored, l.size, 100), Time: longAgo}
		if l.young {
			o.Time = sceneNow.Add(-time.Hour)
		}
		sv.add(o)
	}
	for _, o := range s.store {
		sv.add(o)
	}
	o := s.opts
	o.MaxUnused = DefaultMaxUnused
	return planPrune(&sv.survey, m, o)
}

// short returns an object's name in short.
func short(object string) string {
	dir, _, _ := strings.Cut(object, "/")
	base := object[strings.LastIndexByte(object, '/')+1:]
	if n, err := store.ParseName(base); err == nil {
		return fmt.Sprint(strings.TrimSuffix(dir, "s"), " ", n[0])
	}
	return object
}

// tell returns what a plan says, with packs and index objects by the first bytes of their names.
func (p *prunePlan) tell(x *index.Index) string {
	var parts []string
	tell := func(what string, list ...string) {
		if len(list) > 0 {
			parts = append(parts, what+" "+strings.Join(list, ", "))
		}
	}
	packs := func(numbers []uint32) (out []string) {
		for _, n := range numbers {
			out = append(out, fmt.Sprint(x.Packs[n].Name[0]))
		}
		return out
	}
	objects := func(numbers []uint32) (out []string) {
		for _, n := range numbers {
			out = append(out, fmt.Sprint(x.Objects[n].Name[0]))
		}
		return out
	}
	names := func(of func(store.Name) string, names []store.Name) (out []string) {
		for _, n := range names {
			out = append(out, short(of(n)))
		}
		return out
	}
	tell("dead", packs(p.dead)...)
	tell("rewrite", packs(p.rewrite)...)
	tell("replace", objects(p.replaced)...)
	tell("name", slices.Concat(names(store.Pack.Object, p.entry.Packs), names(store.Index.Object, p.entry.Indexes), names(store.Manifest.Object, p.entry.Manifests))...)
	var deletes []string
	for _, o := range p.deletes {
		deletes = append(deletes, short(o))
	}
	tell("delete", deletes...)
	return strings.Join(parts, "; ")
}

func namedBy(h *ledger.History, object string, keys ...ed25519.PublicKey) {
	for _, key := range keys {
		h.Pruned[object] = h.Pruned[object].With(h.Roster.Scope(key))
	}
}

// sceneSnapshot puts a snapshot into the log, which may be forgotten.
func sceneSnapshot(h *ledger.History, n byte, instance string, forgotten bool) {
	h.Snapshots.All = append(h.Snapshots.All, ledger.SnapshotRef{ID: store.Name{n}, Manifest: store.Name{n}, SnapshotInfo: ledger.SnapshotInfo{Instance: instance}})
	if forgotten {
		h.Snapshots.Forgotten[store.Name{n}] = 1
	}
}

func TestPrunePlan(t *testing.T) {
	bad := func(packs ...byte) func(h *ledger.History) {
		return func(h *ledger.History) {
			for _, n := range packs {
				h.Reported[store.Name{n}] = ledger.Scopes{h.Roster.Scope(sceneOwner)}
			}
		}
	}
	old := func(object string) store.Object { return store.Object{Name: object, Size: 10, Time: longAgo} }
	recent := func(object string) store.Object {
		return store.Object{Name: object, Size: 10, Time: sceneNow.Add(-ledger.Grace + time.Second)}
	}
	for name, c := range map[string]struct {
		scene
		want string
	}{
		"there is nothing": {},
		"all is needed": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, live: 100}, {pack: 2, object: 1, live: 100}}},
		},
		"a pack is dead, another one lives": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 2, object: 1, live: 100}}},
			want:  "dead 1; replace 1; name pack 1, index 1; delete pack 1, index 1",
		},
		"the dead share is below what may be, and above it": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, live: 95}, {pack: 2, object: 2, live: 94}}},
			want:  "rewrite 2; replace 2; name pack 2, index 2; delete pack 2, index 2",
		},
		"some go, and some are moved": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, live: 10}, {pack: 2, object: 1}, {pack: 3, object: 2, live: 100}}},
			want:  "dead 2; rewrite 1; replace 1; name pack 2, pack 1, index 1; delete pack 2, pack 1, index 1",
		},

		"young packs": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, young: true}, {pack: 2, object: 1, young: true, live: 10}}},
			want:  "dead 1; rewrite 2; replace 1; name pack 1, pack 2, index 1; delete pack 1, pack 2, index 1",
		},
		"young packs that may be another instance's": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, young: true, others: true}, {pack: 2, object: 1, young: true, others: true, live: 10}}},
			want:  "rewrite 2; replace 1; name pack 2, index 1; delete pack 2, index 1",
		},

		"packs called bad: one with nothing that lives goes, others are for a repair": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 2, object: 1, live: 10}, {pack: 3, object: 1, live: 100}}, log: bad(1, 2, 3)},
			want:  "dead 1; replace 1; name pack 1, index 1; delete pack 1, index 1",
		},
		"who calls a pack bad speaks for another instance": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, live: 10}}, log: func(h *ledger.History) { h.Reported[store.Name{1}] = ledger.Scopes{h.Roster.Scope(thereKey)} }},
			want:  "rewrite 1; replace 1; name pack 1, index 1; delete pack 1, index 1",
		},

		"a pack is listed for two instances": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 1, object: 2, instance: there}}},
		},
		"a pack is listed in two ways, and one of them lives": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 1, object: 2, digest: 1, live: 100}}},
		},
		"a pack is listed in two ways, and both live": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, live: 10}, {pack: 1, object: 2, digest: 1, live: 10}}},
		},
		"a pack is listed in two ways, and both are dead": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 1, object: 2, digest: 1}}},
			want:  "dead 1, 1; replace 1, 2; name pack 1, index 1, index 2; delete pack 1, pack 1, index 1, index 2",
		},
		"a pack is listed twice in the same way, and lives": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, live: 100}, {pack: 1, object: 2}}},
		},
		"a pack is listed twice in the same way, and is dead": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 1, object: 2}, {pack: 2, object: 2, live: 100}}},
			want:  "dead 1; replace 1, 2; name pack 1, index 1, index 2; delete pack 1, index 1, index 2",
		},

		"packs of others are not a writer's": {
			scene: scene{writer: true, packs: []listedPack{{pack: 1, object: 1, component: pack.Meta}, {pack: 2, object: 2, instance: there, component: pack.Meta}}},
			want:  "dead 1; replace 1; name pack 1, index 1; delete pack 1, index 1",
		},
		"packs of others are the owner's": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 2, object: 2, instance: there}}},
			want:  "dead 1, 2; replace 1, 2; name pack 1, pack 2, index 1, index 2; delete pack 1, pack 2, index 1, index 2",
		},
		"a writer moves what it can read": {
			scene: scene{writer: true, packs: []listedPack{{pack: 1, object: 1, live: 10, component: pack.Meta}, {pack: 2, object: 1, live: 10, component: pack.Media}}},
			want:  "rewrite 1; replace 1; name pack 1, index 1; delete pack 1, index 1",
		},
		"what a removed writer lists is not signed anew": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, removed: true}, {pack: 2, object: 1, removed: true, live: 100}}},
			want:  "dead 1; name pack 1; delete pack 1",
		},
		"an index object that others name stays": {
			scene: scene{writer: true, packs: []listedPack{{pack: 1, object: 1}, {pack: 2, object: 1, live: 100}},
				log: func(h *ledger.History) { h.Indexes.Add(store.Name{1}, h.Roster.Scope(thereKey)) }},
			want: "dead 1; name pack 1; delete pack 1",
		},
		"an index object lists nothing any more": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1}, {pack: 2, object: 2, live: 100}},
				log: func(h *ledger.History) { namedBy(h, store.Pack.Object(store.Name{1}), sceneOwner) }},
			want: "name index 1; delete pack 1, index 1",
		},

		"old objects that no entry names": {
			scene: scene{store: []store.Object{old(store.Pack.Object(store.Name{1})), old(store.Index.Object(store.Name{2})), old(store.Manifest.Object(store.Name{3})), old("tmp/1")}},
			want:  "name pack 1, index 2, manifest 3; delete tmp/1, pack 1, index 2, manifest 3, index 2, manifest 3",
		},
		"objects within the grace": {
			scene: scene{store: []store.Object{recent(store.Pack.Object(store.Name{1})), recent(store.Index.Object(store.Name{2})), recent(store.Manifest.Object(store.Name{3})), recent("tmp/1")}},
		},
		"something is lost: it may be in a pack that nothing lists": {
			scene: scene{store: []store.Object{old(store.Pack.Object(store.Name{1})), old(store.Index.Object(store.Name{2}))}, lost: 1},
			want:  "name index 2; delete index 2, index 2",
		},
		"what earlier entries name is deleted without a further one": {
			scene: scene{store: []store.Object{recent(store.Pack.Object(store.Name{1})), recent(store.Pack.Object(store.Name{2}))}, log: func(h *ledger.History) {
				namedBy(h, store.Pack.Object(store.Name{1}), sceneOwner)
				namedBy(h, store.Pack.Object(store.Name{2}), thereKey)
			}},
			want: "delete pack 1",
		},
		"a writer deletes what itself has named, and the owner": {
			scene: scene{writer: true, store: []store.Object{recent(store.Pack.Object(store.Name{1})), recent(store.Pack.Object(store.Name{2})), recent(store.Pack.Object(store.Name{3}))}, log: func(h *ledger.History) {
				namedBy(h, store.Pack.Object(store.Name{1}), sceneOwner)
				namedBy(h, store.Pack.Object(store.Name{2}), thereKey)
				namedBy(h, store.Pack.Object(store.Name{3}), thereKey, hereKey)
			}},
			want: "delete pack 1, pack 3",
		},
		"what others have named is left over like what nobody has": {
			scene: scene{store: []store.Object{old(store.Pack.Object(store.Name{1}))}, log: func(h *ledger.History) { namedBy(h, store.Pack.Object(store.Name{1}), thereKey) }},
			want:  "name pack 1; delete pack 1",
		},
		"what the log needs stays, whoever named it": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, live: 100}}, store: []store.Object{old(store.Index.Object(store.Name{1})), old(store.Manifest.Object(store.Name{2}))}, log: func(h *ledger.History) {
				sceneSnapshot(h, 2, here, false)
				namedBy(h, store.Pack.Object(store.Name{1}), thereKey)
				namedBy(h, store.Index.Object(store.Name{1}), sceneOwner)
				namedBy(h, store.Manifest.Object(store.Name{2}), sceneOwner)
			}},
		},
		"junk is the owner's to delete": {
			scene: scene{store: []store.Object{recent("packs/junk"), old("index/0")}},
			want:  "delete packs/junk, index/0",
		},
		"junk is not a writer's": {
			scene: scene{writer: true, store: []store.Object{recent("packs/junk"), old("index/0")}},
		},

		"manifests of forgotten snapshots": {
			scene: scene{log: func(h *ledger.History) {
				sceneSnapshot(h, 2, here, true)
				sceneSnapshot(h, 1, there, true)
				sceneSnapshot(h, 3, here, false)
			}},
			want: "name manifest 1, manifest 2; delete manifest 1, manifest 2",
		},
		"manifests of others are not a writer's": {
			scene: scene{writer: true, log: func(h *ledger.History) {
				sceneSnapshot(h, 1, here, true)
				sceneSnapshot(h, 2, there, true)
			}},
			want: "name manifest 1; delete manifest 1",
		},
		"a manifest of a forgotten snapshot and of one that is not": {
			scene: scene{log: func(h *ledger.History) {
				sceneSnapshot(h, 1, here, true)
				h.Snapshots.All = append(h.Snapshots.All, ledger.SnapshotRef{ID: store.Name{9}, Manifest: store.Name{1}, SnapshotInfo: ledger.SnapshotInfo{Instance: here}})
			}},
		},

		"without room nothing is written but the entry": {
			scene: scene{opts: PruneOptions{lean: true}, packs: []listedPack{{pack: 1, object: 1}, {pack: 2, object: 1, live: 10}}},
			want:  "dead 1; name pack 1; delete pack 1",
		},
		"with little room those are moved first of which least lives": {
			scene: scene{opts: PruneOptions{most: 1}, packs: []listedPack{{pack: 1, object: 1, live: 20}, {pack: 2, object: 1, live: 10}, {pack: 3, object: 1}}},
			want:  "dead 3; rewrite 2; replace 1; name pack 3, pack 2, index 1; delete pack 3, pack 2, index 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.plan()
			if got := p.tell(c.indexOf(c.history())); got != c.want {
				t.Errorf("planned\n%s\nwant\n%s", got, c.want)
			}
			if p.empty() == strings.Contains(c.want, "name") || p.head.Seq != 7 {
				t.Errorf("empty: %v, on entry %d", p.empty(), p.head.Seq)
			}
		})
	}
}

// The result of a plan counts what it says.
func TestPrunePlanResult(t *testing.T) {
	s := scene{
		writer: true,
		packs: []listedPack{
			{pack: 1, object: 1, component: pack.Meta},
			{pack: 2, object: 1, component: pack.Meta, live: 10, stored: 90},
			{pack: 3, object: 1, component: pack.Media, live: 40},
			{pack: 4, object: 1, component: pack.Media, live: 100},
		},
		store: []store.Object{{Name: store.Pack.Object(store.Name{5}), Size: 7, Time: longAgo}, {Name: store.Index.Object(store.Name{6}), Size: 5, Time: longAgo}},
		log:   func(h *ledger.History) { sceneSnapshot(h, 1, here, true) },
	}
	want := PruneResult{Live: 150, Dead: 250, Removed: 3, Freed: 100 + 90 + 7 + 5, Rewritten: 1, Waiting: 1, WaitingFor: 60, Manifests: 1, LeftOver: 2}
	if got := s.plan().result; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// One entry names no more than it may.
func TestPrunePlanIsBounded(t *testing.T) {
	s := scene{opts: PruneOptions{lean: true}}
	for i := range leanPacks + 10 {
		name := store.Name{1, byte(i >> 8), byte(i)}
		s.store = append(s.store, store.Object{Name: store.Pack.Object(name), Time: longAgo})
	}
	if p := s.plan(); len(p.entry.Packs) != leanPacks || len(p.deletes) != leanPacks {
		t.Errorf("%d packs named, %d objects deleted; want %d", len(p.entry.Packs), len(p.deletes), leanPacks)
	}
}

func TestSalvagePlan(t *testing.T) {
	for name, c := range map[string]struct {
		scene
		want string
	}{
		"all is as listed": {scene: scene{packs: []listedPack{{pack: 1, object: 1}}}},
		"one is missing: it is taken off the index, and not named": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, stored: -1}, {pack: 2, object: 1}}},
			want:  "rewrite 1; replace 1; name index 1",
		},
		"one is missing that is taken off the index by its name alone": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, stored: -1, removed: true}, {pack: 2, object: 1, removed: true}}},
			want:  "rewrite 1; name pack 1",
		},
		"one is cut, another one called bad": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, stored: 60}, {pack: 2, object: 2}, {pack: 3, object: 2}},
				log: func(h *ledger.History) { h.Reported[store.Name{2}] = ledger.Scopes{h.Roster.Scope(sceneOwner)} }},
			want: "rewrite 1, 2; replace 1, 2; name pack 1, pack 2, index 1, index 2",
		},
		"what is named is gone by all of its listings": {
			scene: scene{packs: []listedPack{{pack: 1, object: 1, size: 60, stored: 100}, {pack: 1, object: 2, digest: 1}}},
			want:  "rewrite 1, 1; replace 1, 2; name pack 1, index 1, index 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := c.inventory()
			for i, l := range c.packs {
				v.sizes[i] = max(cmp.Or(l.stored, l.size, 100), 0)
			}
			if got := planSalvage(&v).tell(v.index); got != c.want {
				t.Errorf("planned\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
