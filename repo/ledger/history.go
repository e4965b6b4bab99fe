package ledger

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
	ID       store.Name // see SnapshotID; it is the manifest's, its signer's and the instance's, and nobody else's
	Manifest store.Name // the manifest object's name
	Writer   string     // name on the roster; "owner" for one that the owner key made
	SnapshotInfo
	Signed time.Time // when its log entry was made, by the signer's clock
	Logged time.Time // likewise by the storage's clock; zero where the entry came after the log was listed
	Bound  bool      // the signer was not allowed to forget

	Signer ed25519.PublicKey // of the log entry
}

// A Request is a log entry that its signer was not entitled to, whole or in part. That part has no effect, and is shown.
type Request struct {
	Seq    uint64 // number of the entry
	Signer string // the signer's name on the roster
	Entry  *Entry // all of it
	Why    string // why it has no effect
}

// A Scope is what a signer could speak for when an entry was published.
type Scope struct {
	Owner  bool
	Person Person
}

// Serves reports whether the signer spoke for an instance.
func (s Scope) Serves(instance string) bool {
	return s.Owner || instance != "" && s.Person.Role == keys.RoleWriter && s.Person.Serves(instance)
}

// MayForget reports whether the signer could forget, prune and confirm.
func (s Scope) MayForget() bool {
	return s.Owner || s.Person.Role == keys.RoleWriter && s.Person.MayForget
}

// A History is what the log says: the state after its last valid entry. Take, and assignments to its fields, are for one goroutine
// at a time; Clone gives a History of one's own.
type History struct {
	Keys       *keys.Keyring // with the epochs that the log has announced; never changed, only replaced
	owner      ed25519.PublicKey
	Head       Head
	Top        uint64            // the number behind the newest entry that is valid, or a break
	Empty      bool              // no valid entry yet
	Next       uint64            // the number to publish under
	Free       uint64            // numbers below it, down to the last valid entry, under which there was nothing
	Gaps       []Gap             // where such numbers lie below Top
	Epoch      uint32            // the newest announced; 0 for the first, which no entry announces
	epochs     map[uint32][]byte // signatures of the announced ones
	Wrapped    [][]byte          // keyrings that the newest announcement gives
	People     []Person
	RosterSeq  uint64               // of the entry that set People
	epochSeq   uint64               // of the entry that announced Epoch; 0 for the first
	Basis      Basis                // what the next entry builds on: what was lost is in it too
	Snapshots  []SnapshotRef        // all ever, in order; a forgotten one is in Forgotten too
	IDs        map[store.Name]int   // in Snapshots
	madeOf     map[store.Name][]int // likewise, by manifest
	Forgotten  map[store.Name]uint64
	confirmed  map[store.Name]bool
	recorded   map[string]*Recorded // by instance
	First      Moment
	Indexes    IndexList
	Prunes     int
	Pruned     map[string]Scopes     // object's name in the store, to who named it in a prune entry
	Reported   map[store.Name]Scopes // packs found damaged, to who says so
	Requests   []Request
	OutOfReach map[string]uint64     // objects below log/, with their numbers, that are out of reach
	skipped    []error               // entries that are no part of the log
	LeftOut    Scopes                // who was on the list of keys and signed an entry that the log leaves out
	Breaks     []OpenBreak           // that no owner has accepted
	Accepted   []error               // those that one has
	Hashes     map[uint64]store.Name // of the valid entries
	passed     map[Head]passed       // entries that are signed, and that the log leaves out
	everybody  map[string]Person     // all that were on the list of keys ever, by verify key
	Lenient    bool                  // go on though something is too new: a person has said so, and a hostile writer may have made it
}

