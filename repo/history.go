package repo

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// A SnapshotRef is a snapshot that the log lists.
type SnapshotRef struct {
	Seq      uint64     // of the log entry
	ID       store.Name // see snapshotID; it is the manifest's, its signer's and the instance's, and nobody else's
	Manifest store.Name // the manifest object's name
	Writer   string     // name on the roster; "owner" for one that the owner key made
	SnapshotInfo
	Signed time.Time // when its log entry was made, by the signer's clock
	Logged time.Time // likewise by the storage's clock; zero where the entry came after the log was listed
	Bound  bool      // the signer could not forget

	signer ed25519.PublicKey // of the log entry
}

// A Request is a log entry that its signer was not entitled to, whole or in part: that has no effect, and is shown.
type Request struct {
	Seq    uint64
	Signer string
	Entry  *Entry
	Why    string
}

// A scope is what a signer could speak for when an entry was published.
type scope struct {
	owner  bool
	person Person
}

// serves reports whether the signer spoke for an instance.
func (s scope) serves(instance string) bool {
	return s.owner || instance != "" && s.person.Role == keys.RoleWriter && s.person.serves(instance)
}

// mayForget reports whether the signer could forget, prune and confirm.
func (s scope) mayForget() bool {
	return s.owner || s.person.Role == keys.RoleWriter && s.person.MayForget
}

// history is what the log says: the state after its last valid entry.
type history struct {
	keys      *keys.Keyring // with the epochs that the log has announced; never changed, only replaced
	owner     ed25519.PublicKey
	head      Head
	top       uint64            // the number behind the newest entry that is valid, or a break
	empty     bool              // no valid entry yet
	next      uint64            // the number to publish under
	free      uint64            // numbers below it, down to the last valid entry, under which there was nothing
	gaps      []gap             // where such numbers lie below top
	epoch     uint32            // the newest announced; 0 for the first, which no entry announces
	epochs    map[uint32][]byte // signatures of the announced ones
	given     [][]byte          // keyrings that the newest announcement gives
	people    []Person
	rosterSeq uint64               // of the entry that set people
	epochSeq  uint64               // of the entry that announced epoch; 0 for the first
	basis     Basis                // what the next entry builds on: what was lost is in it too
	snapshots []SnapshotRef        // all ever, in order; a forgotten one is in forgotten too
	byID      map[store.Name]int   // in snapshots
	madeOf    map[store.Name][]int // likewise, by manifest
	forgotten map[store.Name]uint64
	confirmed map[store.Name]bool
	recorded  map[string]*Recorded // by instance
	first     Moment
	indexes   indexList
	prunes    int
	pruned    map[string]scopes     // object's name in the store, to who named it in a prune entry
	bad       map[store.Name]scopes // packs found damaged, to who says so
	requests  []Request
	far       map[string]uint64     // objects below log/, with their numbers, that are out of reach
	skipped   []error               // entries that are no part of the log
	leftOut   scopes                // who was on the list of keys and signed one of them
	breaks    []brokenAt            // that no owner has accepted
	accepted  []error               // those that one has
	hashes    map[uint64]store.Name // of the valid entries
	passed    map[Head]passed       // entries that are signed, and that the log leaves out
	everybody map[string]Person     // all that were on the list of keys ever, by verify key
	lenient   bool                  // go on though something is too new: a person has said so, and a hostile writer may have made it
}

func newHistory(keys *keys.Keyring) *history {
	return &history{
		keys: keys, owner: keys.OwnerKey, empty: true,
		epochs:    make(map[uint32][]byte),
		byID:      make(map[store.Name]int),
		madeOf:    make(map[store.Name][]int),
		forgotten: make(map[store.Name]uint64),
		confirmed: make(map[store.Name]bool),
		recorded:  make(map[string]*Recorded),
		pruned:    make(map[string]scopes),
		bad:       make(map[store.Name]scopes),
		hashes:    make(map[uint64]store.Name),
		passed:    make(map[Head]passed),
		everybody: make(map[string]Person),
		far:       make(map[string]uint64),
	}
}

// isFar reports whether an object stands under a number of the log that is out of reach: it is no entry, and none can come
// to stand there before the log has grown.
func (h *history) isFar(object string) bool {
	seq, far := h.far[object]
	return far && seq > h.top+maxJump
}

