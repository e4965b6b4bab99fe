package repo

import (
	"context"
	"slices"
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
	for i := range x.packs {
		names = append(names, x.packs[i].name)
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
	for i := range x.packs {
		lie := *x.packs[i].pack
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
		lies = append(lies, &lie)
	}
	return r.putIndexes(ctx, instance, lies)
}
