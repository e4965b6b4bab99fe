package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"permafrost/internal/objname"
)

// maxStrays bounds how many strays a check names.
const maxStrays = 1000

// note keeps the name of an object that nothing leads to.
func (c *checker) note(object string) {
	if len(c.res.Strays) < maxStrays {
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
			if objname.Shaped(o.Name) && !named[o.Name] {
				c.res.Unnamed++
				c.note(o.Name)
			}
		}
	}
	return c.repo.junk(ctx, h, []string{"keys/", "packs/", "index/", "manifests/", "log/"}, func(o Object) {
		c.res.Junk++
		c.note(o.Name)
	})
}

// junk calls f with each object below some directories that has a name which no object of a repository has, or a number of
// the log out of reach. Who may write to the storage can put such, and nothing leans on them.
func (r *Repo) junk(ctx context.Context, h *history, dirs []string, f func(Object)) error {
	for _, dir := range dirs {
		for o, err := range r.store.List(ctx, dir) {
			if err != nil {
				return fmt.Errorf("listing %s: %w", dir, err)
			}
			if !objname.Shaped(o.Name) || h.isFar(o.Name) {
				f(o)
			}
		}
	}
	return nil
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