// New returns the history of an empty log. keys is a keyring of the repository, whose OwnerKey signs as the owner.
func New(keys *keys.Keyring) *History {
	return &History{
		Keys: keys, owner: keys.OwnerKey, Empty: true,
		epochs:     make(map[uint32][]byte),
		IDs:        make(map[store.Name]int),
		madeOf:     make(map[store.Name][]int),
		Forgotten:  make(map[store.Name]uint64),
		confirmed:  make(map[store.Name]bool),
		recorded:   make(map[string]*Recorded),
		Pruned:     make(map[string]Scopes),
		Reported:   make(map[store.Name]Scopes),
		Hashes:     make(map[uint64]store.Name),
		passed:     make(map[Head]passed),
		everybody:  make(map[string]Person),
		OutOfReach: make(map[string]uint64),
	}
}

// IsOutOfReach reports whether an object stands under a number of the log that is out of reach: it is no entry, and none can come
// to stand there before the log has grown.
func (h *History) IsOutOfReach(object string) bool {
	seq, far := h.OutOfReach[object]
	return far && seq > h.Top+MaxJump
}

// Take takes the entry seq, which is the next after all taken so far.
//
// What does not authenticate is skipped: anyone who can write to the storage can put junk there. What
// authenticates and continues from an entry that we did not find valid shows that this one was destroyed.
func (h *History) Take(seq uint64, o OpenedEntry) {
	if seq > h.Next {
		h.Gaps = append(h.Gaps, Gap{h.Next, seq})
	}
	h.Free, h.Next = h.Free+seq-h.Next, seq+1
	if o.Hash == fillerHash {
		return
	}
	at, byOwner, goesOn := Head{seq, o.Hash}, h.owner.Equal(o.Signer), false
	e, err := h.understand(seq, o)
	if errors.Is(err, store.ErrNewerFormat) {
		h.breakAt(at, &store.DamageError{Object: store.LogObject(seq), Err: err})
		return
	}
	if err == nil {
		goesOn, err = h.chain(at, e, byOwner)
		if !goesOn {
			h.LeftOut = h.LeftOut.With(h.Scope(o.Signer))
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
		h.Basis = h.Basis.join(e.On).join(e.sets())
	}
	if !goesOn {
		h.passOver(at, o)
		return
	}
	if h.Empty {
		h.First.Signed = e.Time
	}
	h.Head, h.Top, h.Empty, h.Free = at, seq+1, false, 0
	h.Hashes[seq] = o.Hash
	h.apply(o.Signer, e)
}

// understand returns the entry that stands under a number, or an error for what is none: of ErrNewerFormat where one on the list
// of keys means something by it.
func (h *History) understand(seq uint64, o OpenedEntry) (*Entry, error) {
	if (o.Err == nil || errors.Is(o.Err, store.ErrNewerFormat)) && !h.Known(o.Signer) {
		return nil, errors.New("signed by a key that is not in the list of keys")
	}
	if o.Err != nil {
		return nil, o.Err
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
func (h *History) chain(at Head, e *Entry, byOwner bool) (goesOn bool, err error) {
	prev := e.Prev
	switch {
	case prev == nil && h.Empty, prev != nil && !h.Empty && *prev == h.Head:
		if h.Free > 0 {
			return false, fmt.Errorf("stands above %d free numbers, and says that nothing was there", h.Free)
		}
		if e.On != h.Basis {
			return false, fmt.Errorf("says that it builds on %v; below it are %v", e.On, h.Basis)
		}
		return true, nil
	case prev == nil:
		return false, errors.New("a second beginning of the log")
	case h.Hashes[prev.Seq] == prev.Hash:
		return false, fmt.Errorf("continues from entry %d and leaves out the log up to %d", prev.Seq, h.Head.Seq)
	case prev.Seq >= at.Seq, !(Basis{prev.Seq, prev.Seq, prev.Seq}).covers(e.On):
		return false, fmt.Errorf("says that it continues from entry %d, and builds on %v: that can't be", prev.Seq, e.On)
	}
	lost := ""
	if n := int64(e.On.Snapshots) - int64(h.Basis.Snapshots); n > 0 {
		lost = fmt.Sprintf("; snapshots lost with it: %d", n)
	}
	h.breakAt(at, &store.DamageError{Object: store.LogObject(prev.Seq), Err: fmt.Errorf("entry %d continues from it, and it is missing or not what it was%s", at.Seq, lost)})
	goesOn = (h.Empty || prev.Seq > h.Head.Seq) && e.On.covers(h.Basis)
	h.Basis = h.Basis.join(e.On)
	if !goesOn && byOwner {
		h.Basis = h.Basis.join(e.sets())
	}
	return goesOn, nil
}

// breakAt notes that the log does not go on at an entry.
func (h *History) breakAt(at Head, err error) {
	h.Top = max(h.Top, at.Seq+1)
	h.Breaks = append(h.Breaks, OpenBreak{Break{h.Head, at}, err})
}

// person returns the roster's entry for a writer's verify key.
func (h *History) person(key []byte) (Person, bool) {
	i := slices.IndexFunc(h.People, func(p Person) bool { return p.Role == keys.RoleWriter && bytes.Equal(p.VerifyKey, key) })
	if i < 0 {
		return Person{}, false
	}
	return h.People[i], true
}

// Scope returns what a key may speak for now.
func (h *History) Scope(key ed25519.PublicKey) Scope {
	p, _ := h.person(key)
	return Scope{h.owner.Equal(key), p}
}

// Known reports whether a signer is the owner or on the list of keys.
func (h *History) Known(signer ed25519.PublicKey) bool {
	_, ok := h.person(signer)
	return ok || h.owner.Equal(signer)
}

// apply takes a valid entry into account, as far as its signer may say what it says.
func (h *History) apply(signer ed25519.PublicKey, e *Entry) {
	by := h.Scope(signer)
	if by.Owner {
		by.Person.Name = string(keys.RoleOwner)
	}
	if e.Snapshot != nil {
		h.Basis.Snapshots++
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
	case e.Damage != nil:
		for _, n := range e.Damage.Packs {
			h.Reported[n] = h.Reported[n].With(by)
		}
	case !by.Owner:
		why = "only the owner key may add, remove or rotate keys, or accept damage"
	case e.Accept != nil:
		h.applyAccept(e)
	case e.Roster != nil:
		h.People, h.RosterSeq, h.Basis.Roster = e.Roster.People, e.Seq, e.Seq
		h.keepPeople(h.People)
	case e.Epoch.Number <= max(1, h.Epoch) || e.Epoch.Number > keys.MaxEpochs:
		why = "the epoch does not follow the one in use"
	default:
		h.Epoch, h.epochSeq, h.Basis.Epoch = e.Epoch.Number, e.Seq, e.Seq
		h.epochs[h.Epoch], h.Wrapped = e.Epoch.Signature, e.Epoch.Keys
	}
	if why != "" {
		h.Requests = append(h.Requests, Request{e.Seq, by.Person.Name, e, why})
	}
}

func (h *History) applySnapshot(by Scope, signer ed25519.PublicKey, e *Entry) (why string) {
	s := e.Snapshot
	if !by.Serves(s.Instance) {
		return fmt.Sprintf("a writer for %s added a snapshot of %s", by.Person.Instance, s.Instance)
	}
	id := SnapshotID(s.Manifest, signer, s.Instance)
	if _, again := h.IDs[id]; again {
		return "the snapshot is there already"
	}
	h.IDs[id] = len(h.Snapshots)
	h.madeOf[s.Manifest] = append(slices.Clip(h.madeOf[s.Manifest]), len(h.Snapshots))
	h.Snapshots = append(h.Snapshots, SnapshotRef{Seq: e.Seq, ID: id, Manifest: s.Manifest, Writer: by.Person.Name, SnapshotInfo: s.SnapshotInfo,
		Signed: e.Time, Bound: !by.MayForget(), Signer: bytes.Clone(signer)})
	for _, n := range s.Indexes {
		h.Indexes.Add(n, by)
	}
	// What a prune for others has named before is there all the same: the signer has looked.
	for _, object := range s.Objects() {
		h.Pruned[object] = slices.DeleteFunc(slices.Clone(h.Pruned[object]), func(by Scope) bool { return !by.Serves(s.Instance) })
	}
	return ""
}

// applyPrune notes what a prune names. Who may name which pack is decided where the index says whose it is: see
// index.prune. Manifests are checked here.
func (h *History) applyPrune(by Scope, e *PruneEntry) (why string) {
	if !by.MayForget() {
		return "the list of keys does not let this writer prune"
	}
	h.Prunes++
	note := func(object string) { h.Pruned[object] = h.Pruned[object].With(by) }
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
		if !h.MayDrop(by, n) {
			why = "it names an index object of another instance"
			continue
		}
		h.Indexes.drop(n)
		note(store.Index.Object(n))
	}
	for _, n := range e.Added {
		h.Indexes.Add(n, by)
	}
	return why
}

// mayPruneManifest reports whether a signer's prune may name a manifest: where the log names it, all of that signer's snapshots
// that are made of it must be forgotten, and there must be one. Others may have named it too, whose it is not.
func (h *History) mayPruneManifest(by Scope, n store.Name) bool {
	theirs := false
	for _, i := range h.madeOf[n] {
		s := &h.Snapshots[i]
		if _, forgotten := h.Forgotten[s.ID]; by.Serves(s.Instance) && !forgotten {
			return false
		}
		theirs = theirs || by.Serves(s.Instance)
	}
	return theirs || len(h.madeOf[n]) == 0
}

// MayDrop reports whether a signer's prune may name an index object: not one that anybody has named for others, whoever did so
// first.
func (h *History) MayDrop(by Scope, n store.Name) bool {
	return by.Owner || !slices.ContainsFunc(h.Indexes.Vouchers(n), func(s Scope) bool { return s.Owner || !by.Serves(s.Person.Instance) })
}

// PrunedFor reports whether a prune by somebody who speaks for the instance has named an object.
func (h *History) PrunedFor(object, instance string) bool {
	return slices.ContainsFunc(h.Pruned[object], func(s Scope) bool { return s.Serves(instance) })
}

// IsPruned reports whether any prune entry names an object. Whoever published it may have deleted the object since, whether
// or not it was theirs to delete.
func (h *History) IsPruned(object string) bool { return len(h.Pruned[object]) > 0 }

// IsReported reports whether somebody who speaks for the instance has found a pack damaged.
func (h *History) IsReported(pack store.Name, instance string) bool {
	return slices.ContainsFunc(h.Reported[pack], func(s Scope) bool { return s.Serves(instance) })
}

// Live returns the snapshots that are not forgotten, oldest entry first.
func (h *History) Live() []SnapshotRef {
	var out []SnapshotRef
	for _, s := range h.Snapshots {
		if _, forgotten := h.Forgotten[s.ID]; !forgotten {
			out = append(out, s)
		}
	}
	return out
}

// Problems are the damage and the entries that were skipped.
func (h *History) Problems() []error { return slices.Concat(h.Damage(), h.skipped) }

// Needed returns the index objects, and the manifests of snapshots that are not forgotten.
func (h *History) Needed() map[string]bool {
	m := make(map[string]bool)
	for ref := range h.Indexes.All() {
		m[store.Index.Object(ref.Name)] = true
	}
	for _, s := range h.Live() {
		m[store.Manifest.Object(s.Manifest)] = true
	}
	return m
}

// Objects returns the index objects and manifests that the log leads to.
func (h *History) Objects() map[string]bool {
	m := h.Needed()
	for _, s := range h.Snapshots {
		m[store.Manifest.Object(s.Manifest)] = true
	}
	return m
}

// MaxJump is how many free numbers may lie below an entry, down to the valid one before it. Whoever publishes takes the
// first free number: some are free only where so many entries in a row were lost, or where a writer jumped ahead to use
// the numbers up.
const MaxJump = 100
