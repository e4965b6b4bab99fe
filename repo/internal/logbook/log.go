package logbook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"permafrost/repo/cause"
	"permafrost/repo/internal/machine"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"
)

const (
	// maxUnlisted is how many entries a listing may miss: those that are published while it is made.
	maxUnlisted = 1000

	// maxJunk is how many numbers in a row are looked at, one by one, that hold no entry. A listing passes over any number of
	// them; relists is how often one is asked for, and publishTries how often a number is found taken behind the same entry. A
	// storage could go on for ever.
	maxJunk, relists, publishTries = 1000, 10, 100
)

// A Log is the log in a storage: as far as it was read, and how it is read on and added to. Its History is never changed but replaced:
// whoever holds one keeps what it says.
type Log struct {
	*ledger.History
	store   *store.Witness
	key     *keys.Keyring // as it was opened with
	machine *machine.Memory
	opts    Options
}

// Options say how a log is taken. Note and Changed are set.
type Options struct {
	AcceptHead bool                             // as it is, though it is older than the one remembered, or damaged
	Head       *ledger.Head                     // an entry noted elsewhere, which must be part of it
	Identities []age.Identity                   // open keyrings of later epochs, beside the keyring's own identity
	Envelopes  Envelopes                        // how they are made and opened
	Note       func(format string, args ...any) // hears what a person should know and no error says
	Changed    func()                           // hears that the log says more
}

// Envelopes makes and opens envelopes, as a keyring does or as a simulation has it.
type Envelopes struct {
	Seal   func(k *keys.Keyring, e *keys.Epoch, kind string, body []byte) ([]byte, error)
	Unseal ledger.Unseal
}

// New returns a log that is yet to be read.
func New(st *store.Witness, key *keys.Keyring, m *machine.Memory, o Options) *Log {
	return &Log{History: ledger.New(key), store: st, key: key, machine: m, opts: o}
}

// Key returns the keyring that the log was opened with.
func (b *Log) Key() *keys.Keyring { return b.key }

// Supposing returns the log as it would be with another history. It is for planning alone.
func (b *Log) Supposing(h *ledger.History) *Log {
	l := *b
	l.History = h
	return &l
}

// Envelopes returns how envelopes are made and opened.
func (b *Log) Envelopes() Envelopes { return b.opts.Envelopes }

// ReadLog takes the whole log. With useCache only the newest entry and those of another size are sure to come from the
// store: where it chains to what is cached, the store has the same below it or has lost it; where it does not, all is read
// anew. Keys that it announces and keys lacks are the history's.
func (b *Log) ReadLog(ctx context.Context, keys *keys.Keyring, useCache bool) (*ledger.History, error) {
	h, err := b.takeLog(ctx, keys, useCache)
	if err == nil && useCache && len(h.Problems()) > 0 {
		h, err = b.takeLogOn(ctx, keys, h)
	}
	// Where an announcement was lost and the keys were rotated since, the newer keyring opens what the older could not.
	if err == nil && len(h.Breaks) > 0 && len(h.Keys.Epochs) > len(keys.Epochs) {
		h, err = b.takeLogOn(ctx, h.Keys, h)
	}
	return h, err
}

// takeLogOn takes the whole log anew, which must say no less than it did a moment ago.
func (b *Log) takeLogOn(ctx context.Context, keys *keys.Keyring, before *ledger.History) (*ledger.History, error) {
	h, err := b.takeLog(ctx, keys, false)
	if was := before.Remember(); err == nil && !b.opts.AcceptHead && !h.Covers(&was, b.key.VerifyKey()) {
		err = &ledger.RollbackError{Remembered: was.Head, Found: h.Head, Lost: was.Basis.String(), Since: true}
	}
	return h, err
}

