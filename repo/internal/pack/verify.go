package pack

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
	AgeChunk    = 64 << 10 // the unit of age's payload encryption
	AgeOverhead = 16       // bytes that each unit grows by
)

// PlainSize is the length of a pack's plaintext by its stored size.
func PlainSize(size int64, header int) int64 {
	payload := size - int64(header)
	return payload - (payload+AgeChunk+AgeOverhead-1)/(AgeChunk+AgeOverhead)*AgeOverhead
}

// BlobID is a blob's ID under an epoch's keys; ok is false where the keyring does not hold these.
func BlobID(k *keys.Keyring, epoch uint32, c Component, data []byte) (id chunk.ID, ok bool) {
	e := k.Epoch(epoch)
	switch {
	case e == nil:
		return chunk.ID{}, false
	case c == Meta:
		return e.MetaKey.Sum(data), true
	}
	return e.DataKey.Sum(data), true
}

// CheckFrames verifies every blob of a pack, read from its beginning.
func CheckFrames(k *keys.Keyring, object string, d *Directory, src io.Reader) error {
	magic := make([]byte, len(Magic))
	if _, err := io.ReadFull(src, magic); err != nil || string(magic) != Magic {
		return &store.DamageError{Object: object, Err: errors.New("does not begin with a pack's mark")}
	}
	var stored, plain []byte
	for _, f := range d.Frames {
		stored = slices.Grow(stored[:0], f.Stored)[:f.Stored]
		if _, err := io.ReadFull(src, stored); err != nil {
			return &store.DamageError{Object: object, Err: fmt.Errorf("decrypting: %w", err)}
		}
		content, err := DecodeFrame(plain, stored, f.Codec, f.Length())
		if err != nil {
			return &store.DamageError{Object: object, Err: err}
		}
		if f.Codec != Raw {
			plain = content
		}
		for _, b := range f.Blobs {
			if sum, ok := BlobID(k, d.Epoch, d.Component, content[:b.Length]); !ok || sum != b.ID {
				return &store.DamageError{Object: object, Err: fmt.Errorf("its blob %s… does not match its ID", b.ID.String()[:8])}
			}
			content = content[b.Length:]
		}
	}
	return nil
}
