package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"permafrost/internal/localdir"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A Machine keeps tables and copies of index objects on this machine. It may keep nothing.
type Machine interface {
	Tables() *localdir.Dir // nil: none can be kept
	Copy(name string) ([]byte, bool)
	Keep(name string, data []byte)
	Drop(name string)
}

// A Loader makes indexes of what the log names. It is safe for concurrent use.
type Loader struct {
	store   store.Store
	machine Machine
	unseal  ledger.Unseal
	note    func(format string, args ...any) // hears that the local index was damaged
	key     *[32]byte                        // of the proofs of tables
	files   *tableFiles
}

// NewLoader returns a Loader. k is the keyring that the repository was opened with; note hears that the local index was damaged.
func NewLoader(st store.Store, k *keys.Keyring, m Machine, unseal ledger.Unseal, note func(format string, args ...any)) *Loader {
	key := (*[32]byte)(k.DeriveKey("permafrost index table 1"))
	return &Loader{store: st, machine: m, unseal: unseal, note: note, key: key, files: new(tableFiles)}
}

// Load returns the index of all packs that the index objects of h list, but for those that a prune has named. It starts from the
// tables of this machine, and leaves there what the next one starts from. damaged hears of each index object that can't be used,
// and ends it with the error that it returns.
func (l *Loader) Load(ctx context.Context, h *ledger.History, damaged func(error) error) (*Index, error) {
	b := &build{Loader: l, log: h, dir: l.machine.Tables(), copies: true}
	return b.run(ctx, damaged)
}

// LoadAnew is Load by what the storage has: it reads every index object, and keeps nothing.
func (l *Loader) LoadAnew(ctx context.Context, h *ledger.History, damaged func(error) error) (*Index, error) {
	b := &build{Loader: l, log: h}
	return b.run(ctx, damaged)
}

// Extend returns x with packs of an instance that no index object lists yet, and that may be relied on.
func (l *Loader) Extend(x *Index, h *ledger.History, instance string, packs iter.Seq2[*pack.Pack, error]) (*Index, error) {
	b := &build{Loader: l}
	t, err := b.write(func(w *tableWriter) error {
		w.object(tableObject{instance: instance})
		for p, err := range packs {
			if err == nil {
				err = w.pack(p)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	y := *x
	y.tables, y.Objects, y.Packs = slices.Clip(x.tables), slices.Clip(x.Objects), slices.Clip(x.Packs)
	if err := y.attach(t, func(*tableObject) Object {
		return Object{Instance: instance, Trusted: true, Live: true}
	}); err != nil {
		return nil, err
	}
	y.settle(h)
	return &y, nil
}

// Lost returns the index objects that h names and the storage does not list.
func (l *Loader) Lost(ctx context.Context, h *ledger.History) (map[store.Name]bool, error) {
	lost := make(map[store.Name]bool)
	for ref := range h.Indexes.All() {
		lost[ref.Name] = true
	}
	for o, err := range l.store.List(ctx, store.Index.Dir()) {
		if err != nil {
			return nil, fmt.Errorf("listing index objects: %w", err)
		}
		if kind, n := store.Parse(o.Name); kind == store.Index {
			delete(lost, n)
		}
	}
	return lost, nil
}

// Read reads index objects from the storage. It fails with a DamageError where one is missing, or is not what its name says.
func (l *Loader) Read(ctx context.Context, names []store.Name) error {
	get := func(ctx context.Context, n store.Name) ([]byte, error) { return l.data(ctx, n, false, false) }
	for o := range ahead(ctx, names, get) {
		if o.err != nil {
			return o.err
		}
	}
	return nil
}

// data returns an index object's stored bytes. With copies one on this machine will do; with keep one is left there.
func (l *Loader) data(ctx context.Context, name store.Name, copies, keep bool) ([]byte, error) {
	object := store.Index.Object(name)
	if copies {
		if data, ok := l.machine.Copy(object); ok && store.NameOf(data) == name {
			return data, nil
		}
	}
	data, err := store.ReadNamed(ctx, l.store, object, name, store.MaxObject)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	if keep {
		l.machine.Keep(object, data)
	}
	return data, nil
}

// add adds what an index object lists to w: all of it or, where it is damaged, nothing.
func (l *Loader) add(w *tableWriter, h *ledger.History, name store.Name, data []byte) error {
	o := tableObject{name: name}
	signer, body, err := l.unseal(h.Keys, keys.KindIndex, data)
	if err == nil {
		copy(o.signer[:], signer)
		o.instance, err = parseObject(body, func(*pack.Pack) error { return nil })
	}
	if errors.Is(err, store.ErrNewerFormat) && !h.Roster.Known(signer) {
		err = errors.New("it is of another version, signed by a key that is not in the list of keys")
	}
	if err != nil {
		return &store.DamageError{Object: store.Index.Object(name), Err: err}
	}
	w.object(o)
	_, err = parseObject(body, w.pack)
	return err
}

// A NumberedPack is a pack in full, as an index object lists it.
type NumberedPack struct {
	N uint32 // in Index.Packs
	*pack.Pack
}

// Packs yields the packs of an index object, in full, from the object itself. It keeps a copy of that on this machine: whoever
// needs it will need it again.
func (l *Loader) Packs(ctx context.Context, x *Index, object int) iter.Seq2[NumberedPack, error] {
	return func(yield func(NumberedPack, error) bool) {
		o := &x.Objects[object]
		damage := func(err error) error { return &store.DamageError{Object: store.Index.Object(o.Name), Err: err} }
		data, err := l.data(ctx, o.Name, true, true)
		if err != nil {
			yield(NumberedPack{}, err)
			return
		}
		_, body, err := l.unseal(x.Keys, keys.KindIndex, data)
		if err != nil {
			yield(NumberedPack{}, damage(err))
			return
		}
		n := o.First
		stop := errors.New("stop")
		_, err = parseObject(body, func(p *pack.Pack) error {
			if n-o.First >= o.Packs || x.Packs[n].Name != p.Name {
				return damage(errors.New("the local index has it otherwise"))
			}
			if !yield(NumberedPack{n, p}, nil) {
				return stop
			}
			n++
			return nil
		})
		if err != nil && err != stop {
			yield(NumberedPack{}, err)
		}
	}
}
