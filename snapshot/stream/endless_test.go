package stream

import (
	"context"
	"io"
	"testing"

	"permafrost/internal/snaptest"
)

// A stream that is endlessly long takes no memory for that and ends with its context; and a snapshot asks once whether it may
// reference a blob.
func TestEndlessStreams(t *testing.T) {
	b := snaptest.Blobs{}
	for name, c := range snaptest.EndlessRecipes(b) {
		t.Run(name, func(t *testing.T) {
			content := Recipe(c.Recipe)
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
