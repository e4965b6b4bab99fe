package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// maxStrays bounds how many strays a check names.
const maxStrays = 1000

// stray counts an object that nothing leads to.
func (c *checker) stray(object string) {
	if c.res.Unnamed++; len(c.res.Strays) < maxStrays {
		c.res.Strays = append(c.res.Strays, object)
	}
}

// strays lists what no log entry leads to, packs aside: what a run under way or an interrupted one has put, or what
// somebody has put there. Nothing leans on it.
func (c *checker) strays(ctx context.Context, h *history) error {
	named := h.named()
	for _, p := range h.people {
		for _, object := range p.Keys {
			named[object] = true
		}
	}
	for _, dir := range []string{"index/", "manifests/", "keys/"} {
		for o, err := range c.repo.store.List(ctx, dir) {
			if err != nil {
				return fmt.Errorf("listing %s: %w", dir, err)
			}
			if !named[o.Name] {
				c.stray(o.Name)
			}
		}
	}
	return nil
}

// needed returns the index objects, and the manifests of snapshots that are not forgotten.
func (h *history) needed() map[string]bool {
	m := make(map[string]bool)
	for _, ref := range h.indexes {
		m[indexObject(ref.name)] = true
	}
	for _, s := range h.live() {
		m[manifestObject(s.ID)] = true
	}
	return m
}

// named returns the index objects and manifests that the log leads to.
func (h *history) named() map[string]bool {
	m := h.needed()
	for _, s := range h.snapshots {
		m[manifestObject(s.ID)] = true
	}
	return m
}

// keys reads the keyrings that the roster names. Whom one is for could not open the repository by it any more: that is
// better known before it is needed.
func (c *checker) keys(ctx context.Context, h *history) error {
	for _, p := range h.people {
		for _, object := range p.Keys {
			data, err := c.repo.readObject(ctx, object, maxKeyObject)
			var long *DamageError
			switch {
			case errors.Is(err, fs.ErrNotExist):
				err = errors.New("is missing")
			case errors.As(err, &long):
				err = long.Err
			case err != nil:
				return fmt.Errorf("reading a keyring: %w", err)
			case keyObject(data) != object:
				err = errors.New("content does not have the hash that names it")
			}
			if err != nil {
				c.found = append(c.found, &DamageError{object, fmt.Errorf("%w; it is a keyring of %q: remove that key and add it anew", err, p.Name)})
			}
		}
	}
	return nil
}

// writersIndex returns the index as a snapshot may lean on it: what index objects list that the storage has lost is not
// trusted. This machine may know still what they said, but no other would find what leans on it.
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
		if r.hasGrown(ctx) {
			continue // a prune may have removed them
		}
		return r.distrust(x, lost), nil
	}
}

// distrust returns the index without trust in what some index objects list.
func (r *Repo) distrust(x *index, objects map[Name]bool) *index {
	y := *x
	y.packs = slices.Clone(x.packs)
	for i := range y.objects {
		o := &y.objects[i]
		if !objects[o.name] {
			continue
		}
		r.note("%s is missing: what this snapshot needs of the packs that it lists is stored again", indexObject(o.name))
		for n := range o.packs {
			y.packs[o.first+n].trusted = false
		}
	}
	return &y
}

// lostIndexes returns the index objects that the log names and the storage does not list.
func (r *Repo) lostIndexes(ctx context.Context) (map[Name]bool, error) {
	lost := make(map[Name]bool)
	for _, ref := range r.log.indexes {
		lost[ref.name] = true
	}
	for o, err := range r.store.List(ctx, "index/") {
		if err != nil {
			return nil, fmt.Errorf("listing index objects: %w", err)
		}
		if n, err := ParseName(strings.TrimPrefix(o.Name, "index/")); err == nil {
			delete(lost, n)
		}
	}
	return lost, nil
}
