package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// A check looks at what is stored once, however often a recipe names it.
func TestEndlessRecipesAreCheckedOnce(t *testing.T) {
	b := snaptest.Blobs{}
	x, _ := b.Put([]byte("x"))
	for name, leaf := range map[string][]byte{"one blob": snaptest.Chunk(nil, 1, x), "holes": snaptest.Chunk(nil, 1, chunk.ID{})} {
		t.Run(name, func(t *testing.T) {
			r := stream.Recipe(snaptest.EndlessRecipe(b, leaf, 1))
			in := newInspector("mastodon.example", b)
			snaptest.InTime(t, true, func(ctx context.Context) error {
				for range 1000 {
					if err := in.inspectRecipe(ctx, &r, b); err != nil {
						t.Error(err)
						return err
					}
				}
				return nil
			})
		})
	}
}

// What a recipe says of a branch that was found good is compared all the same; and what was found bad is bad in every recipe.
func TestCheckedBranches(t *testing.T) {
	b := snaptest.Blobs{}
	x, _ := b.Put([]byte("x"))
	root := func(leaf chunk.ID, weight int64) *stream.Recipe {
		records := binary.AppendUvarint(append([]byte(nil), leaf[:]...), uint64(weight))
		return &stream.Recipe{Size: weight, Depth: 1, Root: append(records, 0, 0)}
	}
	sound, _ := b.Put(snaptest.Chunk([]byte{blobtree.Recipe, 0}, 1, x))
	bad, _ := b.Put(snaptest.Chunk([]byte{blobtree.Recipe, 0}, 2, x))
	in := newInspector("mastodon.example", b)
	for range 2 {
		if err := in.inspectRecipe(t.Context(), root(sound, 1), b); err != nil {
			t.Error(err)
		}
		for _, r := range []*stream.Recipe{root(sound, 2), root(bad, 2), {Size: 1, Depth: 2, Root: root(sound, 1).Root}} {
			if err := in.inspectRecipe(t.Context(), r, b); err == nil {
				t.Errorf("%+v passes", r)
			}
		}
	}
}

// endlessListing returns a listing that is small and leads to endlessly much: the nodes of each level begin at paths of their
// own, and have the last of the level below in common.
func endlessListing(t *testing.T, b snaptest.Blobs) Listing {
	const wide = 30
	var level []blobtree.Ref
	for i := range wide * (blobtree.MaxDepth + 1) {
		path := fmt.Sprintf("%06d", i)
		e := &Entry{Entry: source.Entry{Path: path, Type: source.Dir, Mode: 0o755}}
		id, err := b.Put(new(entryCoder).append([]byte{blobtree.Listing, 0}, e))
		if err != nil {
			t.Fatal(err)
		}
		level = append(level, blobtree.Ref{ID: id, Weight: 1, First: path})
	}
	var n *listingNode
	for l := 1; l <= blobtree.MaxDepth; l++ {
		shared, own := level[len(level)-wide:], level[:len(level)-wide]
		level = nil
		for _, r := range own {
			n = newListingNode(l)
			n.add(r)
			for _, s := range shared {
				n.add(s)
			}
			id, _ := b.Put(n.buf)
			level = append(level, blobtree.Ref{ID: id, Weight: n.weight, First: n.first})
		}
	}
	return Listing{Entries: n.weight, Depth: blobtree.MaxDepth, Root: n.records()}
}

// A listing names each part of itself once: branches that overlap are refused.
func TestEndlessListing(t *testing.T) {
	b := snaptest.Blobs{}
	l := endlessListing(t, b)
	if err := l.check(); err != nil {
		t.Fatal(err)
	}
	for name, walk := range map[string]func(ctx context.Context) error{
		"check": func(ctx context.Context) error {
			in := &visit{Inspector: newInspector("mastodon.example", b), visitor: &snaptest.LookUp{Blobs: b}}
			_, err := in.listing(ctx, &l)
			return err
		},
		"leaves": func(ctx context.Context) error { return l.eachLeaf(ctx, b, func(chunk.ID) {}) },
	} {
		t.Run(name, func(t *testing.T) {
			snaptest.InTime(t, true, func(ctx context.Context) error {
				err := walk(ctx)
				if err == nil {
					t.Error("it passes")
				}
				return err
			})
		})
	}
}
