package repo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"filippo.io/age"

	"permafrost/internal/localdir"
	"permafrost/repo/cause"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/logbook"
	"permafrost/repo/internal/machine"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// Format is the version of the repository format that this program writes, and the newest that it reads.
const Format = 1

const (
	maxConfig = 4 << 10
)

// Options say how a repository is opened. The zero value keeps nothing on this machine.
type Options struct {
	StateDir   string            // where the newest log entry seen, key copies and journals are kept
	CacheDir   string            // where copies of immutable objects are kept
	AcceptHead bool              // take the log as it is, though it is older than the one remembered, or damaged
	Head       *ledger.Head      // a log entry noted elsewhere, which must be part of the log
	Identities []age.Identity    // open keyrings of later epochs, beside the keyring's own identity
	Prompt     keys.Prompt       // reaches the person at hand, where keys are wrapped by a plugin
	ID         store.Name        // the repository's, where Find has just returned it; zero: Open reads it
	Note       func(note string) // hears what a person should know and no error says; may be nil

	envelopes logbook.Envelopes // as tests have them; zero: a keyring's
}

// log says how the log is taken.
func (o Options) log() logbook.Options {
	if o.envelopes.Seal == nil {
		o.envelopes = logbook.Envelopes{Seal: (*keys.Keyring).Seal, Unseal: (*keys.Keyring).Unseal}
	}
	return logbook.Options{AcceptHead: o.AcceptHead, Head: o.Head, Identities: o.Identities, Envelopes: o.envelopes}
}

// A Repo is an open repository. Its methods are for one goroutine at a time; the Writers and Readers that it
// makes say for themselves what may run at once.
type Repo struct {
	core *core.Core
	opts Options
}

type config struct {
	Format int        `json:"format"`
	ID     store.Name `json:"id"`
}

// Find returns the ID of the repository that stands in the store; ErrNoRepository says that none does.
func Find(ctx context.Context, st store.Store) (store.Name, error) {
	buf := make([]byte, maxConfig+1)
	n, err := st.ReadAt(ctx, store.ConfigObject, buf, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return store.Name{}, ErrNoRepository
	case err == nil:
		return store.Name{}, &store.DamageError{Object: store.ConfigObject, Err: fmt.Errorf("longer than %d bytes", maxConfig)}
	case err != io.EOF:
		return store.Name{}, fmt.Errorf("reading the repository's config: %w", err)
	}
	var c config
	var format struct{ Format int }
	if err := json.Unmarshal(buf[:n], &format); err == nil && format.Format > Format {
		return store.Name{}, fmt.Errorf("repository format %d: %w", format.Format, store.ErrNewerFormat)
	}
	d := json.NewDecoder(bytes.NewReader(buf[:n]))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return store.Name{}, &store.DamageError{Object: store.ConfigObject, Err: err}
	}
	if c.Format != Format || c.ID.IsZero() {
		return store.Name{}, &store.DamageError{Object: store.ConfigObject, Err: errors.New("no format or no ID")}
	}
	if data, err := c.encode(); err != nil || !bytes.Equal(data, buf[:n]) {
		return store.Name{}, &store.DamageError{Object: store.ConfigObject, Err: errors.New("it is not as it was written")}
	}
	return c.ID, nil
}

// encode returns the config as it is stored: nothing else is one.
func (c *config) encode() ([]byte, error) {
	data, err := json.Marshal(c)
	return append(data, '\n'), err
}

// Exists reports whether a repository stands in the store.
func Exists(ctx context.Context, st store.Store) (bool, error) {
	_, err := Find(ctx, st)
	if errors.Is(err, ErrNoRepository) {
		return false, nil
	}
	return err == nil, err
}

// InitOptions describe the first writer of a new repository.
type InitOptions struct {
	Instance   string // the instance that it backs up; empty: any
	AppendOnly bool   // it may not forget

	envelopes logbook.Envelopes // as in Options
}

// Init makes a repository in an empty store. Both keyrings must be safe on disk by then: without them nothing
// in the repository can be read.
func Init(ctx context.Context, st store.Store, owner, writer *keys.Keyring, o InitOptions) error {
	data, err := (&config{Format, owner.Repository}).encode()
	if err != nil {
		return err
	}
	// The config claims the place: of two that init at once a single one goes on. If we die behind it, Open finds a
	// repository without a log and says what to do.
	w := store.NewWitness(st)
	if err := w.Put(ctx, store.ConfigObject, data); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return ErrRepositoryExists
		}
		return fmt.Errorf("writing the config: %w", err)
	}
	c := core.New(w, owner, new(machine.Memory), Options{envelopes: o.envelopes}.log(), nil)
	if err := c.PutReserve(ctx); err != nil {
		return err
	}
	people := []ledger.Person{ledger.PersonOf(owner, nil), ledger.PersonOf(writer, nil)}
	people[1].Instance, people[1].MayForget = o.Instance, !o.AppendOnly
	return c.Log.Publish(ctx, &ledger.Entry{Roster: &ledger.RosterEntry{People: people}}, func(h *ledger.History) error {
		if !h.Empty {
			return errors.New("another process is making a repository there")
		}
		return nil
	})
}

