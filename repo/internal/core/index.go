package core

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"permafrost/internal/hint"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// indexPuts is how many index objects are on their way at once.
const indexPuts = 2

// PutIndexes puts index objects for packs and returns their names.
func (c *Core) PutIndexes(ctx context.Context, instance string, packs iter.Seq2[*pack.Pack, error]) (names []store.Name, err error) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(indexPuts)
	for group, err := range index.Split(packs) {
		if err != nil {
			return nil, hint.Join(err, g.Wait())
		}
		if gctx.Err() != nil {
			break // one could not be put
		}
		data, err := c.Log.Seal(keys.KindIndex, index.EncodeObject(instance, group))
		if err != nil {
			return nil, hint.Join(err, g.Wait())
		}
		name := store.NameOf(data)
		names = append(names, name)
		g.Go(func() error {
			if err := c.Store.Put(gctx, store.Index.Object(name), data); err != nil {
				return fmt.Errorf("putting an index: %w", err)
			}
			c.Machine.Keep(store.Index.Object(name), data)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return names, ctx.Err()
}

// InMemory yields packs that are in memory.
func InMemory(packs []*pack.Pack) iter.Seq2[*pack.Pack, error] {
	return func(yield func(*pack.Pack, error) bool) {
		for _, p := range packs {
			if !yield(p, nil) {
				return
			}
		}
	}
}
