// Package snaptest has what the tests of snapshots have in common: blobs in memory, recipes as an attacker would write them, a
// repository with its keys, the small instance that snapshots are made of, and trees of files.
package snaptest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"

	"permafrost/chunk"
	"permafrost/repo/store"
)

// Blobs are a made-up repository in memory: what has a name is there, whatever it is. An ID is the SHA-256 of its blob.
type Blobs map[chunk.ID][]byte

// Put stores a copy of data.
func (m Blobs) Put(data []byte) (chunk.ID, error) {
	id := chunk.ID(sha256.Sum256(data))
	m[id] = append([]byte(nil), data...)
	return id, nil
}

// Blob returns a blob. The error for one that is not there is fs.ErrNotExist.
func (m Blobs) Blob(_ context.Context, id chunk.ID) ([]byte, error) {
	data, ok := m[id]
	if !ok {
		return nil, fmt.Errorf("blob %v: %w", id, fs.ErrNotExist)
	}
	return data, nil
}

// Length returns how many bytes a blob has, and whether it is there.
func (m Blobs) Length(id chunk.ID) (int, bool) { return len(m[id]), m[id] != nil }

// Fetch calls f with each blob in turn. The error for one that is not there is a store.DamageError.
func (m Blobs) Fetch(ctx context.Context, ids []chunk.ID, f func(id chunk.ID, data []byte) error) error {
	for _, id := range ids {
		data, err := m.Blob(ctx, id)
		if err != nil {
			return &store.DamageError{Object: id.String(), Err: err}
		}
		if err := f(id, data); err != nil {
			return err
		}
	}
	return nil
}

// Verify reports whether id is the ID of data.
func (m Blobs) Verify(id chunk.ID, data []byte) bool { return chunk.ID(sha256.Sum256(data)) == id }

// Missing counts the blobs of m that other has not.
func (m Blobs) Missing(other Blobs) int {
	n := 0
	for id := range m {
		if _, ok := other[id]; !ok {
			n++
		}
	}
	return n
}

// Sorted returns the IDs of all blobs in their order.
func (m Blobs) Sorted() []chunk.ID {
	return slices.SortedFunc(maps.Keys(m), func(a, b chunk.ID) int { return slices.Compare(a[:], b[:]) })
}

// RandomID returns an ID that nothing has.
func RandomID(r *rand.Rand) (id chunk.ID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// Counted are Blobs that count how many were fetched one by one.
type Counted struct {
	Blobs
	Gets int
}

// Blob returns a blob as Blobs do.
func (c *Counted) Blob(ctx context.Context, id chunk.ID) ([]byte, error) {
	c.Gets++
	return c.Blobs.Blob(ctx, id)
}
