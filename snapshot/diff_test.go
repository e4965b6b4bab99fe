package snapshot

import (
	"slices"
	"strings"
	"testing"

	"permafrost/internal/snaptest"
)

// Looking at one directory fetches what it takes, and not the whole listing.
func TestEntriesBelow(t *testing.T) {
	all := mastodonTree(8, 10000)
	m := snaptest.Blobs{}
	get := &snaptest.Counted{Blobs: m}
	manifest := &Manifest{Media: Media{State: Captured, Listing: writeListing(t, m, all)}}
	for _, i := range []int{0, 1, 4, 5000, 40000, len(all) - 1} {
		path := all[i].Path
		var want, got []string
		for _, e := range all {
			if path == "." || e.Path == path || strings.HasPrefix(e.Path, path+"/") {
				want = append(want, e.Path)
			}
		}
		get.Gets = 0
		for e, err := range Entries(t.Context(), get, manifest, path) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d entries, want %d", path, len(got), len(want))
		}
		if max := 3 + len(want)/500; get.Gets > max {
			t.Errorf("%s: %d entries took %d blobs of %d", path, len(want), get.Gets, len(m))
		}
	}
	for _, path := range []string{"nothing", "cach", "cache/", "zzz"} {
		for e, err := range Entries(t.Context(), get, manifest, path) {
			t.Errorf("%s: %v, %v", path, e, err)
		}
	}
}
