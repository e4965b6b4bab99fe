package snapshot

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"permafrost/chunk"
	"permafrost/source"
)

// A check looks at what is stored once, however often a recipe names it; and a snapshot asks once whether it may reference it.
func TestEndlessRecipesAreCheckedOnce(t *testing.T) {
	b := hostileBlobs{make(blobs)}
	x, _ := b.put([]byte("x"))
	for name, leaf := range map[string][]byte{"one blob": appendChunk(nil, &Chunk{Length: 1, ID: x}), "holes": appendChunk(nil, &Chunk{Length: 1})} {
		t.Run(name, func(t *testing.T) {
			r := endless(b, leaf, 1)
			in := newInspector("mastodon.example", b)
			inTime(t, true, func(ctx context.Context) error {
				for range 1000 {
					if err := in.inspectRecipe(ctx, &r, b); err != nil {
						t.Error(err)
						return err
					}
				}
				return nil
			})
			inTime(t, true, func(ctx context.Context) error {
				n := 0
				for _, err := range r.blobs(ctx, b, again()) {
					if n++; err != nil {
						t.Error(err)
					}
				}
				return nil
			})
		})
	}
}

// What a recipe says of a branch that was found good is compared all the same; and what was found bad is bad in every recipe.
func TestCheckedBranches(t *testing.T) {
	b := hostileBlobs{make(blobs)}
	x, _ := b.put([]byte("x"))
	root := func(leaf chunk.ID, weight int64) *Recipe {
		records := binary.AppendUvarint(append([]byte(nil), leaf[:]...), uint64(weight))
		return &Recipe{Size: weight, Depth: 1, Root: append(records, 0, 0)}
	}
	sound, _ := b.put(appendChunk([]byte{kindRecipe, 0}, &Chunk{Length: 1, ID: x}))
	bad, _ := b.put(appendChunk([]byte{kindRecipe, 0}, &Chunk{Length: 2, ID: x}))
	in := newInspector("mastodon.example", b)
	for range 2 {
		if err := in.inspectRecipe(t.Context(), root(sound, 1), b); err != nil {
			t.Error(err)
		}
		for _, r := range []*Recipe{root(sound, 2), root(bad, 2), {Size: 1, Depth: 2, Root: root(sound, 1).Root}} {
			if err := in.inspectRecipe(t.Context(), r, b); err == nil {
				t.Errorf("%+v passes", r)
			}
		}
	}
}

// endlessListing returns a listing that is small and leads to endlessly much: the nodes of each level begin at paths of their
// own, and have the last of the level below in common.
func endlessListing(t *testing.T, b hostileBlobs) Listing {
	const wide = maxRootRefs - 2
	var level []ref
	for i := range wide * (maxDepth + 1) {
		path := fmt.Sprintf("%06d", i)
		e := &Entry{Entry: source.Entry{Path: path, Type: source.Dir, Mode: 0o755}}
		id, err := b.put(new(entryCoder).append([]byte{kindListing, 0}, e))
		if err != nil {
			t.Fatal(err)
		}
		level = append(level, ref{id, 1, path})
	}
	n := new(node)
	for l := 1; l <= maxDepth; l++ {
		shared, own := level[len(level)-wide:], level[:len(level)-wide]
		level = nil
		for _, r := range own {
			n.reset(kindListing, l)
			n.addRef(r)
			for _, s := range shared {
				n.addRef(s)
			}
			id, _ := b.put(n.buf)
			level = append(level, ref{id, n.weight, n.first})
		}
	}
	return Listing{Entries: n.weight, Depth: maxDepth, Root: n.buf[nodeHeader:]}
}

// A listing names each part of itself once: branches that overlap are refused.
func TestEndlessListing(t *testing.T) {
	b := hostileBlobs{make(blobs)}
	l := endlessListing(t, b)
	if err := l.check(); err != nil {
		t.Fatal(err)
	}
	for name, walk := range map[string]func(ctx context.Context) error{
		"check": func(ctx context.Context) error {
			in := &inspection{Inspector: newInspector("mastodon.example", b), visitor: &lookUp{rd: b}}
			_, err := in.listing(ctx, &l)
			return err
		},
		"leaves": func(ctx context.Context) error { return l.eachLeaf(ctx, b, func(chunk.ID) {}) },
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, true, func(ctx context.Context) error {
				err := walk(ctx)
				if err == nil {
					t.Error("it passes")
				}
				return err
			})
		})
	}
}
