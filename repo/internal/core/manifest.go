package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

const MaxManifest = 64 << 20 // decompressed

// manifestRoom is how long a manifest may be that is stored in so many bytes. Each check and prune reads all of them, those of other
// instances too, and what repeats itself for ever takes no room. JSON of ours becomes a tenth at best.
func manifestRoom(stored int) int { return min(1<<20+100*stored, MaxManifest) }

// Manifest returns the JSON of a snapshot's manifest.
func (c *Core) Manifest(ctx context.Context, ref ledger.SnapshotRef) ([]byte, error) {
	object := store.Manifest.Object(ref.Manifest)
	data, ok := c.Machine.Copy(object)
	if !ok || store.NameOf(data) != ref.Manifest {
		var err error
		if data, err = store.ReadNamed(ctx, c.Store, object, ref.Manifest, store.MaxObject); err != nil {
			return nil, fmt.Errorf("reading the manifest of snapshot %s: %w", ref.ID.Short(), err)
		}
		c.Machine.Keep(object, data)
	}
	return OpenManifest(c.Log.Envelopes().Unseal, c.Log.Keys, ref, data)
}

// OpenManifest returns the JSON of a snapshot's stored manifest. It must be signed by whoever published the snapshot: a
// writer can name another's manifest in the log, and can't make it his own.
func OpenManifest(unseal ledger.Unseal, k *keys.Keyring, ref ledger.SnapshotRef, data []byte) ([]byte, error) {
	object := store.Manifest.Object(ref.Manifest)
	signer, body, err := unseal(k, keys.KindManifest, data)
	if (err == nil || errors.Is(err, store.ErrNewerFormat)) && !ref.Signer.Equal(signer) {
		err = errors.New("it is not signed by the key that signed its log entry")
	}
	if err != nil {
		return nil, &store.DamageError{Object: object, Err: err}
	}
	d, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxManifest))
	if err != nil {
		return nil, &store.DamageError{Object: object, Err: err}
	}
	defer d.Close()
	room := manifestRoom(len(body))
	text, err := io.ReadAll(io.LimitReader(d, int64(room)+1))
	if err == nil && len(text) > room {
		err = fmt.Errorf("its %d bytes decompress to more than %d", len(body), room)
	}
	if err != nil {
		return nil, &store.DamageError{Object: object, Err: err}
	}
	return text, nil
}

// sealManifest is the inverse of OpenManifest.
func (c *Core) sealManifest(text []byte) ([]byte, error) {
	body := pack.Compress(text)
	if room := manifestRoom(len(body)); len(text) > room {
		return nil, fmt.Errorf("manifest of %d bytes, which become %d, is above the limit of %d", len(text), len(body), room)
	}
	return c.Log.Seal(keys.KindManifest, body)
}

// PutManifest puts a manifest and returns its name.
func (c *Core) PutManifest(ctx context.Context, text []byte) (store.Name, error) {
	sealed, err := c.sealManifest(text)
	if err != nil {
		return store.Name{}, err
	}
	name := store.NameOf(sealed)
	if err := c.Store.Put(ctx, store.Manifest.Object(name), sealed); err != nil {
		return store.Name{}, fmt.Errorf("putting the manifest: %w", err)
	}
	return name, nil
}
