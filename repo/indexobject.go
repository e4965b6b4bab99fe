package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// How many index objects are read from the store at once: a night's is small, and costs its round trips; one of a first
// night has up to 4 MiB, and costs memory.
const (
	aheadSmall = 8
	aheadLarge = 2
	largeIndex = 1 << 20
)

// A fetchedObject is what came of reading an object.
type fetchedObject struct {
	name store.Name
	data []byte
	err  error
}

// ahead yields what get gets for each name, in order, while it gets the next ones.
func ahead(ctx context.Context, names []store.Name, get func(context.Context, store.Name) ([]byte, error)) iter.Seq[fetchedObject] {
	return func(yield func(fetchedObject) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var under []chan fetchedObject
		most := aheadLarge
		for i := range names {
			for len(under) < most && i+len(under) < len(names) {
				next, c := names[i+len(under)], make(chan fetchedObject, 1)
				under = append(under, c)
				go func() {
					data, err := get(ctx, next)
					c <- fetchedObject{next, data, err}
				}()
			}
			c := under[0]
			under = under[1:]
			r := <-c
			most = aheadSmall
			if len(r.data) >= largeIndex {
				most = aheadLarge
			}
			if !yield(r) {
				return
			}
		}
	}
}

// indexData returns an index object's stored bytes. With useCache a copy on this machine will do; with keep one is left
// there.
func (r *Repo) indexData(ctx context.Context, name store.Name, useCache, keep bool) ([]byte, error) {
	object := store.Index.Object(name)
	if useCache {
		if data, ok := r.machine.Copy(object); ok && store.NameOf(data) == name {
			return data, nil
		}
	}
	data, err := store.ReadNamed(ctx, r.store, object, name, store.MaxObject)
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w", err)
	}
	if keep {
		r.machine.Keep(object, data)
	}
	return data, nil
}

// readIndex adds what an index object lists to w: all of it or, where it is damaged, nothing.
func readIndex(h *ledger.History, name store.Name, data []byte, w *tableWriter) error {
	o := tableObject{name: name}
	signer, body, err := unseal(h.Keys, keys.KindIndex, data)
	if err == nil {
		copy(o.signer[:], signer)
		o.instance, err = parseIndex(body, func(*pack.Pack) error { return nil })
	}
	if errors.Is(err, store.ErrNewerFormat) && !h.Known(signer) {
		err = errors.New("it is of another version, signed by a key that is not in the list of keys")
	}
	if err != nil {
		return &store.DamageError{Object: store.Index.Object(name), Err: err}
	}
	w.object(o)
	_, err = parseIndex(body, w.pack)
	return err
}

// with returns the index with packs of an instance that no index object lists yet, and that may be relied on.
func (r *Repo) with(x *index, instance string, packs iter.Seq2[*pack.Pack, error]) (*index, error) {
	b := &indexBuild{repo: r, key: tableKey(r.key)}
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
	y.tables, y.objects, y.packs = slices.Clip(x.tables), slices.Clip(x.objects), slices.Clip(x.packs)
	y.byName = nil
	if err := y.attach(t, func(*tableObject) indexedObject {
		return indexedObject{instance: instance, trusted: true, live: true}
	}); err != nil {
		return nil, err
	}
	y.settle(r.log.History)
	return &y, nil
}

// A packListing is a pack in full, as an index object lists it.
type packListing struct {
	n uint32 // in index.packs
	*pack.Pack
}

// listings yields the packs of an index object, in full, from the object itself. It keeps a copy of that in the cache:
// whoever needs it will need it again.
func (r *Repo) listings(ctx context.Context, x *index, object int) iter.Seq2[packListing, error] {
	return func(yield func(packListing, error) bool) {
		o := &x.objects[object]
		data, err := r.indexData(ctx, o.name, true, true)
		if err != nil {
			yield(packListing{}, err)
			return
		}
		_, body, err := unseal(x.keys, keys.KindIndex, data)
		if err != nil {
			yield(packListing{}, &store.DamageError{Object: store.Index.Object(o.name), Err: err})
			return
		}
		n := o.first
		stop := errors.New("stop")
		_, err = parseIndex(body, func(p *pack.Pack) error {
			if n-o.first >= o.packs || x.packs[n].name != p.Name {
				return &store.DamageError{Object: store.Index.Object(o.name), Err: errors.New("the local index has it otherwise")}
			}
			if !yield(packListing{n, p}, nil) {
				return stop
			}
			n++
			return nil
		})
		if err != nil && err != stop {
			yield(packListing{}, err)
		}
	}
}

// writersIndex returns the index that a snapshot may rely on: what index objects list that the storage has lost is not
// trusted. This machine may know still what they said, but no other would find what references it.
func (r *Repo) writersIndex(ctx context.Context) (*index, error) {
	for {
		x, err := r.loadIndex(ctx)
		if err != nil {
			return nil, err
		}
		lost, err := r.lostIndexes(ctx)
		if err != nil || len(lost) == 0 {
			return x, err
		}
		if r.log.HasGrown(ctx) {
			continue // a prune may have removed them
		}
		return r.distrust(x, lost), nil
	}
}

// distrust returns the index without trust in what some index objects list.
func (r *Repo) distrust(x *index, objects map[store.Name]bool) *index {
	y := *x
	y.packs = slices.Clone(x.packs)
	for i := range y.objects {
		o := &y.objects[i]
		if !objects[o.name] {
			continue
		}
		r.note("%s is missing: content of its packs that this snapshot needs is stored again", store.Index.Object(o.name))
		for n := range o.packs {
			y.packs[o.first+n].trusted = false
		}
	}
	return &y
}

// lostIndexes returns the index objects that the log names and the storage does not list.
func (r *Repo) lostIndexes(ctx context.Context) (map[store.Name]bool, error) {
	lost := make(map[store.Name]bool)
	for ref := range r.log.Indexes.All() {
		lost[ref.Name] = true
	}
	for o, err := range r.store.List(ctx, store.Index.Dir()) {
		if err != nil {
			return nil, fmt.Errorf("listing index objects: %w", err)
		}
		if kind, n := store.Parse(o.Name); kind == store.Index {
			delete(lost, n)
		}
	}
	return lost, nil
}
