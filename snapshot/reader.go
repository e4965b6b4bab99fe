package snapshot

import (
	"context"

	"permafrost/chunk"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/snapshot/stream"
)

// A reader is a repo.Reader that can also verify what several blobs make together.
type reader struct {
	*repo.Reader
	key *keys.Keyring
}

// NewReader returns the blobs of an instance's snapshots. They are read during ctx. Those of content need the owner's key.
func NewReader(ctx context.Context, r *repo.Repo, instance string) (stream.Blobs, error) {
	rd, err := r.NewReader(ctx, instance)
	if err != nil {
		return nil, err
	}
	return &reader{rd, r.Key()}, nil
}

// Verify reports whether data is what a chunk ID names, by the keys of any epoch.
func (rd *reader) Verify(id chunk.ID, data []byte) bool {
	for i := range rd.key.Epochs {
		if rd.key.Epochs[i].DataKey.Sum(data) == id {
			return true
		}
	}
	return false
}
