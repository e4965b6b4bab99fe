package snapshot

import (
	"context"
	"errors"

	"permafrost/chunk"
	"permafrost/repo/store"
	"permafrost/snapshot/stream"
)

// A watched getter tells errors of reading from what is wrong with what was read: a storage that does not answer, from a
// recipe that is none.
type watched struct {
	stream.Getter
	failed error
}

// Blob implements stream.Getter.
func (w *watched) Blob(ctx context.Context, id chunk.ID) ([]byte, error) {
	data, err := w.Getter.Blob(ctx, id)
	if err != nil && !isDamage(err) {
		w.failed = err
	}
	return data, err
}

// isDamage reports whether err is the fault of single objects of the repository, so that others may be sound.
func isDamage(err error) bool {
	var damage *store.DamageError
	return errors.As(err, &damage) && !errors.Is(err, store.ErrNewerFormat)
}

// blame makes err a DamageError of a part of a snapshot, where that alone is to blame for it.
func (w *watched) blame(part string, err error) error {
	switch {
	case err == nil, isDamage(err), w.failed != nil, errors.Is(err, store.ErrNewerFormat), errors.Is(err, context.Canceled):
		return err
	}
	return &store.DamageError{Object: part, Err: err}
}
