package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"

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

// readLog takes the whole log. With useCache only the newest entry and those of another size are sure to come from the
// store: where it chains to what is cached, the store has the same below it or has lost it; where it does not, all is read
// anew. Keys that it announces and keys lacks are the history's.
func (r *Repo) readLog(ctx context.Context, keys *keys.Keyring, useCache bool) (*ledger.History, error) {
	h, err := r.takeLog(ctx, keys, useCache)
	if err == nil && useCache && len(h.Problems()) > 0 {
		h, err = r.takeLogOn(ctx, keys, h)
	}
	// Where an announcement was lost and the keys were rotated since, the newer keyring opens what the older could not.
	if err == nil && len(h.Breaks) > 0 && len(h.Keys.Epochs) > len(keys.Epochs) {
		h, err = r.takeLogOn(ctx, h.Keys, h)
	}
	return h, err
}

// takeLogOn takes the whole log anew, which must say no less than it did a moment ago.
func (r *Repo) takeLogOn(ctx context.Context, keys *keys.Keyring, before *ledger.History) (*ledger.History, error) {
	h, err := r.takeLog(ctx, keys, false)
	if was := before.Remember(); err == nil && !r.opts.AcceptHead && !h.Covers(&was, r.key.VerifyKey()) {
		err = &ledger.RollbackError{Remembered: was.Head, Found: h.Head, Lost: was.Basis.String(), Since: true}
	}
	return h, err
}