// take takes the entry seq, which is the next after all taken so far.
//
// What does not authenticate is skipped: anyone who can write to the storage can put junk there. What
// authenticates and continues from an entry that we did not find valid shows that this one was destroyed.
func (h *history) take(seq uint64, o openedEntry) {
	if seq > h.next {
		h.gaps = append(h.gaps, gap{h.next, seq})
	}
	h.free, h.next = h.free+seq-h.next, seq+1
	if o.hash == fillerHash {
		return
	}
	at, byOwner, goesOn := Head{seq, o.hash}, h.owner.Equal(o.signer), false
	e, err := h.understand(seq, o)
	if errors.Is(err, store.ErrNewerFormat) {
		h.breakAt(at, &store.DamageError{Object: store.LogObject(seq), Err: err})
		return
	}
	if err == nil {
		goesOn, err = h.chain(at, e, byOwner)
		if !goesOn {
			h.leftOut = h.leftOut.with(h.scope(o.signer))
		}
	}
	if err != nil {
		err = &store.DamageError{Object: store.LogObject(seq), Err: err}
		if e == nil || !byOwner {
			h.skipped = append(h.skipped, err)
			h.passOver(at, o)
			return
		}
		// An owner ignores nothing: what stands below is not what he found there.
		h.breakAt(at, err)
		h.basis = h.basis.with(e.On).with(e.sets())
	}
	if !goesOn {
		h.passOver(at, o)
		return
	}
	if h.empty {
		h.first.Signed = e.Time
	}
	h.head, h.top, h.empty, h.free = at, seq+1, false, 0
	h.hashes[seq] = o.hash
	h.apply(o.signer, e)
}

// understand returns the entry that stands under a number, or an error for what is none: of ErrNewerFormat where one on the list
// of keys means something by it.
func (h *history) understand(seq uint64, o openedEntry) (*Entry, error) {
	if (o.err == nil || errors.Is(o.err, store.ErrNewerFormat)) && !h.known(o.signer) {
		return nil, errors.New("signed by a key that is not in the list of keys")
	}
	if o.err != nil {
		return nil, o.err
	}
	e, err := o.entry()
	if err != nil {
		return nil, fmt.Errorf("%w, or malformed: %v", store.ErrNewerFormat, err)
	}
	if e.Seq != seq {
		return nil, fmt.Errorf("says that it is entry %d", e.Seq)
	}
	return e, nil
}

// chain compares what e says of the entries below it with what there is, and reports whether the log goes on with it. It
// returns an error for an entry that leaves valid ones out, or says of them what is not so: its signer ignored them, or did not
// find them there.
//
// Nobody continues from the last entry under any number but the first free one. Who did would leave numbers below him under which
// others, who do not see his entry, publish theirs; and he himself could, when he has been taken off the list of keys.
//
// One that continues from what we do not have shows that this is lost. The log goes on with it, and with all that it says it
// builds on, lost or not. Where it builds on less than there is, two logs were made of one: it is passed over, and shown.
func (h *history) chain(at Head, e *Entry, byOwner bool) (goesOn bool, err error) {
	prev := e.Prev
	switch {
	case prev == nil && h.empty, prev != nil && !h.empty && *prev == h.head:
		if h.free > 0 {
			return false, fmt.Errorf("stands above %d free numbers, and says that nothing was there", h.free)
		}
		if e.On != h.basis {
			return false, fmt.Errorf("says that it builds on %v; below it are %v", e.On, h.basis)
		}
		return true, nil
	case prev == nil:
		return false, errors.New("a second beginning of the log")
	case h.hashes[prev.Seq] == prev.Hash:
		return false, fmt.Errorf("continues from entry %d and leaves out the log up to %d", prev.Seq, h.head.Seq)
	case prev.Seq >= at.Seq, !(Basis{prev.Seq, prev.Seq, prev.Seq}).covers(e.On):
		return false, fmt.Errorf("says that it continues from entry %d, and builds on %v: that can't be", prev.Seq, e.On)
	}
	lost := ""
	if n := int64(e.On.Snapshots) - int64(h.basis.Snapshots); n > 0 {
		lost = fmt.Sprintf("; snapshots lost with it: %d", n)
	}
	h.breakAt(at, &store.DamageError{Object: store.LogObject(prev.Seq), Err: fmt.Errorf("entry %d continues from it, and it is missing or not what it was%s", at.Seq, lost)})
	goesOn = (h.empty || prev.Seq > h.head.Seq) && e.On.covers(h.basis)
	h.basis = h.basis.with(e.On)
	if !goesOn && byOwner {
		h.basis = h.basis.with(e.sets())
	}
	return goesOn, nil
}

