package repo

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"sync"
	"testing"
)

// What a hostile holder of a key can do is more than this package's exported API: these let tests do it.

// AsItIs lets PutLies tell the truth of a pack's component.
const AsItIs = Component(255)

// PublishSnapshot commits a snapshot of whatever the manifest says, with no more ado.
func (r *Repo) PublishSnapshot(ctx context.Context, manifest []byte, e *SnapshotEntry) error {
	data, err := r.sealManifest(manifest)
	if err != nil {
		return err
	}
	e.ID = hashName(data)
	if err := r.store.Put(ctx, manifestObject(e.ID), data); err != nil {
		return err
	}
	return r.PublishRaw(ctx, &Entry{Snapshot: e})
}

// PublishRaw puts an entry into the log as it is.
func (r *Repo) PublishRaw(ctx context.Context, e *Entry) error {
	data, err := r.sealEntry(e)
	if err != nil {
		return err
	}
	return r.store.Put(ctx, entryObject(e.Seq), data)
}

// Listed returns every pack that the index lists.
func (r *Repo) Listed(ctx context.Context) ([]Name, error) {
	x, err := r.loadIndex(ctx)
	if err != nil {
		return nil, err
	}
	var names []Name
	for _, n := range x.byName {
		names = append(names, x.packs[n].name)
	}
	return names, nil
}

// PutLies puts an index object for an instance, signed by the key at hand, that lists every known pack with what change
// makes of each blob, as of component c.
func (r *Repo) PutLies(ctx context.Context, instance string, c Component, change func(length int) int) ([]Name, error) {
	x, err := r.loadIndex(ctx)
	if err != nil {
		return nil, err
	}
	var lies []*pack
	for o := range x.objects {
		for lie, err := range r.listings(ctx, x, o) {
			if err != nil {
				return nil, err
			}
			lies = append(lies, lie.pack)
		}
	}
	for _, lie := range lies {
		if c != AsItIs {
			lie.component = c
		}
		lie.frames = slices.Clone(lie.frames)
		for j, f := range lie.frames {
			f.blobs = slices.Clone(f.blobs)
			for k := range f.blobs {
				f.blobs[k].length = change(f.blobs[k].length)
			}
			if c != AsItIs {
				f.codec = codecZstd
			}
			lie.frames[j] = f
		}
	}
	return r.putIndexes(ctx, instance, eachPack(lies))
}

// RememberEnvelopes makes every envelope that a keyring with the same epochs has opened once cost nothing from then on,
// until the test ends.
func RememberEnvelopes(t testing.TB) {
	type opened struct {
		magic  string
		signer ed25519.PublicKey
		body   []byte
	}
	const most = 20_000
	var mu sync.Mutex
	known := make(map[[sha256.Size]byte]opened)
	open := unsealing
	unsealing = func(k *Keyring, magic string, data []byte) (ed25519.PublicKey, []byte, error) {
		sum := sha256.Sum256(data)
		mu.Lock()
		o, ok := known[sum]
		mu.Unlock()
		if ok && o.magic == magic {
			return o.signer, o.body, nil
		}
		signer, body, err := open(k, magic, data)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			if len(known) >= most {
				clear(known)
			}
			known[sum] = opened{magic, signer, body}
		}
		return signer, body, err
	}
	t.Cleanup(func() { unsealing = open })
}
