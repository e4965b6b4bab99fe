package media

import (
	"strings"
	"testing"
)

// FuzzExclude compiles patterns and matches paths with them. A pattern that is a plain path matches that alone.
func FuzzExclude(f *testing.F) {
	for _, pattern := range []string{"*.tmp", "/cache/**", "a/**/b/**/c", "[a-c]?[!0-9]", `\*\[`, "imports/", "a b"} {
		if _, err := compileExcludes([]string{pattern}); err != nil {
			f.Fatal(err)
		}
		f.Add(pattern, "a/x/b/c", true)
	}
	f.Fuzz(func(t *testing.T, pattern, path string, dir bool) {
		x, err := compileExcludes([]string{pattern})
		if err != nil {
			return
		}
		x.match(path, dir)
		if plain := strings.Trim(pattern, "/"); !strings.ContainsAny(pattern, `*?[\`) && !x.match(plain, true) {
			t.Errorf("%q does not match %q", pattern, plain)
		}
	})
}
