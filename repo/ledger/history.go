package ledger

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// A Request is a log entry that its signer was not entitled to, whole or in part. That part has no effect, and is shown.
type Request struct {
	Seq    uint64 // number of the entry
	Signer string // the signer's name on the roster
	Entry  *Entry // all of it
	Why    string // why it has no effect
}

// A History is what the log says: the state after its last valid entry. Take, and assignments to its fields, are for one goroutine
// at a time; Clone gives a History of one's own.
type History struct {
	Keys       *keys.Keyring // with the epochs that the log has announced; never changed, only replaced
	Roster     Roster
	Epochs     Epochs
	Snapshots  Snapshots
	Head       Head
	Top        uint64 // the number behind the newest entry that is valid, or a break
	Empty      bool   // no valid entry yet
	Next       uint64 // the number to publish under
	Free       uint64 // numbers below it, down to the last valid entry, under which there was nothing
	Gaps       []Gap  // where such numbers lie below Top
	Basis      Basis  // what the next entry builds on: what was lost is in it too
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
	Lenient    bool                  // go on though something is too new: a person has said so, and a hostile writer may have made it
}

// New returns the history of an empty log. keys is a keyring of the repository, whose OwnerKey signs as the owner.
func New(keys *keys.Keyring) *History {
	return &History{
		Keys: keys, Empty: true,
		Roster:     Roster{owner: keys.OwnerKey, ever: make(map[string]Person)},
		Epochs:     Epochs{signatures: make(map[uint32][]byte)},
		Snapshots:  newSnapshots(),
		Pruned:     make(map[string]Scopes),
		Reported:   make(map[store.Name]Scopes),
		Hashes:     make(map[uint64]store.Name),
		passed:     make(map[Head]passed),
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
	at, byOwner, goesOn := Head{seq, o.Hash}, h.Roster.owner.Equal(o.Signer), false
	e, err := h.understand(seq, o)
	if errors.Is(err, store.ErrNewerFormat) {
		h.breakAt(at, &store.DamageError{Object: store.LogObject(seq), Err: err})
		return
	}
	if err == nil {
		goesOn, err = h.chain(at, e, byOwner)
		if !goesOn {
			h.LeftOut = h.LeftOut.With(h.Roster.Scope(o.Signer))
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
	if (o.Err == nil || errors.Is(o.Err, store.ErrNewerFormat)) && !h.Roster.Known(o.Signer) {
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

// apply takes a valid entry into account, as far as its signer may say what it says.
func (h *History) apply(signer ed25519.PublicKey, e *Entry) {
	by := h.Roster.Scope(signer)
	if by.Owner {
		by.Person.Name = string(keys.RoleOwner)
	}
	if e.Snapshot != nil {
		h.Basis.Snapshots++
	}
	var refused error
	switch {
	case e.Snapshot != nil:
		refused = h.applySnapshot(by, signer, e)
	case e.Forget != nil:
		refused = h.Snapshots.forget(by, e.Seq, e.Forget)
	case e.Confirm != nil:
		refused = h.Snapshots.confirm(by, e.Seq, e.Confirm)
	case e.Prune != nil:
		refused = cmp.Or(h.applyPrune(by, e.Prune), h.Snapshots.record(by, e.Seq, e.Prune.Records))
	case e.Damage != nil:
		for _, n := range e.Damage.Packs {
			h.Reported[n] = h.Reported[n].With(by)
		}
	case !by.Owner:
		refused = errors.New("only the owner key may add, remove or rotate keys, or accept damage")
	case e.Accept != nil:
		h.applyAccept(e)
	case e.Roster != nil:
		h.Roster.set(e.Roster.People, e.Seq)
		h.Basis.Roster = e.Seq
	case e.Epoch.Number <= max(1, h.Epochs.Newest) || e.Epoch.Number > keys.MaxEpochs:
		refused = errors.New("the epoch does not follow the one in use")
	default:
		h.Epochs.announce(e.Epoch, e.Seq)
		h.Basis.Epoch = e.Seq
	}
	if refused != nil {
		h.Requests = append(h.Requests, Request{e.Seq, by.Person.Name, e, refused.Error()})
	}
}

func (h *History) applySnapshot(by Scope, signer ed25519.PublicKey, e *Entry) error {
	s := e.Snapshot
	if !by.Serves(s.Instance) {
		return fmt.Errorf("a writer for %s added a snapshot of %s", by.Person.Instance, s.Instance)
	}
	err := h.Snapshots.commit(SnapshotRef{Seq: e.Seq, ID: SnapshotID(s.Manifest, signer, s.Instance), Manifest: s.Manifest, Writer: by.Person.Name,
		SnapshotInfo: s.SnapshotInfo, Signed: e.Time, Bound: !by.MayForget(), Signer: bytes.Clone(signer)})
	if err != nil {
		return err
	}
	for _, n := range s.Indexes {
		h.Indexes.Add(n, by)
	}
	// What a prune for others has named before is there all the same: the signer has looked.
	for _, object := range s.Objects() {
		h.Pruned[object] = slices.DeleteFunc(slices.Clone(h.Pruned[object]), func(by Scope) bool { return !by.Serves(s.Instance) })
	}
	return nil
}

// applyPrune notes what a prune names. Who may name which pack is decided where the index says whose it is: see
// index.prune. Manifests are checked here.
func (h *History) applyPrune(by Scope, e *PruneEntry) (err error) {
	if !by.MayForget() {
		return errors.New("the list of keys does not let this writer prune")
	}
	h.Prunes++
	note := func(object string) { h.Pruned[object] = h.Pruned[object].With(by) }
	for _, n := range e.Packs {
		note(store.Pack.Object(n))
	}
	for _, n := range e.Manifests {
		if !h.Snapshots.mayPrune(by, n) {
			err = errors.New("it names the manifest of a snapshot that is not forgotten, or not of the signer's instance")
			continue
		}
		note(store.Manifest.Object(n))
	}
	for _, n := range e.Indexes {
		if !h.Indexes.MayDrop(by, n) {
			err = errors.New("it names an index object of another instance")
			continue
		}
		h.Indexes.drop(n)
		note(store.Index.Object(n))
	}
	for _, n := range e.Added {
		h.Indexes.Add(n, by)
	}
	return err
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

// Problems are the damage and the entries that were skipped.
func (h *History) Problems() []error { return slices.Concat(h.Damage(), h.skipped) }

// Needed returns the index objects, and the manifests of snapshots that are not forgotten.
func (h *History) Needed() map[string]bool {
	m := make(map[string]bool)
	for ref := range h.Indexes.All() {
		m[store.Index.Object(ref.Name)] = true
	}
	for _, s := range h.Snapshots.Live() {
		m[store.Manifest.Object(s.Manifest)] = true
	}
	return m
}

// Objects returns the index objects and manifests that the log leads to.
func (h *History) Objects() map[string]bool {
	m := h.Needed()
	for _, s := range h.Snapshots.All {
		m[store.Manifest.Object(s.Manifest)] = true
	}
	return m
}

// Instances returns the names of all instances that the log knows of.
func (h *History) Instances() []string {
	var names []string
	known := map[string]bool{"": true}
	add := func(name string) {
		if !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	for i := range h.Snapshots.All {
		add(h.Snapshots.All[i].Instance)
	}
	for i := range h.Roster.People {
		add(h.Roster.People[i].Instance)
	}
	return names
}

// MaxJump is how many free numbers may lie below an entry, down to the valid one before it. Whoever publishes takes the
// first free number: some are free only where so many entries in a row were lost, or where a writer jumped ahead to use
// the numbers up.
const MaxJump = 100