// breakAt notes that the log does not go on at an entry.
func (h *history) breakAt(at Head, err error) {
	h.top = max(h.top, at.Seq+1)
	h.breaks = append(h.breaks, brokenAt{Break{h.head, at}, err})
}

// person returns the roster's entry for a writer's verify key.
func (h *history) person(key []byte) (Person, bool) {
	i := slices.IndexFunc(h.people, func(p Person) bool { return p.Role == keys.RoleWriter && bytes.Equal(p.VerifyKey, key) })
	if i < 0 {
		return Person{}, false
	}
	return h.people[i], true
}

// scope returns what a key may speak for now.
func (h *history) scope(key ed25519.PublicKey) scope {
	p, _ := h.person(key)
	return scope{h.owner.Equal(key), p}
}

func (h *history) known(signer ed25519.PublicKey) bool {
	_, ok := h.person(signer)
	return ok || h.owner.Equal(signer)
}

// apply takes a valid entry into account, as far as its signer may say what it says.
func (h *history) apply(signer ed25519.PublicKey, e *Entry) {
	by := h.scope(signer)
	if by.owner {
		by.person.Name = string(keys.RoleOwner)
	}
	if e.Snapshot != nil {
		h.basis.Snapshots++
	}
	why := ""
	switch {
	case e.Snapshot != nil:
		why = h.applySnapshot(by, signer, e)
	case e.Forget != nil:
		why = h.applyForget(by, e.Seq, e.Forget)
	case e.Confirm != nil:
		why = h.applyConfirm(by, e.Seq, e.Confirm)
	case e.Prune != nil:
		why = cmp.Or(h.applyPrune(by, e.Prune), h.applyRecords(by, e.Seq, e.Prune.Records))
	case e.Bad != nil:
		for _, n := range e.Bad.Packs {
			h.bad[n] = h.bad[n].with(by)
		}
	case !by.owner:
		why = "only the owner key may add, remove or rotate keys, or accept damage"
	case e.Accept != nil:
		h.applyAccept(e)
	case e.Roster != nil:
		h.people, h.rosterSeq, h.basis.Roster = e.Roster.People, e.Seq, e.Seq
		h.remember(h.people)
	case e.Epoch.Number <= max(1, h.epoch) || e.Epoch.Number > keys.MaxEpochs:
		why = "the epoch does not follow the one in use"
	default:
		h.epoch, h.epochSeq, h.basis.Epoch = e.Epoch.Number, e.Seq, e.Seq
		h.epochs[h.epoch], h.given = e.Epoch.Signature, e.Epoch.Keys
	}
	if why != "" {
		h.requests = append(h.requests, Request{e.Seq, by.person.Name, e, why})
	}
}

func (h *history) applySnapshot(by scope, signer ed25519.PublicKey, e *Entry) (why string) {
	s := e.Snapshot
	if !by.serves(s.Instance) {
		return fmt.Sprintf("a writer for %s added a snapshot of %s", by.person.Instance, s.Instance)
	}
	id := snapshotID(s.Manifest, signer, s.Instance)
	if _, again := h.byID[id]; again {
		return "the snapshot is there already"
	}
	h.byID[id] = len(h.snapshots)
	h.madeOf[s.Manifest] = append(h.madeOf[s.Manifest], len(h.snapshots))
	h.snapshots = append(h.snapshots, SnapshotRef{Seq: e.Seq, ID: id, Manifest: s.Manifest, Writer: by.person.Name, SnapshotInfo: s.SnapshotInfo,
		Signed: e.Time, Bound: !by.mayForget(), signer: bytes.Clone(signer)})
	for _, n := range s.Indexes {
		h.indexes.add(n, by)
	}
	// What a prune for others has named before is there all the same: the signer has looked.
	for _, object := range s.objects() {
		h.pruned[object] = slices.DeleteFunc(h.pruned[object], func(by scope) bool { return !by.serves(s.Instance) })
	}
	return ""
}

