package restore

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// What leads to endlessly much is counted no further than there is room.
func TestEndlessRoom(t *testing.T) {
	b := snaptest.Blobs{}
	for name, c := range snaptest.EndlessRecipes(b) {
		t.Run(name, func(t *testing.T) {
			content := stream.Recipe(c.Recipe)
			e := &snapshot.Entry{Entry: source.Entry{Path: "f", Type: source.File, Mode: 0o644, Size: content.Size}, Content: content}
			snaptest.InTime(t, true, func(ctx context.Context) error {
				need := room{}
				rs := &restorer{rd: b, choice: new(choice.Choice), m: &snapshot.Manifest{Media: snapshot.Media{Listing: oneFile(t, b.Put, e)}}}
				rs.mediaRoom(ctx, &need, room{64 << 10, 100}, 4096)
				return nil
			})
		})
	}
}

// oneFile returns the listing of a file alone.
func oneFile(t *testing.T, put func([]byte) (chunk.ID, error), e *snapshot.Entry) snapshot.Listing {
	t.Helper()
	w := snapshot.NewListingWriter(put, sha256.Sum256(nil))
	err := errors.Join(w.Add(&snapshot.Entry{Entry: source.Entry{Path: ".", Type: source.Dir, Mode: 0o755}}), w.Add(e))
	l, err2 := w.Finish()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return l
}
