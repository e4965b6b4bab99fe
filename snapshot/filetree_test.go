package snapshot

import (
	"path/filepath"
	"slices"
	"testing"

	"permafrost/internal/snaptest"
)

// A directory is read without what lies below its children.
func TestTreeReadsLittle(t *testing.T) {
	b := &snaptest.Counted{Blobs: snaptest.Blobs{}}
	entries := mastodonTree(1, 20_000)
	m := &Manifest{Media: Media{State: Captured, Listing: writeListing(t, b.Blobs, entries)}}
	tree := &Tree{t.Context(), b, m}
	all := len(b.Blobs)
	names := make(map[string][]string)
	for _, e := range entries {
		if e.Path != "." {
			dir := filepath.Dir(e.Path)
			names[dir] = append(names[dir], filepath.Base(e.Path))
		}
	}
	for _, dir := range []string{".", "cache", "cache/media_attachments/files", filepath.Dir(entries[len(entries)/2].Path)} {
		b.Gets = 0
		name := "media/" + dir
		if dir == "." {
			name = "media"
		}
		list, err := tree.ReadDir(name)
		var got []string
		for _, e := range list {
			got = append(got, e.Name())
		}
		if want := names[dir]; err != nil || !slices.Equal(got, want) || b.Gets > 30+3*len(want) || b.Gets > all/2 {
			t.Errorf("%s: %d of %d names by %d of %d blobs: %v", dir, len(got), len(want), b.Gets, all, err)
		}
	}
}
