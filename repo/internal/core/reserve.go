package core

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"

	"permafrost/repo/store"
)

const reserveSize = 1 << 20

// The reserve is an object that nothing refers to. It is removed where the storage has no byte free, so that an entry can be
// published by which others go, and is put back afterwards. What it holds can't be compressed and is always the same, so
// that it makes no difference who puts it.
func (c *Core) reserve() []byte {
	data := make([]byte, reserveSize)
	rand.NewChaCha8(sha256.Sum256(append([]byte("permafrost reserve 1\n"), c.Key.Repository[:]...))).Read(data)
	return data
}

// PutReserve puts the reserve where there is none.
func (c *Core) PutReserve(ctx context.Context) error {
	_, err := c.Store.Stat(ctx, store.ReserveObject)
	if errors.Is(err, fs.ErrNotExist) {
		err = c.Store.Put(ctx, store.ReserveObject, c.reserve())
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	}
	if err != nil {
		return fmt.Errorf("storing the reserve, which a prune of a full storage needs: %w", err)
	}
	return nil
}
