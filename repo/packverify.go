package repo

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"permafrost/chunk"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// An age file encrypts its payload in units.
const (
	ageChunk    = 64 << 10 // the unit of age's payload encryption
	ageOverhead = 16       // bytes that each unit grows by
)

// plainSize is the length of a pack's plaintext by its stored size.
func plainSize(size int64, header int) int64 {
	payload := size - int64(header)
	return payload - (payload+ageChunk+ageOverhead-1)/(ageChunk+ageOverhead)*ageOverhead
}

// blobID is a blob's ID under an epoch's keys; ok is false where the keyring does not hold these.
func blobID(k *keys.Keyring, epoch uint32, c Component, data []byte) (id chunk.ID, ok bool) {
	e := k.Epoch(epoch)
	switch {
	case e == nil:
		return chunk.ID{}, false
	case c == Meta:
		return e.MetaKey.Sum(data), true
	}
	return e.DataKey.Sum(data), true
}

// checkFrames verifies every blob of a pack, read from its beginning.
func checkFrames(k *keys.Keyring, object string, d *directory, src io.Reader) error {
	magic := make([]byte, len(packMagic))
	if _, err := io.ReadFull(src, magic); err != nil || string(magic) != packMagic {
		return &store.DamageError{Object: object, Err: errors.New("does not begin with a pack's mark")}
	}
	var stored, plain []byte
	for _, f := range d.frames {
		stored = slices.Grow(stored[:0], f.stored)[:f.stored]
		if _, err := io.ReadFull(src, stored); err != nil {
			return &store.DamageError{Object: object, Err: fmt.Errorf("decrypting: %w", err)}
		}
		content, err := decodeFrame(plain, stored, f.codec, f.length())
		if err != nil {
			return &store.DamageError{Object: object, Err: err}
		}
		if f.codec != codecRaw {
			plain = content
		}
		for _, b := range f.blobs {
			if sum, ok := blobID(k, d.epoch, d.component, content[:b.length]); !ok || sum != b.id {
				return &store.DamageError{Object: object, Err: fmt.Errorf("its blob %s… does not match its ID", b.id.String()[:8])}
			}
			content = content[b.length:]
		}
	}
	return nil
}
