package stream

import (
	"context"
	"io"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
)

// A stream that is endlessly long takes no memory for that and ends with its context; and a snapshot asks once whether it may
// reference a blob.
func TestEndlessStreams(t *testing.T) {
	b := snaptest.Blobs{}
	id := func(text string) chunk.ID { id, _ := b.Put([]byte(text)); return id }
	byID := snaptest.Chunk(nil, 1, id("x"))
	hole := snaptest.Chunk(nil, 1, chunk.ID{})
	parts := snaptest.Chunk(nil, 2, id("yy"), snaptest.Extent{Blob: id("x"), Length: 1}, snaptest.Extent{Blob: id("y"), Length: 1})
	for name, c := range map[string]struct {
		leaf   []byte
		weight int64
	}{
		"one blob": {byID, 1}, "holes": {hole, 1}, "parts of blobs": {parts, 2}, "blob and hole": {append(byID, hole...), 2},
	} {
		t.Run(name, func(t *testing.T) {
			content := Recipe(snaptest.EndlessRecipe(b, c.leaf, c.weight))
			snaptest.InTime(t, false, func(ctx context.Context) error {
				return Write(ctx, b, content.Chunks(ctx, b), io.Discard, func(int64) {})
			})
			snaptest.InTime(t, true, func(ctx context.Context) error {
				n := 0
				for _, err := range content.Blobs(ctx, b) {
					if n++; err != nil {
						t.Error(err)
					}
				}
				return nil
			})
		})
	}
}