func (b *Log) takeLog(ctx context.Context, keys *keys.Keyring, useCache bool) (*ledger.History, error) {
	h := ledger.New(keys)
	h.Lenient = b.opts.AcceptHead
	sizes, times := make(map[uint64]int64), make(map[uint64]time.Time)
	for o, err := range b.store.List(ctx, store.Log.Dir()) {
		if err != nil {
			return nil, fmt.Errorf("listing the log: %w", err)
		}
		seq, ok := store.ParseLog(o.Name)
		if !ok {
			continue // junk, which a check names
		}
		sizes[seq], times[seq] = o.Size, o.Time
	}
	if len(sizes) == 0 {
		return h, nil
	}
	if err := b.fillGaps(ctx, sizes); err != nil {
		return nil, err
	}
	t := &logTake{book: b, log: h, sizes: sizes, before: b.openedLog(b.key), now: make(ledger.Opened)}
	if useCache {
		for seq := range t.before {
			if _, there := sizes[seq]; there {
				t.newest = max(t.newest, seq)
			}
		}
	}
	numbers := slices.Sorted(maps.Keys(sizes))
	for len(numbers) > 0 && t.reaches(numbers[0]) {
		n := logWindow(numbers, sizes)
		taken, err := t.entries(ctx, numbers[:n])
		if err != nil {
			return nil, err
		}
		numbers = numbers[taken:]
	}
	for _, seq := range numbers {
		h.OutOfReach[store.LogObject(seq)] = seq
	}
	t.keep()
	for i := range h.Snapshots.All {
		h.Snapshots.All[i].Logged = times[h.Snapshots.All[i].Seq]
	}
	if len(h.Hashes) > 0 {
		h.First.Logged = times[slices.Min(slices.Collect(maps.Keys(h.Hashes)))]
	}
	h.Gaps = slices.DeleteFunc(h.Gaps, func(g ledger.Gap) bool { return g.From >= h.Top })
	// Whoever publishes takes the first free number behind what is an entry, or a break: junk under a far number stays alone.
	for h.Next, h.Free = h.Top, 0; ; h.Next++ {
		if _, taken := sizes[h.Next]; !taken {
			return h, h.TooNew()
		}
	}
}

// fillGaps adds the entries below a listed one that the listing has missed. A listing is not a moment: of two entries put
// meanwhile it may show the second alone, which would look as if the first was lost.
func (b *Log) fillGaps(ctx context.Context, sizes map[uint64]int64) error {
	missed := 0
	for _, seq := range slices.Sorted(maps.Keys(sizes)) {
		for seq > 0 {
			seq--
			if _, listed := sizes[seq]; listed {
				break
			}
			o, err := b.store.Stat(ctx, store.LogObject(seq))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return fmt.Errorf("reading the log: %w", err)
			}
			if sizes[seq], missed = o.Size, missed+1; missed > maxUnlisted {
				return cause.Errorf(cause.HiddenEntries, "listing the log: the storage leaves out more than %d entries that are there", maxUnlisted)
			}
		}
	}
	return nil
}

// logWindow is how many of the entries are read at once: up to 256, and 32 MiB of them, and none behind a jump.
func logWindow(numbers []uint64, sizes map[uint64]int64) int {
	total := int64(0)
	for i, seq := range numbers {
		total += min(sizes[seq], ledger.MaxEntryObject)
		if i == 256 || i > 0 && (total > 32<<20 || seq-numbers[i-1] > ledger.MaxJump) {
			return i
		}
	}
	return len(numbers)
}

// A logTake is the log on its way from the store, or from the cache, into a history.
type logTake struct {
	book   *Log
	log    *ledger.History
	sizes  map[uint64]int64
	newest uint64 // entries below it that are opened already need not be read
	before ledger.Opened
	now    ledger.Opened // what is a part of the log
	news   bool          // there is something in it that was not there before
}

// reaches reports whether a number lies within [ledger.MaxJump] of what was taken so far: under a farther one there is no entry.
func (t *logTake) reaches(seq uint64) bool { return t.log.Free+(seq-t.log.Next) <= ledger.MaxJump }