// Open opens a repository with a keyring. It succeeds though the log is damaged, so that what is left can be read: see [Repo.Damage].
//
// The error is ErrNoRepository for a store without one, a ForeignKeyError for the key of another one, and a ledger.RollbackError for
// a log that lacks what this machine has seen, unless Options.AcceptHead is set.
func Open(ctx context.Context, st store.Store, key *keys.Keyring, o Options) (*Repo, error) {
	id, err := o.ID, error(nil)
	if id.IsZero() {
		id, err = Find(ctx, st)
	}
	if err != nil {
		return nil, err
	}
	if id != store.Name(key.Repository) {
		return nil, &ForeignKeyError{Key: store.Name(key.Repository), Repository: id}
	}
	r := &Repo{core.New(store.NewWitness(st), key, machine.Open(o.StateDir, o.CacheDir, id), o.log(), o.Note), o}
	if err := r.core.Machine.Err(); err != nil {
		r.core.Note("%v: a storage that was rolled back would not be noticed", err)
	}
	// Before the log is read: another process here may add to it, and remember that, at any time.
	remembered, err := r.core.Log.Remembered()
	if err != nil {
		return nil, err
	}
	if r.core.Log.History, err = r.core.Log.ReadLog(ctx, key, true); err != nil {
		return nil, err
	}
	if r.core.Log.Empty && len(r.core.Log.Problems()) == 0 {
		return nil, &cause.Error{Cause: cause.EmptyLog, Err: &store.DamageError{Object: store.Log.Dir(), Err: errors.New("the log is empty")}}
	}
	if r.core.Log.Empty {
		return nil, r.core.Log.Problems()[0]
	}
	if err := r.core.Log.CheckHead(remembered); err != nil {
		return nil, err
	}
	if n := len(key.Epochs); int(r.core.Log.Epochs.LastOf(key)) < n {
		r.core.Note("the log does not announce epoch %d of the key file: an interrupted rotation, or an older log on the storage", n)
	}
	if err := r.copyKeys(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// LockRun keeps two runs of an instance on this machine apart, from a run's snapshot to the end of its prune. The error
// is a lease.LockedError when another one runs. The lock goes with the process.
func (r *Repo) LockRun(instance string) (unlock func(), err error) {
	return r.lock(machine.Run, instance, "another run for ")
}

// lock keeps two processes of this machine apart, which do the same work for an instance; other says what runs if one does.
func (r *Repo) lock(w machine.Work, instance, other string) (unlock func(), err error) {
	unlock, err = r.core.Machine.Lock(w, instance)
	if errors.Is(err, machine.ErrLocked) {
		err = &lease.LockedError{By: other + instance + " runs on this machine"}
	}
	return unlock, err
}

// Core returns what the repository consists of. It is for the packages below this one, as upkeep is; others have no use for it, and can't
// name its type.
func (r *Repo) Core() *core.Core { return r.core }

// Head returns the newest log entry.
func (r *Repo) Head() ledger.Head { return r.core.Log.Head }

// ID returns the repository's ID.
func (r *Repo) ID() store.Name { return store.Name(r.core.Key.Repository) }

// CacheDir returns the directory below which this machine keeps what can be had again, for this repository alone, or nil
// where it keeps nothing.
func (r *Repo) CacheDir() *localdir.Dir { return r.core.Machine.Cache() }

// Key returns the keyring that the repository was opened with, and the epochs that the log has announced since that was
// written. It is not to be changed.
func (r *Repo) Key() *keys.Keyring { return r.core.Log.Keys }

// AnnouncedKey returns the keyring without the epochs that the log does not announce, such as those of a rotation that died. It is what
// somebody new is given.
func (r *Repo) AnnouncedKey() *keys.Keyring { return r.core.Log.Epochs.InUse(r.core.Log.Keys) }

// Snapshots returns the snapshots that are not forgotten, in the order they were committed.
func (r *Repo) Snapshots() []ledger.SnapshotRef { return r.core.Log.Snapshots.Live() }

// IsOwn reports whether a snapshot was committed with the key that the repository was opened with.
func (r *Repo) IsOwn(ref ledger.SnapshotRef) bool { return ref.Signer.Equal(r.core.Key.VerifyKey()) }

// Requests returns the log entries that their signers were not entitled to. They have no effect.
func (r *Repo) Requests() []ledger.Request { return slices.Clone(r.core.Log.Requests) }

// Roster returns the people and hosts that hold keys.
func (r *Repo) Roster() []ledger.Person { return slices.Clone(r.core.Log.Roster.People) }

// Damage returns what is wrong with the log, entry by entry. Nothing is added to a damaged log unless an owner accepts it by
// Options.AcceptHead; all that it still says can be read.
func (r *Repo) Damage() []error { return r.core.Log.Damage() }

// CatchUp takes what others have added to the log since it was read, and reports whether a prune is among it: what was
// missing may only have been moved.
func (r *Repo) CatchUp(ctx context.Context) (pruned bool, err error) { return r.core.CatchUp(ctx) }

// Manifest returns the JSON of a snapshot's manifest.
func (r *Repo) Manifest(ctx context.Context, ref ledger.SnapshotRef) ([]byte, error) {
	return r.core.Manifest(ctx, ref)
}

// NewLease tells others that somebody is at work, until it is released.
func (r *Repo) NewLease(ctx context.Context, what string) (*lease.Lease, error) {
	return r.core.NewLease(ctx, what)
}