// applyPrune notes what a prune names. Who may name which pack is decided where the index says whose it is: see
// index.prune. Manifests are checked here.
func (h *history) applyPrune(by scope, e *PruneEntry) (why string) {
	if !by.mayForget() {
		return "the list of keys does not let this writer prune"
	}
	h.prunes++
	note := func(object string) { h.pruned[object] = h.pruned[object].with(by) }
	for _, n := range e.Packs {
		note(store.Pack.Object(n))
	}
	for _, n := range e.Manifests {
		if !h.mayPruneManifest(by, n) {
			why = "it names the manifest of a snapshot that is not forgotten, or not of the signer's instance"
			continue
		}
		note(store.Manifest.Object(n))
	}
	for _, n := range e.Indexes {
		if !h.mayDrop(by, n) {
			why = "it names an index object of another instance"
			continue
		}
		h.indexes.drop(n)
		note(store.Index.Object(n))
	}
	for _, n := range e.Added {
		h.indexes.add(n, by)
	}
	return why
}

// mayPruneManifest reports whether a signer's prune may name a manifest: where the log names it, all of that signer's snapshots
// that are made of it must be forgotten, and there must be one. Others may have named it too, whose it is not.
func (h *history) mayPruneManifest(by scope, n store.Name) bool {
	theirs := false
	for _, i := range h.madeOf[n] {
		s := &h.snapshots[i]
		if _, gone := h.forgotten[s.ID]; by.serves(s.Instance) && !gone {
			return false
		}
		theirs = theirs || by.serves(s.Instance)
	}
	return theirs || len(h.madeOf[n]) == 0
}

// mayDrop reports whether a signer's prune may name an index object: not one that anybody has named for others, whoever did so
// first.
func (h *history) mayDrop(by scope, n store.Name) bool {
	return by.owner || !slices.ContainsFunc(h.indexes.of(n), func(s scope) bool { return s.owner || !by.serves(s.person.Instance) })
}

// gone reports whether a prune by somebody who speaks for the instance has named an object.
func (h *history) gone(object, instance string) bool {
	return slices.ContainsFunc(h.pruned[object], func(s scope) bool { return s.serves(instance) })
}

// isNamed reports whether any prune entry names an object. Whoever published it may have deleted the object since, whether
// or not it was theirs to delete.
func (h *history) isNamed(object string) bool { return len(h.pruned[object]) > 0 }

// isBad reports whether somebody who speaks for the instance has found a pack damaged.
func (h *history) isBad(pack store.Name, instance string) bool {
	return slices.ContainsFunc(h.bad[pack], func(s scope) bool { return s.serves(instance) })
}

// live returns the snapshots that are not forgotten, oldest entry first.
func (h *history) live() []SnapshotRef {
	var out []SnapshotRef
	for _, s := range h.snapshots {
		if _, gone := h.forgotten[s.ID]; !gone {
			out = append(out, s)
		}
	}
	return out
}

// problems are the damage and the entries that were skipped.
func (h *history) problems() []error { return slices.Concat(h.damage(), h.skipped) }

// needed returns the index objects, and the manifests of snapshots that are not forgotten.
func (h *history) needed() map[string]bool {
	m := make(map[string]bool)
	for ref := range h.indexes.all() {
		m[store.Index.Object(ref.name)] = true
	}
	for _, s := range h.live() {
		m[store.Manifest.Object(s.Manifest)] = true
	}
	return m
}

// named returns the index objects and manifests that the log leads to.
func (h *history) named() map[string]bool {
	m := h.needed()
	for _, s := range h.snapshots {
		m[store.Manifest.Object(s.Manifest)] = true
	}
	return m
}

// maxJump is how many free numbers may lie below an entry, down to the valid one before it. Whoever publishes takes the
// first free number: some are free only where so many entries in a row were lost, or where a writer jumped ahead to use
// the numbers up.
const maxJump = 100