func (r *Repo) takeLog(ctx context.Context, keys *keys.Keyring, useCache bool) (*ledger.History, error) {
	h := ledger.New(keys)
	h.Lenient = r.opts.AcceptHead
	sizes, times := make(map[uint64]int64), make(map[uint64]time.Time)
	for o, err := range r.store.List(ctx, store.Log.Dir()) {
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
	if err := r.fillGaps(ctx, sizes); err != nil {
		return nil, err
	}
	t := &logTake{repo: r, log: h, sizes: sizes, before: r.openedLog(r.key), now: make(ledger.Opened)}
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
	for i := range h.Snapshots {
		h.Snapshots[i].Logged = times[h.Snapshots[i].Seq]
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
func (r *Repo) fillGaps(ctx context.Context, sizes map[uint64]int64) error {
	missed := 0
	for _, seq := range slices.Sorted(maps.Keys(sizes)) {
		for seq > 0 {
			seq--
			if _, listed := sizes[seq]; listed {
				break
			}
			o, err := r.store.Stat(ctx, store.LogObject(seq))
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
	repo   *Repo
	log    *ledger.History
	sizes  map[uint64]int64
	newest uint64 // entries below it that are opened already need not be read
	before ledger.Opened
	now    ledger.Opened // what is a part of the log
	news   bool          // there is something in it that was not there before
}

// reaches reports whether a number lies within maxJump of what was taken so far: under a farther one there is no entry.
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
			got[i], err = t.repo.readEntry(gctx, seq, t.sizes[seq])
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
		e = t.before.Open(unseal, t.log.Keys, seq, data)
	}
	t.log.Take(seq, e)
	if hash, valid := t.log.Hashes[seq]; valid && hash == e.Hash {
		t.now[seq] = e
		t.news = t.news || t.before[seq].Hash != e.Hash
	}
	return t.repo.adoptEpoch(t.log)
}

// keep puts the opened entries into the cache. Those of a log that is no continuation of what is there don't replace it,
// unless a person has said that the log is to be taken as it is.
func (t *logTake) keep() {
	was := t.before.Newest()
	goesOn := was == nil || t.log.Hashes[was.Seq] == was.Hash || t.repo.opts.AcceptHead
	if goesOn && (t.news || len(t.now) != len(t.before)) {
		t.repo.keepOpened(t.repo.key, t.now)
	}
}

// readEntry returns a stored entry's bytes: at most so many as were listed, for which there is room. What is longer is no
// entry, and take calls it what it is.
func (r *Repo) readEntry(ctx context.Context, seq uint64, size int64) ([]byte, error) {
	if size < 0 || size > ledger.MaxEntryObject {
		return []byte{}, nil
	}
	data, err := r.readObject(ctx, store.LogObject(seq), int(size)+1)
	if long := (*store.DamageError)(nil); errors.As(err, &long) || int64(len(data)) > size {
		return []byte{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	return data, nil
}

// catchUp takes the entries that were published since h was read. They stand under the next numbers: no
// listing is needed.
func (r *Repo) catchUp(ctx context.Context, h *ledger.History) error {
	for range relists {
		if done, err := r.follow(ctx, h); done || err != nil {
			return err
		}
		now, err := r.takeLogOn(ctx, h.Keys, h)
		if err != nil {
			return err
		}
		if now.Next <= h.Next {
			break // there are more to reading than to listing
		}
		*h = *now
	}
	return cause.Errorf(cause.JunkInLog, "reading the log: behind entry %d the storage has %d objects and more that are no entries", h.Head.Seq, maxJunk)
}

// follow is catchUp as far as there are not maxJunk numbers in a row without an entry: it reports whether it came to the end.
func (r *Repo) follow(ctx context.Context, h *ledger.History) (done bool, err error) {
	for junk, head := 0, h.Head; junk < maxJunk; junk++ {
		if h.Head != head {
			junk, head = 0, h.Head
		}
		data, err := r.readObject(ctx, store.LogObject(h.Next), ledger.MaxEntryObject)
		var long *store.DamageError
		if errors.Is(err, fs.ErrNotExist) {
			return true, h.TooNew()
		} else if errors.As(err, &long) {
			data = nil // too long to be an entry; take calls it what it is
		} else if err != nil {
			return false, fmt.Errorf("reading the log: %w", err)
		}
		h.Take(h.Next, ledger.OpenEntry(unseal, h.Keys, data))
		if h == r.log {
			r.index = nil // the log may name other index objects now
		}
		if err := r.adoptEpoch(h); err != nil {
			return false, err
		}
	}
	return false, nil
}

// publish appends e to the log, once all that was put is seen to be there, and sees that e is. Before each try it calls check
// with the log as it then stands, which ends the attempt where it returns an error: so whoever publishes entry N has heeded
// every entry below N.
func (r *Repo) publish(ctx context.Context, e *ledger.Entry, check func(*ledger.History) error) error {
	for taken, head := 0, r.log.Head; ; taken++ {
		if r.log.Head != head {
			taken, head = 0, r.log.Head
		}
		if taken == publishTries {
			return cause.Errorf(cause.TakenNumbers, "publishing log entry %d: %d times the storage said that the number is taken, and showed no entry there", r.log.Next, taken)
		}
		if e.Accept == nil {
			if err := r.acceptDamage(ctx); err != nil {
				return err
			}
		}
		if err := check(r.log); err != nil {
			return err
		}
		if err := r.log.MayAdd(e); err != nil {
			return err
		}
		if err := r.store.Confirm(ctx); err != nil {
			if !r.hasGrown(ctx) {
				return err
			}
			// A prune may have removed it meanwhile. Then check says whether that matters, and nothing else refers to it.
			r.store.Forget(r.log.IsPruned)
			continue
		}
		data, err := r.sealEntry(e)
		if err != nil {
			return err
		}
		switch err := r.store.Put(ctx, store.LogObject(e.Seq), data); {
		case errors.Is(err, fs.ErrExist): // somebody was faster: heed what they say
			if err := r.catchUp(ctx, r.log); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("publishing log entry %d: %w", e.Seq, err)
		}
		if err := r.confirmEntry(ctx, store.LogObject(e.Seq), data); err != nil {
			return fmt.Errorf("publishing log entry %d: %w", e.Seq, err)
		}
		return r.published(e, data)
	}
}

// publishAt is publish for an entry that stands on what the log said at head: it fails with errNewcomers where somebody has
// added to that.
func (r *Repo) publishAt(ctx context.Context, head ledger.Head, e *ledger.Entry) error {
	return r.publish(ctx, e, func(h *ledger.History) error {
		if h.Head != head {
			return errNewcomers
		}
		return nil
	})
}

// sealEntry makes e the next entry of the log as it is known.
func (r *Repo) sealEntry(e *ledger.Entry) ([]byte, error) {
	e.Seq, e.Prev = r.log.Next, nil
	if !r.log.Empty {
		head := r.log.Head
		e.Prev = &head
	}
	e.On = r.log.Basis
	e.Time = time.Now().UTC().Truncate(time.Second)
	body, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("encoding a log entry: %w", err)
	}
	data, err := r.seal(keys.KindEntry, body)
	if err == nil && (len(data) > ledger.MaxEntryObject || e.Seq >= store.MaxEntries) {
		err = fmt.Errorf("log entry %d of %d bytes: no reader would take it", e.Seq, len(data))
	}
	return data, err
}

// published takes our own entry as everybody else does.
func (r *Repo) published(e *ledger.Entry, data []byte) error {
	requests := len(r.log.Requests)
	r.log.Take(e.Seq, ledger.OpenEntry(unseal, r.log.Keys, data))
	if r.log.Head.Seq != e.Seq || len(r.log.Requests) > requests {
		return fmt.Errorf("%w: the entry was published and has no effect", ledger.ErrNotAllowed)
	}
	if err := r.rememberHead(r.log.Remember()); err != nil {
		r.note("%v", err) // the entry stands; only a rollback to before it would go unnoticed here
	}
	return nil
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
			return nil, &store.DamageError{Object: name, Err: fmt.Errorf("longer than %d bytes", limit)}
		}
		room := 8 * len(buf)
		if have >= 2<<20 { // worth a question, so as not to hold several times what there is
			o, err := r.store.Stat(ctx, name)
			if err != nil {
				return nil, err
			}
			room = max(int(min(o.Size, int64(limit)))+1, have+1)
		}
		buf = append(make([]byte, 0, min(limit, room)), buf...)
		buf = buf[:cap(buf)]
	}
}

// readNamed returns all of an object that is named by its hash, which it verifies.
func (r *Repo) readNamed(ctx context.Context, object string, name store.Name, limit int) ([]byte, error) {
	data, err := r.readObject(ctx, object, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &store.DamageError{Object: object, Err: err}
	}
	if err != nil {
		return nil, err
	}
	if store.NameOf(data) != name {
		return nil, &store.DamageError{Object: object, Err: errors.New("its content does not match the hash in its name")}
	}
	return data, nil
}
