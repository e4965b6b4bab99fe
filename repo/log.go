package repo

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A SnapshotRef is a snapshot that the log lists.
type SnapshotRef struct {
	Seq    uint64 // of the log entry
	ID     Name   // the manifest object's name
	Writer string // name on the roster; "owner" for one that the owner key made
	SnapshotInfo
}

// A Request is a log entry that its signer was not entitled to: it is shown and has no effect.
type Request struct {
	Seq    uint64
	Signer string
	Entry  *Entry
	Why    string
}

// history is what the log says: the state after its last valid entry.
type history struct {
	owner     ed25519.PublicKey
	head      Head
	empty     bool // no valid entry yet
	next      uint64
	epoch     uint32            // the newest announced; 0 for the first, which no entry announces
	epochs    map[uint32][]byte // signatures of the announced ones
	people    []Person
	rosterSeq uint64        // of the entry that set people
	snapshots []SnapshotRef // all ever, in order; a forgotten one is in forgotten too
	forgotten map[Name]uint64
	indexes   []Name // live, in the order they were added
	prunes    []*Entry
	pruned    map[string]uint64 // object's name in the store, to the entry that names it
	bad       map[Name]bool
	requests  []Request
	skipped   []error // entries that are no part of the log
	damage    []error
	hashes    map[uint64]Name // of the valid entries
}

func newHistory(owner ed25519.PublicKey) *history {
	return &history{
		owner: owner, empty: true,
		epochs:    make(map[uint32][]byte),
		forgotten: make(map[Name]uint64),
		pruned:    make(map[string]uint64),
		bad:       make(map[Name]bool),
		hashes:    make(map[uint64]Name),
	}
}

// take reads the stored entry seq, which is the next after all taken so far.
//
// What does not authenticate is skipped: anyone who can write to the storage can put junk there. What
// authenticates and continues from an entry that we did not find valid shows that this one was destroyed.
func (h *history) take(k *Keyring, seq uint64, data []byte) {
	defer func() { h.next = seq + 1 }()
	hash := Name(sha256.Sum256(data))
	signer, body, err := k.unseal(magicEntry, data)
	var e *Entry
	if err == nil {
		e, err = parseEntry(body)
	}
	if err == nil && e.Seq != seq {
		err = fmt.Errorf("says that it is entry %d", e.Seq)
	}
	if err == nil && !h.known(signer) {
		err = errors.New("signed by a key that is not on the roster")
	}
	if err != nil {
		h.skipped = append(h.skipped, &DamageError{entryObject(seq), err})
		return
	}
	skip, damage := h.chain(seq, e)
	if skip != nil {
		h.skipped = append(h.skipped, skip)
		return
	}
	if damage != nil {
		h.damage = append(h.damage, damage)
	}
	h.head, h.empty = Head{seq, hash}, false
	h.hashes[seq] = hash
	h.apply(signer, e)
}

// chain compares what e says of the entry before it with the last valid one. An entry that leaves valid ones out
// is to be skipped: only one that ignored them can have made it. One that continues from what we do not have, or
// have otherwise, tells of damage to that.
func (h *history) chain(seq uint64, e *Entry) (skip, damage error) {
	switch {
	case e.Prev == nil && h.empty, e.Prev != nil && !h.empty && *e.Prev == h.head:
		return nil, nil
	case e.Prev == nil:
		return &DamageError{entryObject(seq), errors.New("a second beginning of the log")}, nil
	case !h.empty && e.Prev.Seq < h.head.Seq:
		return &DamageError{entryObject(seq), fmt.Errorf("continues from entry %d and leaves out %d", e.Prev.Seq, h.head.Seq)}, nil
	}
	return nil, &DamageError{entryObject(e.Prev.Seq), fmt.Errorf("entry %d continues from it, and it is missing or not what it was", seq)}
}

// person returns the roster's entry for a verify key.
func (h *history) person(key []byte) (Person, bool) {
	i := slices.IndexFunc(h.people, func(p Person) bool { return p.Role == RoleWriter && slices.Equal(p.VerifyKey, key) })
	if i < 0 {
		return Person{}, false
	}
	return h.people[i], true
}

func (h *history) known(signer ed25519.PublicKey) bool {
	_, ok := h.person(signer)
	return ok || h.owner.Equal(signer)
}

