package media

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// mastodonTree makes files in directories of their own, as public/system has them: four directories a file.
func mastodonTree(tb testing.TB, files int) string {
	tb.Helper()
	root := tb.TempDir()
	for i := range files {
		id := uint64(109_000_000_000_000_000) + uint64(i)*7_919_000
		dir := filepath.Join(root, "cache/media_attachments/files", fmt.Sprintf("%03d/%03d/%03d/%03d/%03d/%03d/original",
			id/1e15, id/1e12%1000, id/1e9%1000, id/1e6%1000, id/1e3%1000, id%1000))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x.jpg", id*2654435761)), nil, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return root
}

func BenchmarkWalk(b *testing.B) {
	root := os.Getenv("MEDIA_BENCH")
	if root == "" {
		root = mastodonTree(b, 50_000)
	}
	tree, err := Open(root, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range tree.Walk(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		b.ReportMetric(float64(n), "entries")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/entry")
	}
}
