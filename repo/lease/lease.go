// Package lease tells others that somebody is at work on a repository, so that a pruner waits rather than spoil a run.
//
// A lease is an object that its holder puts anew every four minutes. It is advisory: no promise depends on it. One that is not renewed for
// twenty minutes counts for nothing, and neither does one whose process is known to be dead.
package lease

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"permafrost/repo/internal/logbook"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

const (
	leaseRenewal = 4 * time.Minute
	Life         = 20 * time.Minute // without renewal; after that nobody waits for it
	maxLease     = 64 << 10
	leaseTries   = 3 // to see a lease that was just put
)

// A Lease tells others that somebody is at work, so that a pruner waits rather than spoil a run. It is advisory: what
// keeps the repository whole is the log.
type Lease struct {
	store  store.Store
	log    *logbook.Log
	note   func(format string, args ...any)
	key    keys.Keyring // a copy: the repository's may gain an epoch while the lease is renewed
	text   Text
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once

	mu     sync.Mutex
	epoch  *keys.Epoch // what it is put under
	object string
	at     time.Time // the storage's time of that object, as far as it is known
}

// A Text is what a lease's object holds, as JSON in an envelope.
type Text struct {
	ID      store.Name `json:"id"` // random, the same in all objects of a lease: host names and PIDs repeat among containers
	What    string     `json:"what"`
	Started time.Time  `json:"started"`

	// Before is the storage's time of the lease's object before this one. Anybody who may put can put an object again, under
	// another name, when its lease is long over. So one that says nothing of it, or came much later, counts for nothing.
	Before time.Time `json:"before,omitzero"`
	Process
}

// isNew reports whether the object o came as the lease's holder has put it.
func (t *Text) isNew(o store.Object) bool {
	return !t.Before.IsZero() && o.Time.Sub(t.Before) <= Life
}

// Take puts a lease that says what somebody does, and renews it until Release. note hears of whom it waits for.
//
// Where the log has lost the entry that announced the newest keys, Take puts nothing and returns History.LostEpoch's error: somebody who
// was removed may have the older keys, and would read who is at work.
func Take(ctx context.Context, st store.Store, log *logbook.Log, note func(format string, args ...any), what string) (*Lease, error) {
	if lost := log.LostEpoch(); len(lost) > 0 {
		return nil, lost[0]
	}
	text := Text{What: what, Started: time.Now().UTC().Truncate(time.Second), Process: ThisProcess()}
	rand.Read(text.ID[:])
	ctx, cancel := context.WithCancel(ctx)
	l := &Lease{store: st, log: log, note: note, key: *log.Key(), text: text, cancel: cancel, done: make(chan struct{})}
	l.follow()
	// The first object tells the storage's time, the second one is the lease.
	err := l.put(ctx)
	if err == nil {
		err = l.put(ctx)
	}
	if err != nil {
		cancel()
		close(l.done)
		l.Release()
		return nil, err
	}
	go func() {
		defer close(l.done)
		t := time.NewTicker(leaseRenewal)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				// No promise depends on a lease: one that can't be renewed is tried again at the next tick.
				_ = l.put(ctx)
			}
		}
	}()
	return l, nil
}

// follow has the lease put under the epoch that the log has in use now. The renewals, which run beside whoever changes the log, can't ask.
func (l *Lease) follow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = l.log.CurrentEpoch()
}

// put puts a new object and removes the one before it: the storage's clock gives it its age.
func (l *Lease) put(ctx context.Context) error {
	text := l.text
	text.Before = l.before(ctx)
	body, err := json.Marshal(text)
	if err != nil {
		return err
	}
	l.mu.Lock()
	epoch := l.epoch
	l.mu.Unlock()
	data, err := l.log.Envelopes().Seal(&l.key, epoch, keys.KindLease, body)
	if err != nil {
		return err
	}
	var id [16]byte
	rand.Read(id[:])
	object := store.LeaseObject(id)
	if err := l.store.Put(ctx, object, data); err != nil {
		return fmt.Errorf("putting a lease: %w", err)
	}
	l.mu.Lock()
	old := l.object
	l.object, l.at = object, time.Time{}
	l.mu.Unlock()
	if old != "" {
		_ = l.store.Remove(ctx, old) // an append-only storage keeps it; it goes stale
	}
	return nil
}