// apply takes a valid entry into account, or notes it as a request.
func (h *history) apply(signer ed25519.PublicKey, e *Entry) {
	isOwner := h.owner.Equal(signer)
	p, _ := h.person(signer)
	if isOwner {
		p.Name = string(RoleOwner)
	}
	refuse := func(why string) {
		h.requests = append(h.requests, Request{e.Seq, p.Name, e, why})
	}
	switch {
	case e.Snapshot != nil:
		if !isOwner && !p.serves(e.Snapshot.Instance) {
			refuse(fmt.Sprintf("a writer for %s added a snapshot of %s", p.Instance, e.Snapshot.Instance))
			return
		}
		h.snapshots = append(h.snapshots, SnapshotRef{e.Seq, e.Snapshot.ID, p.Name, e.Snapshot.SnapshotInfo})
		h.indexes = append(h.indexes, e.Snapshot.Indexes...)
	case e.Forget != nil:
		if why := h.mayForget(isOwner, p, e.Forget.Snapshots); why != "" {
			refuse(why)
			return
		}
		for _, id := range e.Forget.Snapshots {
			h.forgotten[id] = e.Seq
		}
	case e.Prune != nil:
		if !isOwner && !p.MayForget {
			refuse("the roster does not let this writer prune")
			return
		}
		h.applyPrune(e)
	case e.Bad != nil:
		for _, n := range e.Bad.Packs {
			h.bad[n] = true
		}
	case !isOwner:
		refuse("only the owner key may change the roster or the keys")
	case e.Roster != nil:
		h.people, h.rosterSeq = e.Roster.People, e.Seq
	case e.Epoch.Number != max(1, h.epoch)+1:
		refuse("the epoch does not follow the one in use")
	default:
		h.epoch = e.Epoch.Number
		h.epochs[h.epoch] = e.Epoch.Signature
	}
}

// mayForget returns why p may not forget ids, or "".
func (h *history) mayForget(isOwner bool, p Person, ids []Name) string {
	if isOwner {
		return ""
	}
	if !p.MayForget {
		return "the roster does not let this writer forget"
	}
	for _, s := range h.snapshots {
		if !p.serves(s.Instance) && slices.Contains(ids, s.ID) {
			return fmt.Sprintf("a writer for %s wants to forget a snapshot of %s", p.Instance, s.Instance)
		}
	}
	return ""
}

