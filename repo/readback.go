package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// confirmEntry returns an error unless the log entry that was put is there, byte for byte.
func (r *Repo) confirmEntry(ctx context.Context, name string, data []byte) error {
	stored, err := r.readObject(ctx, name, ledger.MaxEntryObject)
	switch d := (*store.DamageError)(nil); {
	case errors.Is(err, fs.ErrNotExist):
		return &store.FalseReportError{Object: name, Found: "there is no such object"}
	case err != nil && !errors.As(err, &d):
		return fmt.Errorf("looking whether %s was stored: %w", name, err)
	case err != nil || !bytes.Equal(stored, data):
		return &store.FalseReportError{Object: name, Found: "it holds something else"}
	}
	return nil
}

// removeAll removes objects here and from the storage.
func (r *Repo) removeAll(ctx context.Context, names []string, progress func(done int)) error {
	for _, name := range names {
		r.machine.Drop(name)
	}
	return r.store.RemoveAll(ctx, names, progress)
}