// entries reads some entries side by side and takes them in order, as far as they are within reach. It returns how many
// it has taken.
func (t *logTake) entries(ctx context.Context, numbers []uint64) (int, error) {
	got := make([][]byte, len(numbers))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, seq := range numbers {
		if t.has(seq) {
			continue
		}
		g.Go(func() (err error) {
			got[i], err = t.book.ReadEntry(gctx, seq, t.sizes[seq])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	for i, seq := range numbers {
		if !t.reaches(seq) {
			return i, nil
		}
		if err := t.take(ctx, seq, got[i]); err != nil {
			return 0, err
		}
	}
	return len(numbers), nil
}

// has reports whether an entry need not be read. The newest that is known is read in any case, whatever stands above it.
func (t *logTake) has(seq uint64) bool {
	e, ok := t.before[seq]
	return ok && e.Size == t.sizes[seq] && seq < t.newest
}

// take takes an entry by its stored bytes; data is not looked at where it need not be read.
func (t *logTake) take(ctx context.Context, seq uint64, data []byte) error {
	e := t.before[seq]
	if !t.has(seq) {
		e = t.before.Open(t.book.opts.Envelopes.Unseal, t.log.Keys, seq, data)
	}
	t.log.Take(seq, e)
	if hash, valid := t.log.Hashes[seq]; valid && hash == e.Hash {
		t.now[seq] = e
		t.news = t.news || t.before[seq].Hash != e.Hash
	}
	return t.book.adoptEpoch(t.log)
}

// keep puts the opened entries into the cache. Those of a log that is no continuation of what is there don't replace it,
// unless a person has said that the log is to be taken as it is.
func (t *logTake) keep() {
	was := t.before.Newest()
	goesOn := was == nil || t.log.Hashes[was.Seq] == was.Hash || t.book.opts.AcceptHead
	if goesOn && (t.news || len(t.now) != len(t.before)) {
		t.book.keepOpened(t.book.key, t.now)
	}
}

// ReadEntry returns a stored entry's bytes: at most so many as were listed, for which there is room. What is longer is no
// entry, and take calls it what it is.
func (b *Log) ReadEntry(ctx context.Context, seq uint64, size int64) ([]byte, error) {
	if size < 0 || size > ledger.MaxEntryObject {
		return []byte{}, nil
	}
	data, err := store.ReadAll(ctx, b.store, store.LogObject(seq), int(size)+1)
	if long := (*store.DamageError)(nil); errors.As(err, &long) || int64(len(data)) > size {
		return []byte{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return data, nil
}

// CatchUp takes the entries that were published since the log was read. They stand under the next numbers: no
// listing is needed.
func (b *Log) CatchUp(ctx context.Context) error {
	for range relists {
		if done, err := b.follow(ctx); done || err != nil {
			return err
		}
		now, err := b.takeLogOn(ctx, b.Keys, b.History)
		if err != nil {
			return err
		}
		if now.Next <= b.Next {
			break // there are more to reading than to listing
		}
		b.History = now
		b.opts.Changed()
	}
	return cause.Errorf(cause.JunkInLog, "reading the log: behind entry %d the storage has %d objects and more that are no entries", b.Head.Seq, maxJunk)
}

// follow is catchUp as far as there are not maxJunk numbers in a row without an entry: it reports whether it came to the end.
func (b *Log) follow(ctx context.Context) (done bool, err error) {
	shared := true // somebody may hold the history
	for junk, head := 0, b.Head; junk < maxJunk; junk++ {
		if b.Head != head {
			junk, head = 0, b.Head
		}
		data, err := store.ReadAll(ctx, b.store, store.LogObject(b.Next), ledger.MaxEntryObject)
		var long *store.DamageError
		if errors.Is(err, fs.ErrNotExist) {
			return true, b.TooNew()
		} else if errors.As(err, &long) {
			data = nil // too long to be an entry; take calls it what it is
		} else if err != nil {
			return false, fmt.Errorf("reading the log: %w", err)
		}
		if shared {
			b.History, shared = b.Clone(), false
		}
		b.Take(b.Next, b.OpenEntry(data))
		b.opts.Changed() // the log may name other index objects now
		if err := b.adoptEpoch(b.History); err != nil {
			return false, err
		}
	}
	return false, nil
}

// Publish appends e to the log, once all that was put is seen to be there, and sees that e is. Before each try it calls check
// with the log as it then stands, which ends the attempt where it returns an error: so whoever publishes entry N has heeded
// every entry below N.
func (b *Log) Publish(ctx context.Context, e *ledger.Entry, check func(*ledger.History) error) error {
	for taken, head := 0, b.Head; ; taken++ {
		if b.Head != head {
			taken, head = 0, b.Head
		}
		if taken == publishTries {
			return cause.Errorf(cause.TakenNumbers, "publishing log entry %d: %d times the storage said that the number is taken, and showed no entry there", b.Next, taken)
		}
		if e.Accept == nil {
			if err := b.AcceptDamage(ctx); err != nil {
				return err
			}
		}
		if err := check(b.History); err != nil {
			return err
		}
		if err := b.MayAdd(e); err != nil {
			return err
		}
		if err := b.store.Confirm(ctx); err != nil {
			if !b.HasGrown(ctx) {
				return err
			}
			// A prune may have removed it meanwhile. Then check says whether that matters, and nothing else refers to it.
			b.store.Forget(b.IsPruned)
			continue
		}
		data, err := b.SealEntry(e)
		if err != nil {
			return err
		}
		switch err := b.store.Put(ctx, store.LogObject(e.Seq), data); {
		case errors.Is(err, fs.ErrExist): // somebody was faster: heed what they say
			if err := b.CatchUp(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("publishing log entry %d: %w", e.Seq, err)
		}
		if err := b.confirmEntry(ctx, store.LogObject(e.Seq), data); err != nil {
			return fmt.Errorf("publishing log entry %d: %w", e.Seq, err)
		}
		return b.published(e, data)
	}
}

// PublishAt is publish for an entry that stands on what the log said at head: it fails with ErrNewcomers where somebody has
// added to that.
func (b *Log) PublishAt(ctx context.Context, head ledger.Head, e *ledger.Entry) error {
	return b.Publish(ctx, e, func(h *ledger.History) error {
		if h.Head != head {
			return ErrNewcomers
		}
		return nil
	})
}

// SealEntry makes e the next entry of the log as it is known.
func (b *Log) SealEntry(e *ledger.Entry) ([]byte, error) {
	e.Seq, e.Prev = b.Next, nil
	if !b.Empty {
		head := b.Head
		e.Prev = &head
	}
	e.On = b.Basis
	e.Time = time.Now().UTC().Truncate(time.Second)
	body, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("encoding a log entry: %w", err)
	}
	data, err := b.Seal(keys.KindEntry, body)
	if err == nil && (len(data) > ledger.MaxEntryObject || e.Seq >= store.MaxEntries) {
		err = fmt.Errorf("log entry %d of %d bytes: no reader would take it", e.Seq, len(data))
	}
	return data, err
}

// published takes our own entry as everybody else does.
func (b *Log) published(e *ledger.Entry, data []byte) error {
	requests := len(b.Requests)
	h := b.Clone()
	h.Take(e.Seq, b.OpenEntry(data))
	b.History = h
	if b.Head.Seq != e.Seq || len(b.Requests) > requests {
		return fmt.Errorf("%w: the entry was published and has no effect", ledger.ErrNotAllowed)
	}
	if err := b.rememberHead(b.Remember()); err != nil {
		b.opts.Note("%v", err) // the entry stands; only a rollback to before it would go unnoticed here
	}
	return nil
}

// adoptEpoch gives h a keyring that holds the epoch that the log has announced, and none in its place: a new one, since
// others may be reading by the one that it had. The announcement has the new keys, wrapped to the identity that each key file
// brings, or to the recipient that a person brought.
func (b *Log) adoptEpoch(h *ledger.History) error {
	if h.Epochs.NewestIn(h.Keys) {
		return nil
	}
	// What a rotation saved and never announced gives way to what another has announced.
	known := h.Epochs.InUse(h.Keys)
	ids := b.opts.Identities
	if b.key.Identity != nil {
		ids = append([]age.Identity{b.key.Identity}, ids...)
	}
	for _, data := range h.Epochs.Wrapped {
		if len(ids) == 0 {
			break
		}
		update, err := keys.Unwrap(data, ids...)
		if err != nil {
			continue // for somebody else
		}
		grown := *known
		if grown.Merge(update) == nil && h.Epochs.NewestIn(&grown) {
			h.Keys = &grown
			return nil
		}
	}
	return &keys.MissingKeyError{Need: fmt.Sprintf("a key of epoch %d: the keys were rotated, and this key got none", h.Epochs.Newest), For: "reading the log on"}
}

// HasGrown reports whether somebody has published since the log was read. What looks like damage may then be what another
// prune has deleted.
func (b *Log) HasGrown(ctx context.Context) bool {
	before := b.Head
	return b.CatchUp(ctx) == nil && b.Head != before
}

// ErrNewcomers says that somebody has added to the log since it was read.
var ErrNewcomers = errors.New("the log has grown")

// confirmEntry returns an error unless the log entry that was put is there, byte for byte.
func (b *Log) confirmEntry(ctx context.Context, name string, data []byte) error {
	stored, err := store.ReadAll(ctx, b.store, name, ledger.MaxEntryObject)
	switch d := (*store.DamageError)(nil); {
	case errors.Is(err, fs.ErrNotExist):
		return &store.FalseReportError{Object: name, Found: "there is no such object"}
	case err != nil && !errors.As(err, &d):
		return fmt.Errorf("looking whether %s was stored: %w", name, err)
	case err != nil || !bytes.Equal(stored, data):
		return &store.FalseReportError{Object: name, Found: "it holds something else"}
	}
	return nil
}

// CurrentEpoch returns the one that all is written under: the newest that the log has announced. The keyring may be ahead of
// it, where a rotation died between saving its keys and announcing them.
func (b *Log) CurrentEpoch() *keys.Epoch { return b.Keys.Epoch(max(1, b.Epochs.Newest)) }

// Seal returns the envelope of body under the epoch in use.
func (b *Log) Seal(magic string, body []byte) ([]byte, error) {
	return b.opts.Envelopes.Seal(b.key, b.CurrentEpoch(), magic, body)
}

// OpenEntry opens a stored entry.
func (b *Log) OpenEntry(data []byte) ledger.OpenedEntry {
	return ledger.OpenEntry(b.opts.Envelopes.Unseal, b.Keys, data)
}