func (h *history) applyPrune(e *Entry) {
	h.prunes = append(h.prunes, e)
	h.indexes = append(h.indexes, e.Prune.Added...)
	for _, n := range e.Prune.Packs {
		h.pruned[packObject(n)] = e.Seq
	}
	for _, n := range e.Prune.Manifests {
		h.pruned[manifestObject(n)] = e.Seq
	}
	for _, n := range e.Prune.Indexes {
		h.pruned[indexObject(n)] = e.Seq
	}
	h.indexes = slices.DeleteFunc(h.indexes, func(n Name) bool { return h.pruned[indexObject(n)] != 0 })
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

// readLog takes the whole log. With useCache only the newest entry is sure to come from the store: where it chains to
// what is cached, the store has the same below it or has lost it; where it does not, all is read anew.
func (r *Repo) readLog(ctx context.Context, useCache bool) (*history, error) {
	h, err := r.takeLog(ctx, useCache)
	if err == nil && useCache && len(h.problems()) > 0 {
		return r.takeLog(ctx, false)
	}
	return h, err
}

func (r *Repo) takeLog(ctx context.Context, useCache bool) (*history, error) {
	h := newHistory(r.key.OwnerKey)
	sizes := make(map[uint64]int64)
	last := uint64(0)
	for o, err := range r.store.List(ctx, "log/") {
		if err != nil {
			return nil, fmt.Errorf("listing the log: %w", err)
		}
		seq, err := strconv.ParseUint(strings.TrimPrefix(o.Name, "log/"), 10, 64)
		if err != nil || seq > maxEntries || o.Name != entryObject(seq) {
			h.skipped = append(h.skipped, &DamageError{o.Name, errors.New("not the name of a log entry")})
			continue
		}
		sizes[seq] = o.Size
		last = max(last, seq)
	}
	if len(sizes) == 0 {
		return h, nil
	}
	const window = 256 // entries in flight: a few hundred KiB
	for from := uint64(0); from <= last; from += window {
		to := min(from+window, last+1)
		got := make([][]byte, to-from)
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(16)
		for seq := from; seq < to; seq++ {
			size, ok := sizes[seq]
			if !ok {
				continue // missing: the chain will tell
			}
			g.Go(func() error {
				data, err := r.readEntry(gctx, seq, size, useCache && seq < last)
				got[seq-from] = data
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		for i, data := range got {
			if data != nil {
				h.take(r.key, from+uint64(i), data)
				if err := r.adoptEpoch(ctx, h); err != nil {
					return nil, err
				}
			}
		}
	}
	return h, nil
}

// readEntry returns a stored entry's bytes, at most maxEntryObject.
func (r *Repo) readEntry(ctx context.Context, seq uint64, size int64, useCache bool) ([]byte, error) {
	name := entryObject(seq)
	if useCache {
		if data, ok := r.local.cached(name); ok && int64(len(data)) == size {
			return data, nil
		}
	}
	if size > maxEntryObject {
		return []byte{}, nil // too long to be an entry; take calls it what it is
	}
	data, err := r.readObject(ctx, name, maxEntryObject)
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	r.local.cache(name, data)
	return data, nil
}

// catchUp takes the entries that were published since h was read. They stand under the next numbers: no
// listing is needed.
func (r *Repo) catchUp(ctx context.Context, h *history) error {
	for {
		data, err := r.readObject(ctx, entryObject(h.next), maxEntryObject)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
		h.take(r.key, h.next, data)
		if err := r.adoptEpoch(ctx, h); err != nil {
			return err
		}
	}
}

// publish appends e to the log. Before each try it calls check with the log as it then stands, which ends
// the attempt where it returns an error: so whoever publishes entry N has heeded every entry below N.
func (r *Repo) publish(ctx context.Context, e *Entry, check func(*history) error) error {
	if len(r.log.damage) > 0 && !r.opts.AcceptHead {
		return fmt.Errorf("the log is damaged, nothing is added to it: %w", r.log.damage[0])
	}
	for {
		if err := check(r.log); err != nil {
			return err
		}
		e.Seq, e.Prev = r.log.next, nil
		if !r.log.empty {
			e.Prev = &r.log.head
		}
		e.Time = time.Now().UTC().Truncate(time.Second)
		body, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encoding a log entry: %w", err)
		}
		data, err := r.seal(magicEntry, body)
		if err != nil {
			return err
		}
		name := entryObject(e.Seq)
		switch err := r.store.Put(ctx, name, data); {
		case errors.Is(err, fs.ErrExist): // somebody was faster: heed what they say
			if err := r.catchUp(ctx, r.log); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("publishing log entry %d: %w", e.Seq, err)
		}
		r.log.take(r.key, e.Seq, data)
		r.local.cache(name, data)
		if err := r.local.rememberHead(r.log.head); err != nil {
			r.note("%v", err) // the entry stands; only a rollback to before it would go unnoticed here
		}
		return nil
	}
}

// readObject returns all of an object of at most limit bytes.
func (r *Repo) readObject(ctx context.Context, name string, limit int) ([]byte, error) {
	buf := make([]byte, min(limit, 32<<10))
	have := 0
	for {
		n, err := r.store.ReadAt(ctx, name, buf[have:], int64(have))
		have += n
		if err == io.EOF {
			return buf[:have:have], nil
		}
		if err != nil {
			return nil, err
		}
		if have == limit {
			if n, err := r.store.ReadAt(ctx, name, make([]byte, 1), int64(have)); n == 0 && err == io.EOF {
				return buf, nil
			}
			return nil, &DamageError{name, fmt.Errorf("longer than %d bytes", limit)}
		}
		buf = append(make([]byte, 0, min(limit, 8*len(buf))), buf...)
		buf = buf[:cap(buf)]
	}
}

// readNamed returns all of an object that is named by its hash, which it verifies.
func (r *Repo) readNamed(ctx context.Context, object string, name Name, limit int) ([]byte, error) {
	data, err := r.readObject(ctx, object, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{object, err}
	}
	if err != nil {
		return nil, err
	}
	if Name(sha256.Sum256(data)) != name {
		return nil, &DamageError{object, errors.New("content does not have the hash that names it")}
	}
	return data, nil
}
