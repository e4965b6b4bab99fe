package upkeep

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"permafrost/repo/cause"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/headers"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// An inventory is what index objects list, and what the storage has of it.
type inventory struct {
	head  ledger.Head // of the log, as it stands
	log   *ledger.History
	me    ed25519.PublicKey
	by    ledger.Scope // what this key speaks for
	reads bool         // this key opens packs of content
	index *index.Index
	sizes []int64 // of each pack as it is in the store, 0 where it is missing
}

// newInventory returns the inventory of an index, with no sizes yet.
func newInventory(c *core.Core, x *index.Index) inventory {
	me := c.Key.VerifyKey()
	return inventory{head: c.Log.Head, log: c.Log.History, me: me, by: c.Log.Roster.Scope(me), reads: c.Key.CanRead(), index: x, sizes: make([]int64, len(x.Packs))}
}

// canRead reports whether this key reads a pack's content.
func (v *inventory) canRead(ip *index.Pack) bool { return ip.Component == pack.Meta || v.reads }

// mayDelete reports whether an object that nothing needs can be deleted by what the log says already: the owner has named it,
// which every run heeds, or this key itself. What others have named is left over like what nobody has: a run of another
// instance may take no notice of that, and be about to publish what it has uploaded.
func (v *inventory) mayDelete(object string) bool {
	return slices.ContainsFunc(v.log.Pruned[object], func(by ledger.Scope) bool { return by.Owner || v.me.Equal(ed25519.PublicKey(by.Person.VerifyKey)) })
}

// replaceable reports whether an index object may give way to one that this key signs: it may be dropped, and is trusted.
// What the new signature vouches for is deduplicated against, and nobody has read what a removed writer listed.
func (v *inventory) replaceable(o uint32) bool {
	return v.index.Objects[o].Trusted && v.log.Indexes.MayDrop(v.by, v.index.Objects[o].Name)
}

// touched returns the index objects that list a pack which goes, as the index numbers them: those too of which the listing
// is hidden, since another one says the same.
func (v *inventory) touched(goes []uint32) []uint32 {
	names := make(map[store.Name]bool)
	for _, n := range goes {
		names[v.index.Packs[n].Name] = true
	}
	objects := make(map[uint32]bool)
	for i := range v.index.Packs {
		ip := &v.index.Packs[i]
		if names[ip.Name] && v.index.Objects[ip.Object].Live {
			objects[ip.Object] = true
		}
	}
	return slices.Sorted(maps.Keys(objects))
}

// A survey is what there is that a prune may touch.
type survey struct {
	inventory
	young     index.Bitset   // packs that a run of another instance may have put, and be about to list
	deletable []store.Object // needed by nothing, and named by an earlier entry, an upload that was given up, or junk
	junk      []store.Object // of these, what has no name that an object can have
	leftover  []store.Object // old, and in no log entry: one has to name it first
}

// takeSurvey looks at all that there is. now is the time by the storage's clock.
func takeSurvey(ctx context.Context, c *core.Core, now time.Time, grace time.Duration) (*survey, error) {
	x, err := c.Indexes.Load(ctx, c.Log.History, func(err error) error { return err })
	if err != nil {
		return nil, cause.Errorf(cause.IndexDamaged, "prune needs the whole index: %w", err)
	}
	if err := mayPrune(c); err != nil {
		return nil, err
	}
	if err := headers.SortOut(ctx, c, c.Log.History, x, x.Contested(), headers.NoteError(c), headers.Ignore); err != nil {
		return nil, err
	}
	s := newSurveyor(newInventory(c, x), now, grace)
	if err := s.list(ctx, c); err != nil {
		return nil, err
	}
	found := s.survey
	return &found, nil
}

// mayPrune returns an error unless this key may prune: the owner key may all, a writer's those packs that it serves, where the list
// of keys lets it forget.
func mayPrune(c *core.Core) error {
	if !c.Log.Roster.Scope(c.Key.VerifyKey()).MayForget() {
		return &ledger.NotAllowedError{Right: ledger.RightPrune, Why: "the list of keys does not let this writer prune"}
	}
	return nil
}

// A surveyor makes a survey of the objects in the store.
type surveyor struct {
	survey
	now           time.Time // by the storage's clock
	grace         time.Duration
	known, needed map[string]bool // see [ledger.History.Objects] and [ledger.History.Needed]
}

func newSurveyor(v inventory, now time.Time, grace time.Duration) *surveyor {
	return &surveyor{survey: survey{inventory: v, young: index.NewBitset(len(v.index.Packs))}, now: now, grace: grace, known: v.log.Objects(), needed: v.log.Needed()}
}

