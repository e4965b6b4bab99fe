package pattern

import (
	"strings"
	"testing"
)

// FuzzSet compiles patterns and matches paths with them. A pattern that is a plain path matches that alone.
func FuzzSet(f *testing.F) {
	for _, pattern := range []string{"*.tmp", "/cache/**", "a/**/b/**/c", "[a-c]?[!0-9]", `\*\[`, "imports/", "a b"} {
		if _, err := ParseSet([]string{pattern}); err != nil {
			f.Fatal(err)
		}
		f.Add(pattern, "a/x/b/c", true)
	}
	f.Fuzz(func(t *testing.T, pattern, path string, dir bool) {
		x, err := ParseSet([]string{pattern})
		if err != nil {
			return
		}
		x.Match(path, dir)
		if plain := strings.Trim(pattern, "/"); !strings.ContainsAny(pattern, `*?[\`) && !x.Match(plain, true) {
			t.Errorf("%q does not match %q", pattern, plain)
		}
	})
}
