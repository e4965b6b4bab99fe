package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// readIndex adds what an index object lists to w.
func (r *Repo) readIndex(ctx context.Context, name Name, useCache bool, w *tableWriter) error {
	body, o, err := r.openIndex(ctx, name, useCache, false)
	if err != nil {
		return err
	}
	w.object(o)
	_, err = parseIndex(body, w.pack)
	return err
}

// openIndex returns the body of an index object, which parses, and what it says of itself.
func (r *Repo) openIndex(ctx context.Context, name Name, useCache, keep bool) (body []byte, o tableObject, err error) {
	object := indexObject(name)
	data, ok := []byte(nil), false
	if useCache {
		data, ok = r.local.cached(object)
	}
	if !ok || hashName(data) != name {
		if data, err = r.readNamed(ctx, object, name, MaxObject); err != nil {
			return nil, o, fmt.Errorf("reading the index: %w", err)
		}
		if keep {
			r.local.cache(object, data)
		}
	}
	signer, body, err := r.key.unseal(magicIndex, data)
	if err == nil {
		o.name = name
		copy(o.signer[:], signer)
		o.instance, err = parseIndex(body, func(*pack) error { return nil })
	}
	if err != nil {
		return nil, o, &DamageError{object, err}
	}
	return body, o, nil
}

// with returns the index with packs of an instance that no index object lists yet, and that may be relied on.
func (r *Repo) with(x *index, instance string, packs []*pack) (*index, error) {
	b := &indexBuild{repo: r, key: r.key.tableKey()}
	t, err := b.write(func(w *tableWriter) error {
		w.object(tableObject{instance: instance})
		for _, p := range packs {
			if err := w.pack(p); err != nil {
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
	y.settle(r.log)
	return &y, nil
}

// A packListing is a pack in full, as an index object lists it.
type packListing struct {
	n uint32 // in index.packs
	*pack
}

// listings yields the packs of an index object, in full, from the object itself. It keeps a copy of that in the cache:
// whoever needs it will need it again.
func (r *Repo) listings(ctx context.Context, x *index, object int) iter.Seq2[packListing, error] {
	return func(yield func(packListing, error) bool) {
		o := &x.objects[object]
		body, _, err := r.openIndex(ctx, o.name, true, true)
		if err != nil {
			yield(packListing{}, err)
			return
		}
		n := o.first
		stop := errors.New("stop")
		_, err = parseIndex(body, func(p *pack) error {
			if n-o.first >= o.packs || x.packs[n].name != p.name {
				return &DamageError{indexObject(o.name), errors.New("the local index has it otherwise")}
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