// before returns the storage's time of the newest object: zero where there is none, or it is not known.
func (l *Lease) before(ctx context.Context) time.Time {
	l.mu.Lock()
	object, at := l.object, l.at
	l.mu.Unlock()
	if object == "" || !at.IsZero() || ctx.Err() != nil {
		return at.UTC()
	}
	o, err := l.store.Stat(ctx, object)
	if err != nil {
		return time.Time{} // where we were suspended, taken for stale
	}
	return o.Time.UTC()
}

// current returns the name of the newest object.
func (l *Lease) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.object
}

// Now returns the storage's time, by putting the lease anew.
func (l *Lease) Now(ctx context.Context) (time.Time, error) {
	l.follow()
	for try := 1; ; try++ {
		if err := l.put(ctx); err != nil {
			return time.Time{}, err
		}
		object := l.current()
		o, err := l.store.Stat(ctx, object)
		if errors.Is(err, fs.ErrNotExist) && (try < leaseTries || l.current() != object) {
			continue // where we were suspended, taken for stale; or renewed at this very moment, however often
		}
		if err != nil {
			return time.Time{}, fmt.Errorf("asking for the storage's time: %w", err)
		}
		l.mu.Lock()
		if l.object == object {
			l.at = o.Time
		}
		l.mu.Unlock()
		return o.Time, nil
	}
}

// Release removes the lease. Calling it again does nothing.
func (l *Lease) Release() {
	l.once.Do(func() {
		l.cancel()
		<-l.done
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if l.object != "" {
			_ = l.store.Remove(ctx, l.object) // one left behind goes stale
		}
	})
}

// others returns what the leases of others say, and removes those that count for nothing: stale ones, by the storage's
// clock against the newest lease of our own, and those whose process is known to be dead.
func (l *Lease) others(ctx context.Context) ([]Text, error) {
	own := l.current()
	var all []store.Object
	var now time.Time
	for o, err := range l.store.List(ctx, store.Lease.Dir()) {
		if err != nil {
			return nil, fmt.Errorf("listing leases: %w", err)
		}
		if o.Name == own {
			now = o.Time
			continue
		}
		all = append(all, o)
	}
	var out []Text
	for _, o := range all {
		if now.Sub(o.Time) > Life {
			_ = l.store.Remove(ctx, o.Name)
			continue
		}
		data, err := store.ReadAll(ctx, l.store, o.Name, maxLease)
		if err != nil {
			continue // released meanwhile
		}
		var t Text
		if signer, body, err := l.log.Envelopes().Unseal(l.log.Keys, keys.KindLease, data); err != nil || !l.concerns(signer) || json.Unmarshal(body, &t) != nil {
			continue
		}
		if t.ID == l.text.ID || !t.isNew(o) {
			continue // an earlier object of this lease, or of one that is over
		}
		if t.Dead(&l.text.Process) {
			_ = l.store.Remove(ctx, o.Name)
			continue
		}
		out = append(out, t)
	}
	return out, nil
}

// concerns reports whether this lease waits for those of a signer: the owner's, and those of writers on the list of keys that
// speak for an instance of its own. A writer's prune takes nothing from others that is not long left over.
func (l *Lease) concerns(signer ed25519.PublicKey) bool {
	log := l.log
	by, me := log.Roster.Scope(signer), log.Roster.Scope(l.key.VerifyKey())
	switch {
	case by.Owner:
		return true
	case by.Person.Role != keys.RoleWriter:
		return false
	}
	return me.Owner || by.Serves(me.Person.Instance) || me.Serves(by.Person.Instance) || by.Person.Instance == me.Person.Instance
}

// Wait waits until no one else is at work, for as long as patience lasts, and then fails with a LockedError.
func (l *Lease) Wait(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		others, err := l.others(ctx)
		if err != nil || len(others) == 0 {
			return err
		}
		o := others[0]
		by := fmt.Sprintf("%s by process %d on %s, since %s", o.What, o.PID, o.Host, o.Started.Local().Format("2006-01-02 15:04"))
		left := time.Until(deadline)
		if left <= 0 {
			return &LockedError{by}
		}
		l.note("waiting for %s", by)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(left, 10*time.Second)):
		}
	}
}

// A LockedError says that another process is at work.
type LockedError struct {
	By string // who and what
}

func (e *LockedError) Error() string { return "the repository is in use: " + e.By }
