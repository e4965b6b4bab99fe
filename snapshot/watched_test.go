package snapshot

import (
	"context"
	"errors"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/repo/store"
)

// A silentStore gives nothing.
type silentStore struct{ err error }

func (s silentStore) Blob(context.Context, chunk.ID) ([]byte, error) { return nil, s.err }

// What is malformed is damage, whoever made it; a storage that does not answer is none.
func TestBlame(t *testing.T) {
	var damage *store.DamageError
	if _, err := newInspector("social.example", silentStore{}).Inspect(t.Context(), []byte(`{"format":1}`), &snaptest.LookUp{}); !errors.As(err, &damage) {
		t.Errorf("a malformed manifest: %v", err)
	}
	gone := errors.New("connection lost")
	w := &watched{Getter: silentStore{gone}}
	if _, err := w.Blob(t.Context(), chunk.ID{}); errors.As(w.blame("media", err), &damage) {
		t.Error("a lost connection is called damage")
	}
	if err := new(watched).blame("media", store.ErrNewerFormat); errors.As(err, &damage) {
		t.Error("a newer format is called damage")
	}
}
