package media

import (
	"slices"
	"strings"
	"testing"
)

// An excluded directory is not read, and NoCache keeps the cache's own directory.
func TestWalkExcludes(t *testing.T) {
	root := t.TempDir()
	write(t, root, "cache/accounts/a", "cache/x.tmp", "accounts/cache/a", "accounts/b.tmp", "imports/data", "z")
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{NoCache: true}, []string{".", "accounts", "accounts/b.tmp", "accounts/cache", "accounts/cache/a", "cache", "imports", "imports/data", "z"}},
		{Options{Excludes: []string{"*.tmp", "/accounts/", "imports/*"}}, []string{".", "cache", "cache/accounts", "cache/accounts/a", "imports", "z"}},
		{Options{Excludes: []string{"*"}, NoCache: true}, []string{"."}},
	} {
		tree := openTree(t, root, c.o)
		if got := paths(walk(t, tree)); !slices.Equal(got, c.want) {
			t.Errorf("%+v:\ngot  %q\nwant %q", c.o, got, c.want)
		}
	}
}

// A pattern that can't be read is told as one of what is left out.
func TestBadExclude(t *testing.T) {
	if _, err := Open(t.TempDir(), Options{Excludes: []string{"fine", "[a"}}); err == nil || !strings.Contains(err.Error(), `exclude pattern "[a": a [ without`) {
		t.Errorf("got %v", err)
	}
}