// list looks at every object in the store that a prune may touch. What this machine has copies of must be there too.
func (s *surveyor) list(ctx context.Context, c *core.Core) error {
	missing := maps.Clone(s.needed)
	for _, dir := range []string{store.Pack.Dir(), store.Index.Dir(), store.Manifest.Dir(), store.Temp + "/"} {
		for o, err := range c.Store.List(ctx, dir) {
			if err != nil {
				return fmt.Errorf("listing %s: %w", dir, err)
			}
			delete(missing, o.Name)
			s.add(o)
		}
	}
	if err := s.listJunk(ctx, c); err != nil {
		return err
	}
	if err := s.spareLeftOut(ctx, c); err != nil {
		return err
	}
	for object := range missing {
		lost := cause.IndexMissing
		if strings.HasPrefix(object, "manifests/") {
			lost = cause.ManifestMissing
		}
		return cause.Errorf(lost, "refusing to prune: %w", &store.DamageError{Object: object, Err: errors.New("is missing")})
	}
	return nil
}

// add notes what an object is to a prune.
func (s *surveyor) add(o store.Object) {
	upload := store.InTemp(o.Name)
	if kind, _ := store.Parse(o.Name); !upload && kind == store.None {
		s.addJunk(o)
		return
	}
	age := s.now.Sub(o.Time)
	switch {
	case s.isListed(o, age <= ledger.Grace), s.needed[o.Name]: // whatever somebody else's prune has named
	case s.mayDelete(o.Name), upload && age > s.grace:
		s.deletable = append(s.deletable, o)
	case !upload && !s.known[o.Name] && age > s.grace:
		s.leftover = append(s.leftover, o)
	}
}

// spareLeftOut takes off the leftovers what an entry may name that the log leaves out: it may be a snapshot. Packs tell for whom they were
// written, so nobody's entry keeps packs of an instance that its signer had no right to.
func (s *surveyor) spareLeftOut(ctx context.Context, c *core.Core) error {
	if len(s.log.LeftOut) == 0 {
		return nil
	}
	var packs []store.Name
	for _, o := range s.leftover {
		if kind, name := store.Parse(o.Name); kind == store.Pack {
			packs = append(packs, name)
		}
	}
	openers, err := headers.Read(ctx, c, s.index.Keys, packs)
	if err != nil {
		return err
	}
	of := make(map[string]*pack.Opener)
	for i, name := range packs {
		of[store.Pack.Object(name)] = openers[i]
	}
	s.leftover = slices.DeleteFunc(s.leftover, func(o store.Object) bool {
		switch opener, pack := of[o.Name]; {
		case !pack:
			return true
		case opener == nil:
			return !s.reads // who reads all packs, and can't open this one, has nothing to lose by it
		default:
			return slices.ContainsFunc(s.log.LeftOut, func(by ledger.Scope) bool { return mayBeOf(opener, by) })
		}
	})
	return nil
}

// mayBeOf reports whether a pack may be of an instance that a signer speaks for.
func mayBeOf(o *pack.Opener, by ledger.Scope) bool {
	return by.Owner || by.Person.Instance == "" || o.IsFor(by.Person.Instance)
}

// isListed reports whether an object is a pack with listings that are not gone, and notes its size.
func (s *survey) isListed(o store.Object, young bool) bool {
	kind, name := store.Parse(o.Name)
	if kind != store.Pack {
		return false
	}
	listed := s.index.Listed(name)
	for _, n := range listed {
		s.sizes[n] = o.Size
		if young {
			s.young.Set(int(n))
		}
	}
	return len(listed) > 0
}

// listJunk looks for what has no name of a repository's objects, or a number of the log that is out of reach.
func (s *surveyor) listJunk(ctx context.Context, c *core.Core) error {
	var junk []store.Object
	err := eachJunk(ctx, c, s.log, []store.Kind{store.Key, store.Log}, func(o store.Object) { junk = append(junk, o) })
	if err != nil {
		return err
	}
	for _, o := range junk {
		if comes, err := mayComeIntoReach(ctx, c, o); err != nil {
			return err
		} else if !comes {
			s.addJunk(o)
		}
	}
	return nil
}

// mayComeIntoReach reports whether an object below log/ is an entry by somebody on the list of keys. It is none yet; but it may be
// one to others by the time that it is deleted, if its signer adds to the log meanwhile.
func mayComeIntoReach(ctx context.Context, c *core.Core, o store.Object) (bool, error) {
	seq, far := c.Log.OutOfReach[o.Name]
	if !far || c.Key.Role != keys.RoleOwner {
		return false, nil
	}
	data, err := c.Log.ReadEntry(ctx, seq, o.Size)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	e := c.Log.OpenEntry(data)
	return (e.Err == nil || errors.Is(e.Err, store.ErrNewerFormat)) && c.Log.Roster.Known(e.Signer), err
}

// addJunk has the owner delete what has no name that an object can have. No entry names it: nothing references it.
func (s *survey) addJunk(o store.Object) {
	if s.by.Owner {
		s.deletable = append(s.deletable, o)
		s.junk = append(s.junk, o)
	}
}
